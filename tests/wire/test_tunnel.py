import asyncio
import socket

import pytest

from proxy import errors
from proxy.wire.message import Outgoing
from proxy.wire.tunnel import Line, Tunnel, accepts

from .support import limits, origin

# The example of RFC 6455 1.3.
KEY = (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ==")
PROOF = (b"sec-websocket-accept", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
UPGRADE = (b"Upgrade", b"WebSocket")


def test_the_proof_in_an_answer_is_of_the_key_in_the_request():
    assert accepts([(b"Host", b"x"), KEY], [UPGRADE, PROOF])


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ([KEY], [PROOF]),
        ([KEY], [(b"Upgrade", b"h2c"), PROOF]),
        ([KEY], [UPGRADE]),
        ([KEY], [UPGRADE, PROOF, PROOF]),
        ([], [UPGRADE, PROOF]),
        ([KEY, KEY], [UPGRADE, PROOF]),
        ([KEY], [UPGRADE, (PROOF[0], PROOF[1].lower())]),
    ],
)
def test_what_proves_nothing_is_no_handshake(asked, answered):
    assert not accepts(asked, answered)


async def test_a_connection_that_has_ended_is_not_given_to_a_tunnel():
    async def brief(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")

    async with origin(brief) as client:
        exchange = await client.exchange(Outgoing("GET", "/", [], None, upgrade=True), limits())
        assert exchange.status == 101
        await client.close()
        await asyncio.sleep(0)
        with exchange, pytest.raises(errors.NetworkError) as caught:
            exchange.switch()
    assert caught.value.condition == "cut"


class Former(asyncio.Protocol):
    """What a connection was before, as far as a tunnel sees it."""

    def __init__(self):
        self.congested = False
        self.lost = 0

    def pause_writing(self):
        self.congested = True

    def connection_lost(self, error):
        self.lost += 1


async def side(early=b"", queued=b""):
    """A connection ready for a tunnel, with *queued* bytes under way; and its far end."""
    near, far = socket.socketpair()
    loop = asyncio.get_running_loop()
    transport, former = await loop.create_connection(Former, sock=near)
    transport.write(queued)
    reader, writer = await asyncio.open_connection(sock=far)
    return Line(transport, former, early, former.congested), former, reader, writer


async def test_a_side_that_is_still_full_holds_the_other_back_from_the_beginning():
    queued = b"q" * 2_000_000
    one, _, one_reader, one_writer = await side(queued=queued)
    other, _, _, other_writer = await side(early=b"early")
    assert (one.congested, other.congested) == (True, False)

    tunnel = Tunnel(one, other, None, None)
    assert not other.transport.is_reading()
    other_writer.write(b" and late")

    assert await one_reader.readexactly(len(queued)) == queued
    assert await one_reader.readexactly(14) == b"early and late"
    one_writer.close()
    other_writer.close()
    await tunnel.ended()


async def test_both_connections_hear_of_their_end_once_and_what_comes_after_it_is_dropped():
    one, one_former, one_reader, one_writer = await side()
    other, other_former, _, other_writer = await side()
    tunnel = Tunnel(one, other, None, None)

    tunnel.close()
    other.write(b"too late")
    other.resume_writing()
    one.pause_writing()
    other.eof_received()
    await tunnel.ended()

    assert await one_reader.read() == b""
    assert (one_former.lost, other_former.lost) == (1, 1)
    one_writer.close()
    other_writer.close()


async def test_a_tunnel_that_is_called_off_ends_both_sides():
    one, former, _, one_writer = await side()
    other, _, other_reader, other_writer = await side()
    waiting = asyncio.ensure_future(Tunnel(one, other, None, None).ended())
    await asyncio.sleep(0)

    waiting.cancel()

    assert await other_reader.read() == b""
    assert former.lost == 1
    one_writer.close()
    other_writer.close()
