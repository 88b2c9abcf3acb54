"""The architecture as a test: a file imports only from floors below its own."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "proxy"

FLOORS = [
    {"errors"},
    {"envelope", "config"},
    {"policy", "semantics", "guard"},
    {"wire", "explain"},
    {"observe", "cache"},
    {"gateway", "admin", "listeners", "notify", "watch", "inprocess", "shared"},
    {"app"},
    {"demo", "simulate"},
    {"cli"},
]
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
BESIDE = {"testing", "__init__", "__main__"}

DOORS = {
    "aiohttp": {"wire/parser.py", "admin/"},
    "aiohappyeyeballs": {"wire/"},
    "click": {"cli.py"},
    "opentelemetry": {"observe/tracing.py"},
    "orjson": {"observe/logs.py"},
    "phonenumbers": {"guard/phones.py"},
    "prometheus_client": {"observe/metrics.py"},
    "pybreaker": {"policy/circuit.py"},
    "pydantic": {"config/", "simulate/scenario.py"},
    "redis": {"cache/redis.py", "shared/redis.py"},
    "stdnum": {"guard/numbers.py"},
    "structlog": {"observe/"},
    "tenacity": {"policy/retry.py"},
    "uvloop": {"app.py"},
    "yaml": {"config/"},
}

FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def imports(file: str) -> set[str]:
    """Every module a file imports, wherever in it, as dotted names."""
    found = set()
    for node in ast.walk(ast.parse((PACKAGE / file).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def place(dotted: str) -> str:
    """The file or folder right under `proxy/` that a dotted name or a path stands in."""
    return dotted.removeprefix("proxy.").split(".")[0].split("/")[0].removesuffix(".py")


@pytest.mark.parametrize("file", FILES)
def test_a_file_imports_only_from_floors_below_its_own(file):
    home = place(file)
    if home in BESIDE:
        return

    for dotted in imports(file):
        if dotted.startswith("proxy.") and place(dotted) not in (home, "__version__"):
            below = FLOOR.get(place(dotted), FLOOR["demo"] - 1)  # testing: for demo and cli alone
            assert below < FLOOR[home], f"{file} imports {dotted}"


@pytest.mark.parametrize("file", FILES)
def test_each_foreign_library_has_one_door(file):
    if place(file) in BESIDE:
        return

    for dotted in imports(file):
        doors = DOORS.get(dotted.split(".")[0])
        assert doors is None or any(file.startswith(door) for door in doors), f"{file}: {dotted}"


def test_every_place_has_a_floor():
    assert {place(file) for file in FILES} - BESIDE <= FLOOR.keys()
