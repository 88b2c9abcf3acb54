"""Callers and upstreams who take their time, or flood us: each ends at a limit, and costs little."""

import asyncio

import pytest
from e2e.support import answer, call, connect, proxied, request
from exactness import asking
from exactness.readers import answers, strict, whole

from proxy.testing import script

BOUNDED = """
version: 1
listen: {port: 0}
admin: {port: 0}
limits: {header_size: 8KiB, header_count: 32}
upstreams:
  up: {url: "${UP}", timeouts: {idle: 10s, total: 100s}}
"""


async def dripped(proxy, raw, every):
    """Send *raw* a byte at a time until an answer has come; give answer and time."""
    clock = asyncio.get_running_loop().time
    began = clock()
    reader, writer = await connect(proxy.addresses[""])
    reading = asyncio.ensure_future(reader.read())
    for byte in raw:
        if reading.done():
            break
        writer.write(bytes((byte,)))
        await asyncio.sleep(every)
    said = await reading
    writer.close()
    return answers(said), clock() - began


SLOW = [
    asking.head(start=b"GET /up/canary HTTP/1.1") + asking.SMUGGLED,
    asking.head(b"Content-Length: 6") + b"canary" + asking.SMUGGLED,
    asking.chunked(asking.CHUNKS),
    b"\r\n\r\n" + asking.head(start=b"GET /up/canary HTTP/1.1"),
]


@pytest.mark.parametrize("raw", SLOW)
async def test_what_comes_a_byte_at_a_time_is_read_as_if_it_came_at_once(raw):
    async with strict() as (url, upstream), proxied(up=url) as proxy:
        told, _ = await dripped(proxy, raw, 0.001)

    assert [each.status for each in told] == [200] * (1 + raw.count(b"smuggled"))
    assert whole(upstream)[0].target == "/canary"


async def test_a_head_that_drips_is_cut_off():
    async with strict() as (url, upstream), proxied(BOUNDED, up=url) as proxy:
        [told], seconds = await dripped(proxy, b"GET /up/x HTTP/1.1\r\nX: " + b"y" * 500, 1)

    assert (told.status, list(upstream.seen)) == (408, [])
    assert seconds < 60


async def test_a_head_that_never_begins_is_no_request():
    async with strict() as (url, upstream), proxied(BOUNDED, up=url) as proxy:
        told, seconds = await dripped(proxy, b"", 1)

    assert told == []
    assert seconds < 60


async def test_a_body_that_stalls_is_cut_off():
    async with strict() as (url, upstream), proxied(BOUNDED, up=url) as proxy:
        [told], seconds = await dripped(proxy, asking.head(b"Content-Length: 9") + b"cana", 0.001)

    assert told.status in (408, 504)
    assert seconds < 400
    assert whole(upstream) == []


async def test_a_body_that_drips_ends_with_the_deadline():
    raw = asking.head(b"Content-Length: 900") + b"x" * 900
    async with strict() as (url, upstream), proxied(BOUNDED, up=url) as proxy:
        head, body = raw[:-900], raw[-900:]
        reader, writer = await connect(proxy.addresses[""])
        writer.write(head)
        reading = asyncio.ensure_future(reader.read())
        for byte in body:
            if reading.done():
                break
            writer.write(bytes((byte,)))
            await asyncio.sleep(5)
        [told] = answers(await reading)
        writer.close()

    assert told.status in (408, 504)
    assert whole(upstream) == []


FLOODS = {
    "fields": asking.head(*[b"X: y"] * 33, start=b"GET /up/x HTTP/1.1"),
    "bytes of one field": asking.head(b"X: " + b"y" * 9000, start=b"GET /up/x HTTP/1.1"),
    "bytes of many fields": asking.head(*[b"X: " + b"y" * 1000] * 9, start=b"GET /up/x HTTP/1.1"),
    "bytes of a target": asking.head(start=b"GET /up/" + b"x" * 9000 + b" HTTP/1.1"),
    "bytes of a method": b"X" * 9000,
    "bytes of a name": asking.head(b"X" * 9000 + b": y", start=b"GET /up/x HTTP/1.1"),
    "a head without end": b"GET /up/x HTTP/1.1\r\n" + b"X: y\r\n" * 5000,
    "a line without end": b"GET /up/x HTTP/1.1\r\nX: " + b"y" * 50_000,
    "empty lines without end": b"\r\n" * 30_000,
}


