"""How long the admin listener waits for what a caller has begun to say, in virtual time."""

import asyncio
from contextlib import suppress

import pytest

from proxy.admin import server
from proxy.admin.server import Admin
from proxy.config.listening import AdminListener
from proxy.observe.metrics import Metrics

HEAD = b"POST /-/reload HTTP/1.1\r\nHost: a\r\n"


@pytest.fixture
async def caller():
    listener = Admin(AdminListener(port=0), Metrics(), lambda: True)
    reader, writer = await asyncio.open_connection(*await listener.start())
    yield reader, writer
    writer.close()
    await listener.stop()


def now() -> float:
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize("begun", [b"", HEAD], ids=["nothing", "half a head"])
async def test_who_does_not_end_a_head_is_hung_up_on(caller, begun):
    reader, writer = caller
    writer.write(begun)
    before = now()

    assert await reader.read() == b""
    assert server.IDLE - 1 <= now() - before <= server.IDLE + 1


async def test_who_trickles_a_head_gains_no_time(caller):
    reader, writer = caller
    before = now()
    writer.write(HEAD)
    while not reader.at_eof() and now() - before < 2 * server.IDLE:
        writer.write(b"X: y\r\n")
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(5):
                await reader.read()

    assert now() - before <= server.IDLE + 5


@pytest.mark.parametrize(
    "begun",
    [b"Content-Length: 9\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"],
    ids=["a length", "chunks"],
)
async def test_who_does_not_end_a_body_is_told_so_and_then_hung_up_on(caller, begun):
    reader, writer = caller
    before = now()
    writer.write(HEAD + begun)
    head = await reader.readuntil(b"\r\n\r\n")
    waited = now() - before
    body = await reader.read()

    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"Connection: close" in head
    assert b"VALIDATION_ERROR" in body
    assert server.BODY_PATIENCE - 1 <= waited <= server.BODY_PATIENCE + 1
    assert now() - before <= 3 * server.BODY_PATIENCE


async def test_a_chunk_that_cannot_be_read_does_not_hold_its_request_for_ever(caller):
    reader, writer = caller
    writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    await writer.drain()
    writer.write(b"canary\r\n")
    answer = await reader.read()

    assert answer.startswith((b"HTTP/1.1 408 ", b"HTTP/1.0 400 "))
    assert b"canary" not in answer


async def test_a_body_that_comes_in_time_is_heard_and_the_connection_stays(caller):
    reader, writer = caller
    for _ in range(2):
        writer.write(HEAD + b"Content-Length: 6\r\n\r\nabc")
        await asyncio.sleep(server.BODY_PATIENCE / 2)
        writer.write(b"def")
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readuntil(b"}}")

        assert head.startswith(b"HTTP/1.1 404 ")
