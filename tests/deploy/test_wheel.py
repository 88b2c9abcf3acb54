"""The wheel: whole, well-formed, and all that it needs; also as somebody else, who may write nowhere."""

import fnmatch
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest
from deploy.running import Running
from e2e.support import call

import proxy
from proxy.app import EXIT_DRAINED

ROOT = Path(__file__).parents[2]
NOBODY = 65534

CONFIG = """
listen: {port: 0}
admin: {port: 0}
log: {format: json}
upstreams: {up: {url: "http://127.0.0.1:9"}}
"""


def build(source, into):
    """Build the wheel of a source tree, and give its file."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(into)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (wheel,) = Path(into).glob("*.whl")
    return wheel


def contents(wheel):
    return set(zipfile.ZipFile(wheel).namelist())


def files(folder):
    """Give the files below a folder of ours, links followed, as one would find them installed."""
    return {
        (Path(place) / name).relative_to(folder).as_posix()
        for place, _, names in os.walk(folder, followlinks=True)
        for name in names
        if "__pycache__" not in place
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel):
    """The wheel without its dependencies, in a folder that all may read and only its owner change."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--no-deps", "--no-index", "--target", tree, wheel], check=True)
        for place in (Path(folder), tree, *tree.rglob("*")):
            place.chmod(0o755 if place.is_dir() else 0o644)
        yield tree


def test_it_has_every_file_of_the_package_page_and_scenarios_included(wheel):
    held = contents(wheel)

    assert {f"proxy/{name}" for name in files(ROOT / "proxy")} <= held
    for wanted in ("admin/page/index.html", "simulate/scenarios/outage.yaml", "demo/demo.yaml"):
        assert f"proxy/{wanted}" in held


def test_it_has_schema_dashboards_rules_units_and_manifests_beside_the_package(wheel):
    share = f"octollm_proxy-{proxy.__version__}.data/data/share/octollm-proxy/"
    shared = {name.removeprefix(share) for name in contents(wheel) if name.startswith(share)}

    assert shared == files(ROOT / "config")
    for wanted in ("schema.json", "grafana/*.json", "prometheus/rules/*", "systemd/*.service"):
        assert fnmatch.filter(shared, wanted), wanted


def test_it_has_nothing_else(wheel):
    tops = {name.partition("/")[0].rpartition(".")[2] for name in contents(wheel)}

    assert tops == {"proxy", "data", "dist-info"}


@pytest.mark.skipif(
    not shutil.which("twine", path=Path(sys.executable).parent), reason="twine is not installed"
)
def test_an_index_would_take_it(wheel):
    twine = Path(sys.executable).with_name("twine")

    subprocess.run([twine, "--no-color", "check", "--strict", wheel], check=True)


def test_the_image_builds_the_same_one(wheel, tmp_path):
    """What .dockerignore keeps from the build is missing from nothing."""
    context = tmp_path / "context"
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    for pattern in (line.removeprefix("!") for line in lines if line.startswith("!")):
        for path in ROOT.glob(pattern):
            target = context / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                shutil.copytree(path, target, symlinks=True)
            else:
                shutil.copy(path, target)

    assert contents(build(context, tmp_path / "dist")) == contents(wheel)


def run(tree, *words):
    """Run what is installed there, from somewhere else."""
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    command = [sys.executable, *words]
    return subprocess.run(
        command, cwd="/", env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_what_is_installed_runs_without_the_sources(installed):
    where = run(installed, "-c", "import proxy; print(proxy.__file__)")

    assert Path(where.strip()).is_relative_to(installed)
    assert run(installed, "-m", "proxy", "--version").endswith(f"{proxy.__version__}\n")
    assert "outage" in run(installed, "-m", "proxy", "simulate", "--help")
    assert run(installed, "-m", "proxy", "demo", "--seconds", "0.1")
    example = str(installed / "share/octollm-proxy/proxy.yaml")
    assert "good" in run(installed, "-m", "proxy", "check", "--without-env", example)
    assert run(installed, "-m", "proxy", "simulate", "--without-env", example)


class AsNobody(Running):
    """The proxy as a user who owns nothing, in an environment that has nothing to write to."""

    def __init__(self, python: str, tree: Path, config: Path) -> None:
        super().__init__(config)
        libraries = Path(sys.executable).parents[1] / "lib"
        (packages,) = libraries.glob("python3*/site-packages")
        # The virtual environment's interpreter may stand where only its owner can go.
        places = f"PYTHONPATH={tree}:{packages}"
        # -s, -P: nothing of the user's own, and nothing from the folder it stands in.
        self._command = [
            *("setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"),
            *("--no-new-privs", "env", "-i", "--chdir=/", places, "PYTHONDONTWRITEBYTECODE=1"),
            *(python, "-s", "-P", "-m", "proxy", "serve", "-c", str(config)),
        ]


@pytest.fixture(scope="module")
def python():
    """An interpreter of our version that any user may run."""
    probe = f"import sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"
    for found in (os.path.realpath(sys.executable), "/usr/bin/python3"):
        try:
            subprocess.run([found, "-c", probe], user=NOBODY, group=NOBODY, cwd="/", check=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return found
    pytest.skip("no Python of this version that another user may run")


@pytest.mark.real_time
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv (util-linux) is not installed")
async def test_another_user_runs_it_from_a_tree_that_it_cannot_change(installed, python):
    config = installed / "proxy.yaml"
    config.write_text(CONFIG)
    before = files(installed)

    with AsNobody(python, installed, config) as running:
        who, open_files = seen_from_outside(running.pid)
        ready = await call(running.admin, "/-/ready")
        page = await call(running.admin, "/")
        unknown = await call(running.addresses[0], "/nobody/v1")
        running.signal(15)

        assert running.ended() == EXIT_DRAINED
    assert who == {NOBODY}
    assert (ready.status, page.status, unknown.status) == (200, 200, 404)
    assert open_files == []
    assert files(installed) == before


def seen_from_outside(pid):
    """Tell as which users a process runs, and which files on some disk it holds open."""
    process = Path(f"/proc/{pid}")
    (users,) = re.findall(r"^Uid:\t(.*)$", (process / "status").read_text(), re.MULTILINE)
    given = {"0", "1", "2"}
    links = [link for link in (process / "fd").iterdir() if link.name not in given]
    held = [link.readlink() for link in links if stat.S_ISREG(link.stat().st_mode)]
    return {int(user) for user in users.split()}, held
