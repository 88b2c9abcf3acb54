"""The systemd units, as systemd's own tools read them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.app import EXIT_CUT_SHORT
from proxy.config.schema import Drain

UNITS = sorted((Path(__file__).parents[2] / "config" / "systemd").glob("*.service"))

needs_systemd = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd is not installed"
)


@pytest.fixture(params=UNITS, ids=lambda path: path.name)
def unit(request, tmp_path):
    """A unit whose command is one of this machine."""
    text = request.param.read_text()
    command = Path(sys.executable).with_name("octollm-proxy")
    path = tmp_path / request.param.name.replace("@.", "@1.")
    path.write_text(text.replace("/opt/octollm/bin/octollm-proxy", str(command)))
    return path


@needs_systemd
def test_systemd_understands_it(unit):
    verify = ["systemd-analyze", "verify", "--man=no", unit]
    done = subprocess.run(verify, capture_output=True, text=True, check=True)

    assert done.stderr == ""


def test_processes_that_share_a_port_are_one_user_and_nobody_elses():
    # The name that systemd would take is the unit's; Debian has a user `proxy`.
    [template] = [path for path in UNITS if "@" in path.name]

    assert "User=octollm" in template.read_text().splitlines()


@needs_systemd
def test_systemd_calls_it_well_kept(unit):
    # In tenths; up to 2.0 is its "OK".
    subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", unit], check=True
    )


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_it_waits_for_word_from_us_and_longer_than_a_drain(path):
    settings = dict(
        line.split("=", 1)
        for line in path.read_text().splitlines()
        if "=" in line and not line.startswith("#")
    )

    assert settings["Type"] == "notify"
    assert settings["SuccessExitStatus"] == str(EXIT_CUT_SHORT)
    assert float(settings["TimeoutStopSec"].removesuffix("s")) > Drain().timeout + 1
