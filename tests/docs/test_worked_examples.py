"""The YAML of the pages on features, run: scripted upstreams stand where it says, and do as told."""

import asyncio
import json
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from e2e.support import call, proxied
from sybil import Sybil
from sybil.parsers.markdown import CodeBlockParser

from proxy.config.load import parse
from proxy.testing.script import hang, ok, status, wait
from proxy.testing.upstream import Upstream

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("cache.md", "fallback.md", "guard.md", "hedging.md", "limits.md", "pools.md")
QUESTION = b'{"model": "gpt-4o", "messages": []}'


def blocks(page: str) -> list[Any]:
    """Give the YAML of a page, a part laid over the first block, which is a whole file."""
    parser = CodeBlockParser(language="yaml", evaluator=lambda _: None)
    first, *others = [
        yaml.safe_load(str(found.parsed)) for found in Sybil([parser]).parse(DOCS / page).examples()
    ]
    return [first, *(laid_over(first, other) for other in others)]


def laid_over(below: Any, above: Any) -> Any:
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return {**below, **{key: laid_over(below.get(key), above[key]) for key in above}}


@pytest.mark.parametrize(
    ("page", "config"), [(page, config) for page in PAGES for config in blocks(page)]
)
def test_the_yaml_is_a_config_that_raises_no_brow(page, config):
    loaded = parse(yaml.safe_dump(config), page, {"OPENAI_API_KEY": "sk-ours"})

    assert loaded.upstreams
    assert not loaded.warnings


@asynccontextmanager
async def played(page: str, number: int = 0, **changed: Any):
    """Run the proxy on a block of *page*, with keys of its first upstream *changed*.

    Each upstream answers with its own name.
    """
    config = {**blocks(page)[number], "listen": {"port": 0}, "admin": {"port": 0}}
    first = next(iter(config["upstreams"]))
    config["upstreams"][first] = laid_over(config["upstreams"][first], changed)
    async with AsyncExitStack() as stack:
        upstreams = {}
        for name, settings in config["upstreams"].items():
            upstreams[name] = await stack.enter_async_context(Upstream())
            upstreams[name].always(ok(name))
            settings["url"] = upstreams[name].url
        text = yaml.safe_dump(config)
        proxy = await stack.enter_async_context(proxied(text, openai_api_key="sk-ours"))
        yield proxy, upstreams


async def ask(proxy, name, **headers):
    target = f"/{name}/v1/chat/completions"
    fields = {field.replace("_", "-"): value for field, value in headers.items()}
    return await call(proxy.addresses[""], target, "POST", QUESTION, fields)


async def test_fallback_while_openai_is_out_the_local_model_answers():
    async with played("fallback.md") as (proxy, upstreams):
        openai, local = upstreams["openai"], upstreams["local"]
        openai.always(status(503))

        told = await ask(proxy, "openai", authorization="Bearer mine")

        assert (told.body, told["x-octollm-upstream"]) == (b"local", "local")
        assert (openai.requests, local.requests) == (2, 1)
        assert openai.seen[0].header("authorization") == "Bearer sk-ours"
        assert local.seen[0].header("authorization") is None
        assert local.seen[0].json()["model"] == "qwen2.5-7b"

        answers = [await ask(proxy, "openai") for _ in range(10)]
        assert {told.body for told in answers} == {b"local"}
        assert openai.requests == 5
        assert answers[-1]["x-octollm-attempts"] == "1"

        openai.always(ok("openai"))
        await asyncio.sleep(60)
        back = [await ask(proxy, "openai") for _ in range(10)]
        assert {told.body for told in back} == {b"openai"}


@pytest.mark.parametrize(
    ("code", "answered"), [("context_length_exceeded", 200), ("invalid_value", 400)]
)
async def test_fallback_a_context_too_long_for_openai_goes_to_the_local_model(code, answered):
    async with played("fallback.md") as (proxy, upstreams):
        upstreams["openai"].always(status(400, {"error": {"message": "no", "code": code}}))

        told = await ask(proxy, "openai")

    assert told.status == answered


async def test_pools_three_of_four_calls_go_to_the_large_one():
    async with played("pools.md") as (proxy, _):
        shares = Counter([(await ask(proxy, "chat")).body for _ in range(400)])

    assert 260 < shares[b"large"] < 340
    assert shares.total() == 400


async def test_pools_what_needs_vision_goes_to_who_has_it_or_is_told_when_to_come_back():
    async with played("pools.md") as (proxy, upstreams):
        seeing = [await ask(proxy, "chat", x_required_capabilities="vision") for _ in range(20)]
        assert {told.body for told in seeing} == {b"large"}

        await upstreams["large"].stop()
        calls = [asyncio.create_task(ask(proxy, "chat")) for _ in range(20)]
        assert {told.body for told in await asyncio.gather(*calls)} == {b"small"}
        told = await ask(proxy, "chat", x_required_capabilities="vision")

    assert (told.status, told.code) == (503, "ARM_UNAVAILABLE")
    assert told.json()["details"]["required_capabilities"] == ["vision"]
    assert 0 < told.json()["retry_after"] <= 60


