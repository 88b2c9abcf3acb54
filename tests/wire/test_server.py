"""Listeners that change hands while callers are connected."""

import asyncio

import pytest

from proxy.wire.server import Server

from .support import GET, ask, calling, echo, refuse, said, serving


@pytest.mark.real_time("asyncio", "uvloop")
async def test_who_is_connected_when_a_server_leaves_has_one_more_answer_there():
    async with serving() as (server, port), calling(port) as (reader, writer):
        writer.write(GET)
        first = await said(reader)
        server.leave()
        with pytest.raises(ConnectionRefusedError):
            await ask(port, GET)
        writer.write(GET)
        last = await said(reader)

        assert b"connection" not in first.headers
        assert (last.status, last.headers[b"connection"]) == (200, b"close")
        assert await reader.read() == b""


@pytest.mark.real_time("asyncio", "uvloop")
async def test_two_servers_can_accept_from_one_address_and_one_can_leave_it_to_the_other():
    async with serving() as (old, port):
        new = Server(echo, refuse)
        await new.join(old)
        assert (await ask(port, GET)).status == 200
        old.leave(new)
        assert (await ask(port, GET)).status == 200
        new.drain()
        with pytest.raises(ConnectionRefusedError):
            await ask(port, GET)


async def test_at_the_end_a_handler_has_a_last_word_and_who_does_not_go_is_aborted():
    begun = []

    async def handle(request, reply):
        begun.append(request.target)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            reply.send(503, [], b"we go")

    async with serving(handle) as (server, port), calling(port) as (reader, writer):
        async with calling(port) as (stubborn, upload):
            upload.write(b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf")
            writer.write(GET)
            while len(begun) < 2:  # noqa: ASYNC110 -- the very next moment counts
                await asyncio.sleep(0)
            server.drain()
            await server.end(0.1)

            assert await server.closed(0.1)
            assert (await said(reader)).body == (await said(stubborn)).body == b"we go"


async def test_a_handler_that_has_not_begun_at_the_end_is_not_cancelled_unheard():
    begun = []

    async def handle(request, reply):
        begun.append(request.target)
        reply.send(503, [], b"we go")

    async with serving(handle) as (server, port), calling(port) as (reader, writer):
        while not server.connections:  # noqa: ASYNC110 -- the very next moment counts
            await asyncio.sleep(0)
        (caller,) = server._roster.callers
        writer.write(GET)
        while caller._waiting is None:  # noqa: ASYNC110 -- the very next moment counts
            await asyncio.sleep(0)
        assert begun == []
        server.drain()
        await server.end(0.1)

        assert (await said(reader)).body == b"we go"