@pytest.mark.parametrize("pieces", [1, 400])
@pytest.mark.parametrize("name", FLOODS)
async def test_a_head_that_is_too_large_is_refused(name, pieces):
    raw = FLOODS[name]
    size = -(-len(raw) // pieces)
    async with strict() as (url, upstream), proxied(BOUNDED, up=url) as proxy:
        reader, writer = await connect(proxy.addresses[""])
        reading = asyncio.ensure_future(reader.read())
        for start in range(0, len(raw), size):
            writer.write(raw[start : start + size])
            await asyncio.sleep(0)
        said = await reading
        writer.close()

    assert [told.status for told in answers(said)] in ([431], [400])
    assert list(upstream.seen) == []


async def test_a_trailer_without_end_is_refused():
    raw = asking.chunked(b"1\r\nx\r\n0\r\n") + b"X: y\r\n" * 200_000
    async with strict() as (url, upstream), proxied(BOUNDED, up=url) as proxy:
        reader, writer = await connect(proxy.addresses[""])
        reading = asyncio.ensure_future(reader.read())
        for start in range(0, len(raw), 10_000):
            if reading.done():
                break
            writer.write(raw[start : start + 10_000])
            await asyncio.sleep(0)
        [told] = answers(await reading)
        writer.close()

    assert told.status == 431
    assert whole(upstream) == []


async def test_interim_answers_reach_the_caller_before_the_last():
    async with strict() as (url, upstream), proxied(up=url) as proxy:
        hints = script.interim(103, link="</a>")
        for _ in range(5):
            hints = hints + hints
        upstream.always(hints + script.ok("at last"))
        base = proxy.addresses[""]
        reader, writer = await connect(base)
        writer.write(request(base, "/up/x", headers={"Connection": "close"}))
        said = await reader.read()
        writer.close()

    assert said.count(b"HTTP/1.1 103 ") == 32
    assert [told.body for told in answers(said)] == [b"at last"]


@pytest.mark.parametrize("size", [300, 400_000])
async def test_an_answer_head_without_end_is_a_bad_gateway(size):
    async def connected(reader, writer):
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\n" + b"X: canary\r\n" * size)
            await reader.read()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    listener = await asyncio.start_server(connected, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    async with proxied(BOUNDED, up=url) as proxy:
        told = await call(proxy.addresses[""], "/up/x")
    listener.close()

    assert told.status in (502, 504)
    assert b"canary" not in told.body


async def test_who_does_not_read_is_left_in_the_end_and_holds_nobody_up():
    async with strict() as (url, upstream), proxied(BOUNDED, up=url) as proxy:
        upstream.always(script.chunks(*[bytes(100_000)] * 100))
        base = proxy.addresses[""]
        _, writer = await connect(base)
        writer.transport.pause_reading()
        writer.write(request(base, "/up/x"))
        await upstream.asked()
        upstream.always(script.ok("quick"))
        assert (await call(base, "/up/x")).body == b"quick"

        assert await upstream.seen[0].hung_up()
        writer.transport.abort()


async def test_a_connection_that_says_nothing_more_is_closed():
    async with strict() as (url, _), proxied(up=url) as proxy:
        base = proxy.addresses[""]
        reader, writer = await connect(base)
        writer.write(request(base, "/up/x"))
        assert (await answer(reader)).status == 200
        assert await reader.read() == b""
        writer.close()


async def test_an_answers_trailer_without_end_is_a_cut():
    async def connected(reader, writer):
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")
            while True:
                writer.write(b"X: canary\r\n" * 1000)
                await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    listener = await asyncio.start_server(connected, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    async with proxied(BOUNDED, up=url) as proxy:
        told = await call(proxy.addresses[""], "/up/x")
    listener.close()

    assert (told.whole, told.body) == (False, b"x")
