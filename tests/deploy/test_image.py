"""The Dockerfile, as far as it can be judged without an engine; tests/demo/test_compose.py has more."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from proxy.cli import main

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
HADOLINT = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:/usr/bin:/usr/local/bin")


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed")
def test_hadolint_has_nothing_to_say():
    subprocess.run([HADOLINT, "--no-color", "Dockerfile"], cwd=ROOT, check=True)


def test_the_base_is_the_builders_choice_and_no_digest_is_made_up():
    stages = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)

    assert stages == ["${PYTHON_IMAGE}"] * 2
    assert re.search(r"^ARG PYTHON_IMAGE=python:3\.\d+-slim$", DOCKERFILE, re.MULTILINE)
    assert not re.search(r"@sha256:[0-9a-f]", DOCKERFILE)


def test_the_command_it_runs_is_one_and_finds_its_config_by_the_environment():
    (command,) = re.findall(r"^CMD (.*)$", DOCKERFILE, re.MULTILINE)
    (where,) = re.findall(r"OCTOLLM_PROXY_CONFIG=(\S+)$", DOCKERFILE, re.MULTILINE)

    done = CliRunner().invoke(main, json.loads(command), env={"OCTOLLM_PROXY_CONFIG": where})

    assert done.stderr.startswith(f"{where}:1:1: cannot be read")
