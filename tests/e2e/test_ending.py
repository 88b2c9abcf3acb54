"""What we end, because we go: its caller is told so, and the log does not blame the caller."""

import asyncio
import io
import json
from contextlib import asynccontextmanager

import pytest
from e2e.support import answer, call, connect, proxied, request

from proxy.observe import logs
from proxy.testing import script, sse
from proxy.testing.upstream import Upstream

TEXT = """
version: 1
listen: {port: 0}
admin: {port: 0}
drain: {timeout: 5s}
batch: {concurrency: 3}
upstreams:
  up: {kind: llm, provider: openai, url: "${UP}", limits: {concurrency: 2, queue: {size: 9, timeout: 1m}}}
"""


@pytest.fixture
def told():
    """Give the lines about requests at the level that everybody has, once they are asked for."""
    stream = io.BytesIO()
    logs.configure("info", "json", stream)

    def lines():
        logs.close()
        found = [json.loads(line) for line in stream.getvalue().splitlines()]
        return [
            (line["event"], line["level"], line["status"], line["code"], line["outcome"])
            for line in found
            if line["event"].startswith("request.")
        ]

    yield lines
    logs.close()


def ended(status):
    return ("request.failed", "warning", status, "CAPACITY_EXCEEDED", "failed")


@asynccontextmanager
async def going():
    async with Upstream() as upstream, proxied(TEXT, up=upstream.url) as proxy:
        yield proxy, upstream


async def end(proxy):
    assert not await proxy.drain()
    await proxy.stop()


async def test_a_call_without_an_answer_has_one_from_us(told):
    async with going() as (proxy, upstream):
        upstream.always(script.hang())
        asked = asyncio.create_task(call(proxy.addresses[""], "/up/x"))
        await upstream.asked()
        await end(proxy)
        last = await asked

        assert (last.status, last.code, last["retry-after"]) == (503, "CAPACITY_EXCEEDED", "1")
        assert (last.whole, last["connection"]) == (True, "close")
    assert told() == [ended(503)]


async def test_who_goes_at_once_says_so_at_once(told):
    async with going() as (proxy, upstream):
        upstream.always(script.hang())
        asked = asyncio.create_task(call(proxy.addresses[""], "/up/x"))
        await upstream.asked()
        now = asyncio.get_running_loop().time
        began = now()
        await proxy.stop()

        assert now() - began < 1
        assert (await asked).status == 503
    assert told() == [ended(503)]


async def test_an_upload_that_has_not_come_is_not_waited_for(told):
    async with going() as (proxy, upstream):
        upstream.always(script.ask(lambda seen: script.ok(bytes(seen.body))))
        base = proxy.addresses[""]
        reader, writer = await connect(base)
        writer.write(request(base, "/up/x", "POST", b"half of it")[:-5])
        await upstream.asked()
        await end(proxy)
        last = await answer(reader)
        writer.close()

        assert (last.status, last.code) == (503, "CAPACITY_EXCEEDED")
    assert told() == [ended(503)]


@pytest.mark.parametrize(
    "begun",
    [
        script.head(200, length=10) + script.body(b"half") + script.hang(),
        script.chunks(b"half", b"more").until(1) + script.hang(),
        script.event_stream(sse.chat("a b")).until(2) + script.hang(),
    ],
    ids=["length", "chunks", "stream"],
)
async def test_an_answer_that_has_begun_is_cut_and_the_log_says_by_whom(begun, told):
    async with going() as (proxy, upstream):
        upstream.always(begun)
        base = proxy.addresses[""]
        asked = asyncio.create_task(call(base, "/up/v1/chat/completions", "POST", b"{}"))
        await upstream.asked()
        await end(proxy)
        last = await asked

        assert (last.status, last.whole) == (200, False)
    assert told() == [ended(200)]


async def test_who_leaves_while_we_wait_has_left(told):
    async with going() as (proxy, upstream):
        upstream.always(script.hang())
        base = proxy.addresses[""]
        _, writer = await connect(base)
        writer.write(request(base, "/up/x"))
        await upstream.asked()
        draining = asyncio.create_task(proxy.drain())
        await asyncio.sleep(1)
        writer.close()

        assert await draining
    assert told() == [("request.completed", "info", 499, "", "left")]


@pytest.mark.parametrize("media_type", ["application/json", "application/jsonl"])
async def test_a_batch_ends_with_what_is_under_way_in_it(media_type, told):
    items = [{"id": str(n), "method": "GET", "path": "/up/x"} for n in range(4)]
    lines = "\n".join(map(json.dumps, items))
    body = lines if media_type.endswith("l") else json.dumps({"requests": items})
    async with going() as (proxy, upstream):
        upstream.always(script.hang())
        base = proxy.addresses[""]
        fields = {"Content-Type": media_type}
        asked = asyncio.create_task(call(base, "/-/batch", "POST", body.encode(), fields))
        await upstream.asked(2)
        await end(proxy)
        last = await asked

        assert upstream.requests == 2
        assert proxy.gateway.runtime.in_flight() == 0
    if media_type.endswith("l"):
        assert (last.status, last.whole) == (200, False)
        failures = [json.loads(line)["error"] for line in last.body.splitlines()]
        assert failures == ["CAPACITY_EXCEEDED"] * 4
    else:
        assert (last.status, last.code) == (503, "CAPACITY_EXCEEDED")
    # Two at the upstream and one in line; the fourth was never begun.
    assert told() == [*[ended(503)] * 3, ended(last.status)]


async def test_what_is_only_turned_away_meanwhile_fills_no_log(told):
    async with going() as (proxy, _):
        proxy.gateway.draining = True
        refused = await call(proxy.addresses[""], "/up/x")

        assert refused.code == "CAPACITY_EXCEEDED"
    assert told() == []
