"""Two connections joined byte for byte, once the handshake of a WebSocket is done.

Rule 1: nothing here reads what passes: frames, pings and the closing handshake are the two ends'.
Rule 2: what ends one side ends the other in the same way, be it an end, half of one, or a reset.
"""

import asyncio
import contextlib
import socket
import struct
from base64 import b64encode
from hashlib import sha1
from math import inf

from proxy.wire.alarm import Alarm, wake
from proxy.wire.message import Headers

PROTOCOL = b"websocket"

SWITCHING = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
"""The two fields of the handshake that end at each hop, and are written anew for the next."""

_ACCEPTING = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

_PARTING = 30.0
"""Seconds of silence that are left once one side has ended, however long they were before."""

_RESET = struct.pack("ii", 1, 0)


def accepts(asked: Headers, answered: Headers) -> bool:
    """Tell whether an answer of 101 takes up this very handshake (RFC 6455 4.1).

    The key tells an upstream that speaks WebSocket from one that was talked into a status of 101,
    and that would take what the caller sends next for requests.
    """
    key, proof = _field(asked, b"sec-websocket-key"), _field(answered, b"sec-websocket-accept")
    digest = sha1(key + _ACCEPTING, usedforsecurity=False).digest()
    return _field(answered, b"upgrade").lower() == PROTOCOL and proof == b64encode(digest)


def reset(transport: asyncio.Transport) -> None:
    """End a connection now, so that the other side cannot take it for a good end.

    A Unix socket knows no reset: there it is an end like any other.
    """
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family != socket.AF_UNIX:
        with contextlib.suppress(OSError):  # it may be gone already
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()


class Line(asyncio.Protocol):
    """A connection that speaks HTTP no more: one side of a tunnel.

    Its *former* protocol hears of its end; *early* is what came before there was another side.
    """

    __slots__ = ("_early", "_former", "_other", "_tunnel", "congested", "ended", "transport")

    _other: "Line"
    _tunnel: "Tunnel"

    def __init__(
        self, transport: asyncio.Transport, former: asyncio.Protocol, early: bytes, congested: bool
    ) -> None:
        self.transport = transport
        self._former = former
        self._early = early
        self.congested = congested
        self.ended = False
        """It sends no more."""

    def join(self, tunnel: "Tunnel", other: "Line") -> None:
        """Take the connection over; what comes on it is for *other*."""
        self._tunnel, self._other = tunnel, other
        self.transport.set_protocol(self)

    def begin(self) -> None:
        """Pass on what came early, and read on where the other side has room."""
        if self._early:
            self._other.write(self._early)
        if not self._other.congested:
            self._read_on()
        elif not self.transport.is_closing():
            self.transport.pause_reading()

    def write(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        self._tunnel.moved()
        self._other.write(data)

    def eof_received(self) -> bool:
        """Pass half an end on; TLS has none, and ends wholly."""
        self.ended = True
        self._tunnel.part()
        other = self._other
        if other.ended or not other.transport.can_write_eof():
            other.transport.close()
        elif not other.transport.is_closing():
            other.transport.write_eof()
        return not other.ended and self.transport.can_write_eof()

    def pause_writing(self) -> None:
        self.congested = True
        if not self._other.transport.is_closing():
            self._other.transport.pause_reading()

    def resume_writing(self) -> None:
        self.congested = False
        self._other._read_on()  # noqa: SLF001 - the other half of ourselves

    def _read_on(self) -> None:
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self._former.connection_lost(error)
        if error is None:
            self._other.transport.close()
        else:
            reset(self._other.transport)
        self._tunnel.lost()


class Tunnel:
    """The two lines together.

    They end after *idle* seconds without a byte either way, and at the point in time *until*.
    """

    __slots__ = ("_alarm", "_ended", "_idle", "_lines", "_loop", "_open", "_until")

    def __init__(self, one: Line, other: Line, idle: float | None, until: float | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._alarm = Alarm(self._loop, self.close)
        self._idle = inf if idle is None else idle
        self._until = inf if until is None else until
        self._lines = (one, other)
        self._open = 2
        self.moved()
        one.join(self, other)
        other.join(self, one)
        one.begin()
        other.begin()

    def moved(self) -> None:
        """Note that bytes went through."""
        self._alarm.set(min(self._loop.time() + self._idle, self._until))

    def part(self) -> None:
        """Note that one side has ended: who did not stop sending only, but left, says no more."""
        self._idle = min(self._idle, _PARTING)
        self.moved()

    def lost(self) -> None:
        """Note that one of the lines is gone."""
        self._open -= 1
        self.part()
        if not self._open:
            self._alarm.stop()
            wake(self._ended)

    def close(self) -> None:
        """End both sides now, without a frame that says so: nobody takes that for a good end."""
        for line in self._lines:
            line.transport.abort()

    async def ended(self) -> None:
        """Wait until both sides are gone; who is called off ends them."""
        try:
            await self._ended
        finally:
            self.close()


def _field(headers: Headers, name: bytes) -> bytes:
    """Give the one value of a field; nothing where it is missing or repeated."""
    values = [value.strip() for field, value in headers if field.lower() == name]
    return values[0] if len(values) == 1 else b""
