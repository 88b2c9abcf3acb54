"""The official clients' streams: what is cut raises their own exception, with our code and message."""

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from clients.kits import KITS, QUESTION
from clients.running import Served, each, settled
from e2e.support import proxied
from pydantic import BaseModel

from proxy.testing import providers, script
from proxy.testing.upstream import Upstream

pytestmark = pytest.mark.real_time

only_openai = pytest.mark.parametrize("kit", KITS[:1], indirect=True, ids=["openai"])


def at(served: Served, upstream: str) -> str:
    return f"{served.addresses[0]}/{upstream}"


async def entered(stack: AsyncExitStack, manager: Any) -> Any:
    """Enter what a sync client gives, or an async one."""
    if hasattr(manager, "__aenter__"):
        return await stack.enter_async_context(manager)
    return stack.enter_context(manager)


# Each comes later than the first events: else it is an early error, and the call is repeated.
LATE = script.wait(0.1)
FAULTS = {
    "cut mid-event": (script.chunk(b'data: {"id": "chat') + LATE + script.reset(), "NETWORK_ERROR"),
    "cut between events": (LATE + script.close(), "NETWORK_ERROR"),
    "a clean end too early": (LATE + script.last_chunk(), "NETWORK_ERROR"),
    "stalled": (script.hang(), "TIMEOUT_ERROR"),
    "malformed chunks": (LATE + script.send(b"ZZ\r\n!\r\n"), "NETWORK_ERROR"),
    "stream_total": (
        script.chunks(*[b": still here\n\n"] * 30, every=0.1).beyond(0) + script.hang(),
        "TIMEOUT_ERROR",
    ),
}


def haste(code: str) -> str:
    """A busy machine must not pass for a stalled stream, where none is asked for."""
    return "-hasty" if code == "TIMEOUT_ERROR" else ""


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_in_a_stream_is_their_own_exception(fault, kit, ask, served, upstream):
    steps, code = FAULTS[fault]
    upstream.always(lambda seen: kit.answer(seen).until(4) + steps)
    stream = await ask(at(served, kit.name + haste(code)), stream=True)
    events: list[Any] = []
    with pytest.raises(kit.module.APIError) as caught:
        await each(stream, events)
    error = caught.value
    assert type(error) is kit.raises
    assert kit.told(error)[0] == code
    assert kit.told(error)[1] in str(error)
    assert len(events) >= 3
    assert len(upstream.seen) == 1


@only_openai
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_in_a_response_is_openai_s_own_exception(fault, reach, served, upstream):
    steps, code = FAULTS[fault]
    upstream.always(lambda seen: providers.response(seen).until(4) + steps)
    client = reach(at(served, "openai" + haste(code)))
    stream = await settled(client.responses.create(model="m", input="How long?", stream=True))
    with pytest.raises(openai.APIError) as caught:
        await each(stream, [])
    assert type(caught.value) is openai.APIError
    assert caught.value.code == code
    assert caught.value.body["message"] in str(caught.value)


@pytest.mark.parametrize("fault", ["cut between events", "a clean end too early"])
async def test_an_early_fault_is_not_even_seen(fault, kit, ask, served, upstream):
    whole = await each(await ask(upstream.url, stream=True), [])
    upstream.script(lambda seen: kit.answer(seen).until(0) + FAULTS[fault][0])
    assert await each(await ask(at(served, kit.name), stream=True), []) == whole


async def test_an_overloaded_provider_is_asked_again(kit, ask, served, upstream):
    whole = await each(await ask(upstream.url, stream=True), [])
    upstream.script(lambda seen: kit.answer(seen).until(0) + providers.error_event(seen))
    stream = await ask(at(served, kit.name), stream=True)
    assert await each(stream, []) == whole
    assert stream.response.headers["x-octollm-attempts"] == "2"


async def test_an_overload_that_stays_is_the_exception_of_its_status(kit, ask, served, upstream):
    upstream.always(lambda seen: kit.answer(seen).until(0) + providers.error_event(seen))
    with pytest.raises(kit.module.InternalServerError) as caught:
        await ask(at(served, kit.name), stream=True)
    assert caught.value.response.json()["error"] == "LLM_API_ERROR"
    assert len(upstream.seen) == 4


# --- their helpers

TOOL = {"city": {"type": "string"}, "days": {"type": "integer"}}
SCHEMA = {"type": "object", "properties": TOOL, "required": ["city", "days"]}
TOOLS = {
    "openai": [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}],
    "anthropic": [{"name": "weather", "input_schema": SCHEMA}],
}


def helper(kit, client, **more):
    """Begin the client's own `.stream()`."""
    return kit.resource(client).stream(**QUESTION, **more)


async def final(kit, stream):
    """Read a helper's stream to its end, and give what it has put together."""
    await each(stream, [])
    name = "get_final_completion" if kit.module is openai else "get_final_message"
    return await settled(getattr(stream, name)())


@pytest.mark.parametrize("tools", [False, True])
async def test_the_stream_helper_puts_the_same_together(tools, kit, reach, served, upstream):
    more = {"tools": TOOLS[kit.name]} if tools else {}
    both = []
    for url in (upstream.url, at(served, kit.name)):
        async with AsyncExitStack() as stack:
            stream = await entered(stack, helper(kit, reach(url), **more))
            both.append(await final(kit, stream))
    assert both[0] == both[1]
    assert "weather" in both[1].model_dump_json() or not tools


