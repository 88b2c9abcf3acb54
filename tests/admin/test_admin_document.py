from pathlib import Path

from proxy.admin import openapi

DOCUMENT = Path(__file__).parents[2] / "docs" / "admin.md"


def test_the_api_in_the_documentation_is_the_one_there_is():
    rows = [
        f"| `{method.upper()} {path}` | {operation['summary']} |"
        for path, methods in openapi.document()["paths"].items()
        for method, operation in methods.items()
        if method != "parameters"
    ]
    written = [
        line for line in DOCUMENT.read_text().splitlines() if line.startswith(("| `GET", "| `POST"))
    ]

    assert written == rows


def test_its_pictures_are_there():
    for name in ("light", "dark", "phone"):
        assert (DOCUMENT.parent / "images" / f"status-{name}.png").stat().st_size > 10_000
