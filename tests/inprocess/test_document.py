"""docs/in-process.md, run: its Python calls a scripted upstream under its YAML."""

import asyncio
import re
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import CodeBlockParser

from proxy import errors
from proxy.testing import script
from proxy.testing.upstream import Upstream

PAGE = Path(__file__).parents[2] / "docs" / "in-process.md"

pytestmark = pytest.mark.real_time("asyncio", "uvloop")


def blocks(language):
    parser = CodeBlockParser(language=language, evaluator=lambda _: None)
    return [str(found.parsed) for found in Sybil([parser]).parse(PAGE).examples()]


@pytest.fixture
async def world(tmp_path, monkeypatch):
    """What the page defines, with the two models it calls on this machine."""
    folder = tmp_path / "config"
    folder.mkdir()
    # One failure is enough to see a circuit open, and none has to be waited for.
    fast = "retry: {max_retries: 0}\n    breaker: {failure_threshold: 1}"
    (folder / "proxy.yaml").write_text(blocks("yaml")[0].replace("retry: {max_retries: 2}", fast))
    monkeypatch.chdir(tmp_path)
    async with Upstream() as openai, Upstream() as local:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
        monkeypatch.setenv("OPENAI_BASE_URL", f"{openai.url}/v1")
        code = "\n\n".join(blocks("python")).replace("http://127.0.0.1:11434", local.url)
        defined = {}
        exec(compile(code, str(PAGE), "exec"), defined)
        yield defined, openai, local
        await defined["openai"].close()
        await defined["local"].close()


async def test_the_calls_are_answered(world):
    defined, openai, local = world

    assert len(await defined["embed"]("x")) > 1
    assert await defined["tell"]("x")
    assert await defined["complete"]("x")
    assert (openai.requests, local.requests) == (3, 0)


async def test_while_one_is_down_the_other_is_asked_and_then_it_alone(world):
    defined, openai, local = world
    openai.always(script.status(500))

    assert await defined["complete"]("x")
    assert await defined["complete"]("x")
    assert (openai.requests, local.requests) == (1, 2)


async def test_a_fault_of_our_own_asks_nobody_else(world):
    defined, openai, local = world
    openai.always(script.status(400))

    with pytest.raises(errors.ValidationError):
        await defined["complete"]("x")
    assert local.requests == 0


async def test_all_three_clients_raise_what_the_envelope_says(world):
    defined, openai, _ = world
    refusal = {"error": "CIRCUIT_OPEN", "message": "open", "details": {}, "retry_after": 7}
    openai.always(script.status(503, refusal))

    for call in (
        lambda: asyncio.to_thread(defined["by_requests"], openai.url),
        lambda: defined["by_httpx"](openai.url),
        lambda: defined["by_aiohttp"](openai.url),
    ):
        with pytest.raises(errors.CircuitOpenError) as raised:
            await call()
        assert raised.value.retry_after == 7

        openai.script(script.ok("fine"))
        assert await call() == b"fine"


def test_the_page_leads_only_to_what_is_there():
    for link in re.findall(r"\]\(([^)#]+)\)", PAGE.read_text()):
        assert (PAGE.parent / link).exists()
