"""Every block of the README, run: the YAML is loaded, the Python is executed, the commands work."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from clients.running import Chroma, Served
from sybil import Sybil
from sybil.parsers.markdown import CodeBlockParser

from proxy import envelope, errors
from proxy.config.load import parse
from proxy.testing.script import status
from proxy.testing.upstream import Upstream

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
LANGUAGES = ("bash", "json", "promql", "python", "text", "yaml")

pytestmark = [
    pytest.mark.real_time,
    # chromadb's own models use what pydantic deprecates, and its client leaves sockets open.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def blocks(language: str) -> list[str]:
    parser = CodeBlockParser(language=language, evaluator=lambda _: None)
    return [str(found.parsed) for found in Sybil([parser]).parse(README).examples()]


def test_every_block_is_of_a_language_that_is_tried_here():
    fences = re.findall(r"^```(\w*)$", README.read_text(), re.MULTILINE)

    assert set(fences) - {""} == set(LANGUAGES)
    assert fences.count("") == sum(len(blocks(language)) for language in LANGUAGES)


@pytest.mark.parametrize("text", blocks("yaml"))
def test_the_yaml_can_be_loaded(text):
    config = parse(text, "README.md", {"OPENAI_API_KEY": "sk-x"})

    assert config.upstreams
    assert not config.warnings


@dataclass
class World:
    """The README's own config, running, with what it calls replaced by what is on this machine."""

    proxy: Served
    upstream: Upstream

    def here(self, code: str) -> str:
        """Give a block with this machine's ports for the README's."""
        shared, chroma = self.proxy.addresses
        code = code.replace("http://127.0.0.1:8080", shared)
        code = code.replace("http://127.0.0.1:8081", self.proxy.admin)
        return code.replace("port=8001", f"port={chroma.rpartition(':')[2]}")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("readme")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    chroma = Chroma(port, folder / "chroma")
    chroma.start()
    try:
        with Upstream() as upstream:
            config = folder / "proxy.yaml"
            text = blocks("yaml")[0].replace("listen: {port: 8001}", "listen: {port: 0}")
            text = re.sub(r"https://api\.\w+\.com", upstream.url, text)
            text = text.replace("http://127.0.0.1:8000", f"http://127.0.0.1:{port}")
            text = text.replace("${OPENAI_API_KEY}", "sk-ours")
            config.write_text(
                f"listen: {{port: 0}}\nadmin: {{port: 0}}\nlog: {{format: json}}\n{text}"
            )
            chroma.listen()
            with Served(config) as proxy:
                yield World(proxy, upstream)
    finally:
        chroma.kill()


@pytest.mark.parametrize("code", blocks("python"), ids=["openai", "anthropic", "chroma", "failure"])
def test_the_python_runs(world, code, capsys):
    if "no-such-model" in code:
        world.upstream.script(status(404, {"error": {"message": "no such model"}}))

    exec(compile(world.here(code), str(README), "exec"), {})

    assert capsys.readouterr().out


def test_the_proxy_put_its_own_key_in_place_of_the_sdks(world):
    keys = {
        str(seen.header("authorization") or seen.header("x-api-key")).removeprefix("Bearer ")
        for seen in world.upstream.seen
    }

    assert keys == {"sk-ours", "sk-ant-yours"}


@pytest.mark.parametrize("command", [line for text in blocks("bash") for line in text.splitlines()])
def test_the_commands_work(world, command, tmp_path):
    environment = {**os.environ, "OPENAI_API_KEY": "sk-x"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    folder = ROOT
    if command.startswith("make "):
        command = command.replace("make", "make -n", 1)
    elif command.startswith("octollm-proxy serve"):
        return  # `world` runs it
    elif command.startswith("octollm-proxy"):  # in a folder with the README's own file
        folder = tmp_path
        (folder / "proxy.yaml").write_text(blocks("yaml")[0])
    elif command.startswith("curl") and not shutil.which("curl"):
        pytest.skip("curl is not installed")

    done = subprocess.run(
        world.here(command),
        shell=True,
        cwd=folder,
        env=environment,
        capture_output=True,
        check=True,
    )

    assert done.stdout


def test_the_metrics_shown_are_those_there_are(world):
    shown = [line for text in blocks("text") for line in text.splitlines()]
    names = re.findall(r"octollm_\w+", " ".join(shown + blocks("promql")))

    with_values = [world.proxy.metric(line.partition("{")[0]) for line in shown]
    assert with_values == [len(world.proxy.addresses) + 1] * len(shown)
    assert len(names) >= 4


def test_the_envelope_shown_is_one(world):
    shown = blocks("json")[0]

    error = envelope.from_response(502, shown)

    assert isinstance(error, errors.LLMAPIError)
    assert error.to_dict() == json.loads(shown)
