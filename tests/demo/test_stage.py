"""The whole demo: in virtual time where it is a matter of what is told, for real where it ends."""

import asyncio
import io
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from proxy.config.load import load
from proxy.demo import scenes, stage

ROOT = Path(__file__).parents[2]
ROUND = sum(scene.seconds for scene in scenes.SCENES)


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Hearer(io.StringIO):
    """Wakes whoever waits for a word to be written."""

    def __init__(self, word):
        super().__init__()
        self.word = word
        self.heard = asyncio.Event()

    def write(self, text):
        if self.word in text:
            self.heard.set()
        return super().write(text)


@pytest.fixture(autouse=True)
def free_ports(monkeypatch):
    monkeypatch.setenv("DEMO_PORT", "0")
    monkeypatch.setenv("DEMO_ADMIN_PORT", "0")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")


async def played(out, seconds):
    await stage.play(out, asyncio.Event(), seconds)
    return out.getvalue()


async def test_one_round_shows_retries_circuits_that_open_and_close_and_envelopes():
    told = await played(io.StringIO(), ROUND + 3)

    for upstream in ("llm", "vectors"):
        mine = "\n".join(line for line in told.splitlines() if f" {upstream} " in line)
        assert re.search(
            r"attempt 2 follows.*a caller has its answer, from attempt 2.*circuit OPENS"
            r".*CIRCUIT_OPEN.*HALF-OPEN.*circuit CLOSES",
            mine,
            re.DOTALL,
        ), told
    assert "NETWORK_ERROR (502)" in told
    assert "TIMEOUT_ERROR (504)" in told


def test_a_newcomer_has_seen_the_first_circuit_close_within_ten_seconds():
    until_back = [scene.seconds for scene in scenes.SCENES[:3]]
    opened_for = load(stage.CONFIG, {}).upstreams["llm"].breaker.timeout

    # at worst it opens at the very end of the outage's first second
    assert sum(until_back[:2]) + 1 + opened_for < 10
    assert sum(until_back) < 10


async def test_a_pipe_gets_plain_lines_and_none_of_the_json():
    told = await played(io.StringIO(), 5)

    assert "\x1b" not in told
    assert "{" not in told


async def test_callers_are_answered_while_all_is_well():
    told = await played(io.StringIO(), 1.4)

    totals = re.findall(r"(\w+) +(\d+) calls, (\d+) failed", told)
    assert [name for name, _, _ in totals] == ["llm", "vectors"]
    assert all(int(calls) > 0 and failed == "0" for _, calls, failed in totals), told


async def test_a_terminal_gets_a_picture_and_its_own_screen_back():
    told = await played(Terminal(), 6)

    assert told.startswith("\x1b[?1049h")
    assert "○ open, probe in" in told
    assert "\x1b[31m" in told
    assert told.rindex("\x1b[?1049l") < told.rindex("calls,")


async def test_no_color_is_heeded(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")

    told = await played(Terminal(), 6)

    assert "○ open, probe in" in told
    assert not re.search(r"\x1b\[\d+m", told)


async def test_a_terminal_that_cannot_move_its_cursor_gets_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")

    assert "\x1b" not in await played(Terminal(), 2)


async def test_it_ends_when_told():
    out = Hearer("is overloaded")
    told = asyncio.Event()
    playing = asyncio.create_task(stage.play(out, told))
    await out.heard.wait()

    told.set()
    await playing

    assert "calls," in out.getvalue()


async def test_a_pipe_that_nobody_reads_ends_it():
    class Closed(io.StringIO):
        def write(self, text):
            if "overloaded" in text:
                raise BrokenPipeError
            return super().write(text)

    with pytest.raises(BrokenPipeError):
        await played(Closed(), None)


@pytest.mark.parametrize("taken", ["DEMO_PORT", "DEMO_ADMIN_PORT"])
async def test_where_a_port_is_taken_others_are_used_and_that_is_said(monkeypatch, taken):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setenv(taken, str(port))

        told = await played(io.StringIO(), 1)

    assert "usual ports are not free" in told
    assert f":{port}" not in told


@pytest.mark.real_time
async def test_the_commands_it_suggests_work():
    out = Hearer("All is well.")
    told = asyncio.Event()
    playing = asyncio.create_task(stage.play(out, told))
    await out.heard.wait()
    call, scrape = re.findall(r"curl -\w+ (http\S+)(?: \| grep (\w+))?", out.getvalue())

    answer = await fetched(call[0])
    metrics = await fetched(scrape[0])
    told.set()
    await playing

    assert json.loads(answer)["object"] == "list"
    assert {"llm", "vectors"} == {
        name
        for line in metrics.splitlines()
        if scrape[1] in line
        for name in re.findall(r'upstream="(\w+)"', line)
    }


async def fetched(url):
    host, _, rest = url.removeprefix("http://").partition(":")
    port, _, path = rest.partition("/")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"GET /{path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode()
    )
    answer = (await reader.read()).decode()
    writer.close()
    return answer.partition("\r\n\r\n")[2]


COMMAND = [sys.executable, "-m", "proxy", "demo"]


def test_the_command_ends_by_itself_when_told_how_long():
    done = subprocess.run([*COMMAND, "--seconds", "1"], capture_output=True, text=True, check=True)

    assert "octollm-proxy demo" in done.stdout
    assert "calls," in done.stdout
    assert done.stderr == ""


def test_a_terminal_that_knows_no_unicode_is_no_obstacle():
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*COMMAND, "--seconds", "1"], capture_output=True, check=True, env=env)

    assert b"? All is well." in done.stdout


def test_run_tells_whatever_it_is_given():
    out = io.StringIO()

    stage.run(out, 0.5)

    assert "calls," in out.getvalue()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_ends_cleanly_on_a_signal(number):
    with subprocess.Popen(
        COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as demo:
        for line in demo.stdout:
            if "All is well" in line:
                demo.send_signal(number)
                break
        rest, errors = demo.communicate()

    assert (demo.returncode, errors) == (0, "")
    assert "calls," in rest


def test_the_config_people_read_is_the_one_it_runs_with():
    assert stage.CONFIG.read_bytes() == (ROOT / "config/demo.yaml").read_bytes()
    assert not load(ROOT / "config/demo.yaml", {}).warnings


def test_an_installed_wheel_has_the_config(tmp_path):
    build = (
        f"{shlex.quote(sys.executable)} -m hatchling build -t wheel -d {shlex.quote(str(tmp_path))}"
    )
    subprocess.run(
        shlex.split(build), cwd=ROOT, check=True, capture_output=True, env={**os.environ}
    )

    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        assert wheel.read("proxy/demo/demo.yaml") == stage.CONFIG.read_bytes()