async def test_pools_a_callers_credential_goes_to_the_members_where_that_is_said():
    for number, arrives in ((0, None), (1, "Bearer mine")):
        async with played("pools.md", number) as (proxy, upstreams):
            await ask(proxy, "chat", authorization="Bearer mine")

            (seen,) = [seen for upstream in upstreams.values() for seen in upstream.seen]
            assert seen.header("authorization") == arrives


@pytest.mark.parametrize(
    ("name", "asked"),
    [("qdrant", {"qdrant": 2, "replica": 0}), ("vectors", {"qdrant": 1, "replica": 1})],
)
async def test_hedging_a_silent_search_is_asked_twice(name, asked):
    async with played("hedging.md") as (proxy, upstreams):
        upstreams["qdrant"].script(hang())

        told = await call(
            proxy.addresses[""], f"/{name}/collections/docs/points/search", "POST", b"{}"
        )

        assert (told.status, told["x-octollm-attempts"]) == (200, "2")
        assert {name: upstream.requests for name, upstream in upstreams.items()} == asked


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "docs/points"), ("POST", "archive/points/search")]
)
async def test_hedging_what_writes_or_is_slow_as_a_rule_is_asked_once(method, path):
    async with played("hedging.md") as (proxy, upstreams):
        upstreams["qdrant"].always(wait(3) + ok())

        await call(proxy.addresses[""], f"/qdrant/collections/{path}", method, b"{}")

        assert upstreams["qdrant"].requests == 1


async def test_limits_the_hundred_and_first_call_of_a_minute_is_told_when_to_come_back():
    async with played("limits.md") as (proxy, upstreams):
        answers = [await ask(proxy, "openai") for _ in range(101)]

        assert [told.status for told in answers] == [200] * 100 + [429]
        assert 0 < answers[-1].json()["retry_after"] <= 1
        assert upstreams["openai"].requests == 100


async def test_limits_twenty_are_in_flight_a_hundred_in_line_and_the_next_is_turned_away():
    generous = {"rate": {"limit": 1000}}
    async with played("limits.md", limits=generous) as (proxy, upstreams):
        upstreams["openai"].always(wait(0.5) + ok())
        calls = [asyncio.create_task(ask(proxy, "openai")) for _ in range(121)]

        statuses = Counter([(await one).status for one in calls])

        assert statuses == {200: 120, 503: 1}
        assert upstreams["openai"].peak == 20


async def test_limits_one_caller_cannot_take_everything():
    async with played("limits.md", 1) as (proxy, upstreams):
        mine = [await ask(proxy, "qdrant", api_key="mine") for _ in range(21)]
        other = await ask(proxy, "qdrant", api_key="other")

    assert [told.status for told in mine] == [200] * 20 + [429]
    assert other.status == 200


async def test_limits_a_gpu_is_asked_for_no_more_than_it_can_do():
    async with played("limits.md", 2) as (proxy, upstreams):
        upstreams["local"].always(wait(1) + ok())
        calls = [asyncio.create_task(ask(proxy, "local")) for _ in range(55)]

        statuses = Counter([(await one).status for one in calls])

        assert statuses == {200: 54, 503: 1}
        assert upstreams["local"].peak == 4


async def test_limits_who_comes_after_a_429_waits_as_long_as_that_says():
    async with played("limits.md", 3) as (proxy, upstreams):
        upstreams["anthropic"].script(status(429, retry_after=10))
        loop = asyncio.get_running_loop()
        first = asyncio.create_task(ask(proxy, "anthropic", x_api_key="mine"))
        await upstreams["anthropic"].asked()
        await asyncio.sleep(0.1)

        began = loop.time()
        other = await ask(proxy, "anthropic", x_api_key="other")
        assert (other.status, loop.time() - began < 1) == (200, True)
        second = await ask(proxy, "anthropic", x_api_key="mine")
        assert (second.status, loop.time() - began > 9) == (200, True)
        assert (await first).status == 200


TALK = b"""{"messages": [{"role": "system", "content": "Be brief."},
  {"role": "assistant", "content": "Hello."},
  {"role": "user", "content": "I am bob@example.com, +1 415 555 2671."}]}"""


async def test_guard_marks_go_out_instead_of_what_was_found():
    async with played("guard.md") as (proxy, upstreams):
        told = await call(proxy.addresses[""], "/openai/v1/chat/completions", "POST", TALK)

        assert told.status == 200
        (seen,) = upstreams["openai"].seen
        assert seen.body == TALK.replace(b"bob@example.com", b"[EMAIL_1]").replace(
            b"+1 415 555 2671", b"[PHONE_1]"
        )


async def test_guard_a_refusal_is_what_the_page_shows():
    parser = CodeBlockParser(language="json", evaluator=lambda _: None)
    (shown,) = [
        json.loads(str(found.parsed))
        for found in Sybil([parser]).parse(DOCS / "guard.md").examples()
    ]
    async with played("guard.md", guard={"pii": "block"}) as (proxy, upstreams):
        told = await call(proxy.addresses[""], "/openai/v1/chat/completions", "POST", TALK)

        told_of = told.json()
        assert told_of["details"].pop("request_id")
        assert (told.status, told_of) == (400, shown)
        assert upstreams["openai"].requests == 0
