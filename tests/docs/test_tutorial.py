"""docs/tutorial.md, followed step by step: its files saved, its commands run, its terminals open."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text()
PORTS = ("8080", "8081", "9001", "9002")
PATIENCE = 20
STEP = re.compile(
    r'^```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$'
    r"|Ctrl-C in (?P<ended>terminal \d)",
    re.DOTALL | re.MULTILINE,
)

pytestmark = [
    pytest.mark.real_time,
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed"),
]


def pattern(shown):
    """Read what is shown: `…` stands for anything, and how wide a gap is does not matter."""
    words = (re.escape(word).replace("…", ".*") for word in shown.split())
    return re.compile(
        r"\s+".join(words).replace(r".*\s+", r".*").replace(r"\s+.*", r".*"), re.DOTALL
    )


class Terminal:
    """A command that runs until Ctrl-C, and what it has said."""

    def __init__(self, command, **how):
        self.said = ""
        self._grew = threading.Condition()
        self._process = subprocess.Popen(
            command.split(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **how
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def says(self, shown):
        with self._grew:
            assert self._grew.wait_for(lambda: pattern(shown).search(self.said), PATIENCE), (
                self.said
            )

    def interrupt(self):
        self._process.send_signal(signal.SIGINT)
        assert self._process.wait(PATIENCE) == 0, self.said
        self.close()

    def close(self):
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def _read(self):
        with self._process.stdout as lines:
            for line in lines:
                with self._grew:
                    self.said += line
                    self._grew.notify_all()


@pytest.fixture
def ports():
    """Ports that nobody else is given: bound by us as well, without listening."""
    with ExitStack() as stack:
        claims = [stack.enter_context(socket.socket()) for _ in PORTS]
        for claim in claims:
            claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            claim.bind(("127.0.0.1", 0))
        yield dict(zip(PORTS, (str(claim.getsockname()[1]) for claim in claims), strict=True))


def test_the_tutorial_can_be_followed(tmp_path, ports):
    text = re.sub(rf"\b({'|'.join(PORTS)})\b", lambda port: ports[port[0]], TEXT)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    how = {"cwd": tmp_path, "env": {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"}}
    terminals = {}
    output = ""
    with ExitStack() as ends:
        for step in STEP.finditer(text):
            title, said = step["title"], step["text"]
            match step["language"]:
                case None:
                    terminals[step["ended"]].interrupt()
                case "yaml":
                    (tmp_path / title).write_text(said)
                case "bash" if title:
                    terminals[title] = Terminal(said, **how)
                    ends.callback(terminals[title].close)
                case "bash":
                    script = re.sub("^pip install .*", "", said)  # it is installed
                    output = subprocess.check_output(script, shell=True, text=True, **how)
                case "text" if title:
                    terminals[title].says(said)
                case "text":
                    assert pattern(said).fullmatch(output.strip()), f"{said}\nis not\n{output}"


def test_every_block_is_a_step_of_a_known_kind():
    steps = [step for step in STEP.finditer(TEXT) if step["language"]]

    assert len(steps) * 2 == len(re.findall("^```", TEXT, re.MULTILINE))
    assert {step["language"] for step in steps} == {"bash", "text", "yaml"}
    assert {step["title"] for step in steps if step["language"] == "yaml"} == {
        "proxy.yaml",
        "tuned.yaml",
    }
