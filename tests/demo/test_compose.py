"""docker-compose.yml, the Dockerfile and their config, as far as they can be held to without Docker."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from proxy.cli import main
from proxy.config.load import load

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
CONFIG = ROOT / "config/compose.yaml"


def instruction(word):
    """Every argument of an instruction of the Dockerfile, its continued lines joined."""
    joined = DOCKERFILE.replace("\\\n", "")
    return re.findall(rf"^{word}\s+(.*)$", joined, re.MULTILINE)


def test_the_config_passes_check():
    done = CliRunner().invoke(main, ["check", str(CONFIG)])

    assert done.exit_code == 0, done.output
    assert "2 upstreams" in done.output


def test_the_only_warning_is_that_without_a_token_nothing_can_be_changed():
    (warning,) = load(CONFIG, {}).warnings

    assert "only serve reads" in str(warning)
    assert not load(CONFIG, {"ADMIN_TOKEN": "a-token-of-some-length"}).warnings


def test_the_config_it_serves_is_mounted_where_it_looks():
    source, target, mode = SERVICES["proxy"]["volumes"][0].split(":")
    command = SERVICES["proxy"]["command"]
    path = Path(command[command.index("-c") + 1])

    assert path.parent == Path(target)
    assert ROOT / source / path.name == CONFIG
    assert mode == "ro"


def test_every_port_is_published_on_this_machine_only_and_is_a_listener_of_the_config():
    config = load(CONFIG, {})
    published = [port.rsplit(":", 2) for port in SERVICES["proxy"]["ports"]]

    assert {host for host, _, _ in published} == {"127.0.0.1"}
    assert {int(inside) for _, _, inside in published} == {config.listen.port, config.admin.port}
    assert not any("ports" in SERVICES[name] for name in ("llm", "vectors"))


def test_every_upstream_of_the_config_is_a_service_that_listens_where_it_is_expected():
    for name, upstream in load(CONFIG, {}).upstreams.items():
        entry = SERVICES[name]["entrypoint"]

        assert upstream.url.host == name
        assert str(upstream.url.port) == entry[entry.index("--port") + 1]


def test_the_upstreams_command_is_one_that_runs():
    entry = SERVICES["llm"]["entrypoint"]
    words = [sys.executable, *entry[1:]]
    words[words.index("--port") + 1] = "0"

    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as upstream:
        said = upstream.stdout.readline()
        upstream.terminate()

    assert said.startswith("listening on http://0.0.0.0:")
    assert upstream.returncode == 0


def test_no_container_is_root_or_may_write_or_gain_privileges():
    (user,) = instruction("USER")

    assert all(int(number) > 0 for number in user.split(":"))
    for service in SERVICES.values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_stopping_gives_the_drain_its_time():
    grace = float(SERVICES["proxy"]["stop_grace_period"].removesuffix("s"))

    assert grace > load(CONFIG, {}).drain.timeout


def test_everything_the_image_copies_is_there_and_let_through():
    let_through = (ROOT / ".dockerignore").read_text().split()
    sources = [
        word.rstrip("/")
        for arguments in instruction("COPY")
        if not arguments.startswith("--from")
        for word in arguments.split()[:-1]
    ]

    assert len(sources) > 4
    for source in sources:
        assert (ROOT / source).exists()
        assert any(line.startswith(f"!{source}") for line in let_through), source


@pytest.mark.parametrize("alive", [True, False])
def test_the_health_check_tells_whether_the_admin_listener_answers(alive):
    (check,) = instruction("HEALTHCHECK")
    words = json.loads(check.partition("CMD ")[2])
    assert "8081" in words[2]
    with socket.create_server(("127.0.0.1", 0)) as admin:
        code = words[2].replace("8081", str(admin.getsockname()[1]))
        # the environment of somebody who has to go through a proxy to get out
        env = {**os.environ, "http_proxy": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1"}
        with subprocess.Popen(
            [sys.executable, "-c", code], env=env, stderr=subprocess.DEVNULL
        ) as run:
            caller, _ = admin.accept()
            with caller:
                assert caller.recv(4096).startswith(b"GET /-/healthy ")
                if alive:
                    caller.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    assert (run.returncode == 0) is alive