@pytest.mark.parametrize("tools", [False, True])
async def test_the_stream_helper_raises_where_a_stream_is_cut(tools, kit, reach, served, upstream):
    upstream.always(lambda seen: kit.answer(seen).until(4) + LATE + script.reset())
    more = {"tools": TOOLS[kit.name]} if tools else {}
    async with AsyncExitStack() as stack:
        stream = await entered(stack, helper(kit, reach(at(served, kit.name)), **more))
        with pytest.raises(kit.raises) as caught:
            await final(kit, stream)
    assert kit.told(caught.value)[0] == "NETWORK_ERROR"


class Forecast(BaseModel):
    """What a structured answer is read into."""

    city: str
    days: int


@only_openai
async def test_structured_outputs_are_put_together_and_a_cut_one_raises(
    kit, reach, served, upstream
):
    async def parsed() -> Any:
        async with AsyncExitStack() as stack:
            client = reach(at(served, "openai"))
            chat = await entered(stack, helper(kit, client, response_format=Forecast))
            yield (await final(kit, chat)).choices[0].message.parsed
            asked = client.responses.stream(model="m", input="How long?", text_format=Forecast)
            response = await entered(stack, asked)
            await each(response, [])
            yield (await settled(response.get_final_response())).output_parsed

    answers = [answer async for answer in parsed()]
    assert [type(answer) for answer in answers] == [Forecast, Forecast]
    assert answers[0].days == 1
    upstream.always(lambda seen: providers.answer(seen).until(5) + LATE + script.reset())
    with pytest.raises(openai.APIError, match="cut short"):
        _ = [answer async for answer in parsed()]


@only_openai
async def test_the_response_helper_raises_where_a_response_is_cut(reach, served, upstream):
    upstream.always(lambda seen: providers.response(seen).until(5) + LATE + script.reset())
    async with AsyncExitStack() as stack:
        asked = reach(at(served, "openai")).responses.stream(model="m", input="How long?")
        stream = await entered(stack, asked)
        with pytest.raises(openai.APIError) as caught:
            await each(stream, [])
    assert caught.value.code == "NETWORK_ERROR"


async def test_a_raw_streaming_response_shows_the_error_event(kit, reach, served, upstream):
    upstream.always(lambda seen: kit.answer(seen).until(4) + LATE + script.reset())
    lines: list[str] = []
    async with AsyncExitStack() as stack:
        raw = kit.resource(reach(at(served, kit.name))).with_streaming_response
        response = await entered(stack, raw.create(**QUESTION, stream=True))
        with pytest.raises((kit.module.APIError, httpx2.HTTPError)):
            await each(response.iter_lines(), lines)
    *_, last = [line for line in lines if line]
    assert json.loads(last.removeprefix("data: "))["error"]["type"] == "NETWORK_ERROR"


# --- many at once


async def test_of_fifty_streams_every_one_ends_whole_or_raises(served, upstream):
    """Every second of them meets a fault, of every kind in turn; none is silently short."""
    kinds = list(FAULTS)

    def answer(seen: Any) -> script.Answer:
        number = int(seen.json()["messages"][0]["content"].split()[-1])
        good = providers.answer(seen)
        assert good is not None
        return good.until(4) + FAULTS[kinds[number // 2 % len(kinds)]][0] if number % 2 else good

    upstream.always(answer)
    async with (
        openai.AsyncOpenAI(base_url=at(served, "openai-hasty") + "/v1", api_key="-") as one,
        anthropic.AsyncAnthropic(base_url=at(served, "anthropic-hasty"), api_key="-") as other,
    ):

        async def run(number: int) -> tuple[str, str]:
            kit = KITS[number // 4 % 2]
            client = one if kit.module is openai else other
            said = [{"role": "user", "content": f"a stream of some words, number {number}"}]
            events: list[Any] = []
            try:
                stream = await kit.resource(client).create(
                    model="m", max_tokens=9, messages=said, stream=True
                )
                await each(stream, events)
            except kit.raises as error:
                return kit.told(error)[0], ""
            return "whole", "".join(map(text_of, events))

        endings = await asyncio.gather(*map(run, range(50)))

    for number, (ending, text) in enumerate(endings):
        if number % 2:
            assert ending == FAULTS[kinds[number // 2 % len(kinds)]][1]
        else:
            assert (ending, text) == ("whole", f"You said: a stream of some words, number {number}")


def text_of(event: Any) -> str:
    """The text that one event of either provider adds."""
    if hasattr(event, "choices"):
        return event.choices[0].delta.content or ""
    return getattr(getattr(event, "delta", None), "text", None) or ""


# --- the end of the proxy

DRAINING = """
version: 1
listen: {port: 0}
admin: {port: 0}
drain: {timeout: 100ms}
upstreams:
  openai: {kind: llm, provider: openai, url: "${UP}"}
  anthropic: {kind: llm, provider: anthropic, url: "${UP}"}
"""


async def test_a_stream_that_outlasts_draining_is_their_own_exception(kit):
    maker = openai.AsyncOpenAI if kit.module is openai else anthropic.AsyncAnthropic
    async with Upstream() as upstream, proxied(DRAINING, up=upstream.url) as proxy:
        upstream.always(lambda seen: kit.answer(seen).until(4) + script.hang())
        url = f"{proxy.addresses['']}/{kit.name}{kit.base}"
        async with maker(base_url=url, api_key="-") as client:
            stream = await kit.resource(client).create(**QUESTION, stream=True)
            draining = asyncio.create_task(proxy.drain())
            with pytest.raises(kit.raises) as caught:
                await each(stream, [])
            assert not await draining
    assert kit.told(caught.value) == ("CAPACITY_EXCEEDED", "this proxy is shutting down")
