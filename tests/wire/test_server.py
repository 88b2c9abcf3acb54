"""Listeners that change hands while callers are connected."""

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
