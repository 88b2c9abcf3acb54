"""One connection to an origin, and one answer after the other from it.

Rule 1: one exchange at a time. Bytes that come when none is under way end the connection.
Rule 2: a connection is used again only when request and answer were both whole and nothing was
left over; else the next caller could be given the rest of somebody's answer.
"""

import asyncio
import ssl
from collections.abc import Callable
from enum import Enum
from typing import cast

from proxy.wire.alarm import Alarm, wake
from proxy.wire.flow import Connection
from proxy.wire.parser import (
    MALFORMED,
    RawResponseMessage,
    ResponseParser,
    StreamReader,
    is_clear,
    response_parser,
)
from proxy.wire.tunnel import Line

_HEAD_SIZE = 262144
"""Most bytes of an answer's head: long `Set-Cookie` and CSP lines are no fault."""

Head = tuple[RawResponseMessage, StreamReader]


class End(Enum):
    """How a connection came to its end while an exchange was under way."""

    CLOSED = "closed"
    MALFORMED = "malformed"
    LATE = "late"


class Origin(Connection):
    """The protocol of one connection. *gone* is called once, when it is lost."""

    __slots__ = (
        "_body_bytes",
        "_drained",
        "_early",
        "_gone",
        "_head_bytes",
        "_parser",
        "_readable",
        "alarm",
        "busy",
        "congested",
        "end",
        "heads",
        "idle_since",
        "loop",
        "payload",
        "used",
    )

    def __init__(self, gone: Callable[["Origin"], None]) -> None:
        self._gone = gone
        self.loop = asyncio.get_running_loop()
        self.alarm = Alarm(self.loop, self._late)
        self._parser: ResponseParser | None = None
        self._paused = False
        self._early = b""
        self._head_bytes = self._body_bytes = 0
        self._readable: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self.busy = False
        self.congested = False
        self.used = False
        self.idle_since = 0.0
        self.end: End | None = None
        self.heads: list[Head] = []
        self.payload: StreamReader | None = None

    # --- what the loop tells us

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if not self.busy or self._parser is None or self.end is not None:
            self.abort()
            return
        try:
            heads, switched, rest = self._parser.feed_data(data)
        except MALFORMED:
            self.finish(End.MALFORMED)
        else:
            if heads:
                self.heads += heads
                self.payload = heads[-1][1]
                if switched:  # what follows is no HTTP; if it is for us at all, it can wait
                    self._early = rest
                    self.pause_reading()
            elif self.payload is not None and self.payload.total_bytes != self._body_bytes:
                self._body_bytes = self.payload.total_bytes
                self._head_bytes = 0
            else:  # of a head, or of a trailer, which the parser would keep as long as it grows
                self._head_bytes += len(data)
                if self._head_bytes > _HEAD_SIZE:
                    self.finish(End.MALFORMED)
            wake(self._readable)

    def eof_received(self) -> None:
        payload = self.payload
        if not self._ends_properly():
            self.finish(End.CLOSED)
        elif payload is not None and not payload.is_eof() and self._parser is not None:
            try:
                self._parser.feed_eof()  # the proper end of a body without a length
            except MALFORMED:
                self.finish(End.CLOSED)
                return
            self.end = End.CLOSED
            wake(self._readable)
        else:
            self.finish(End.CLOSED)

    def _ends_properly(self) -> bool:
        """Tell an end in TLS from one that anybody on the way could have made (RFC 9112 9.8).

        uvloop tells only of proper ones; asyncio tells both alike.
        """
        tls = self._transport.get_extra_info("ssl_object")
        if tls is None:
            return True
        try:
            return not tls.read(1)
        except ssl.SSLError:
            return False

    def connection_lost(self, _: BaseException | None) -> None:
        self.alarm.stop()
        self.finish(End.CLOSED)
        self._gone(self)

    def pause_writing(self) -> None:
        self.congested = True

    def resume_writing(self) -> None:
        self.congested = False
        wake(self._drained)

    # --- what an exchange asks for

    @property
    def spoke(self) -> bool:
        """Whether anything at all came in this exchange."""
        return self._head_bytes > 0 or self.payload is not None

    @property
    def open(self) -> bool:
        return self.end is None and not self._transport.is_closing()

    def begin(self) -> None:
        """Make ready for one exchange."""
        self.busy = True
        self.payload = None
        self._head_bytes = self._body_bytes = 0
        if self._parser is None:
            self._parser = response_parser(self, self.loop, _HEAD_SIZE)

    def write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    async def readable(self) -> None:
        """Wait for a head, bytes of the body, or the end, which is LATE when the alarm rings."""
        self._readable = self.loop.create_future()
        await self._readable

    async def drained(self) -> None:
        """Wait for room to write, or the end, which is LATE when the alarm rings."""
        while self.congested and self.end is None:
            self._drained = self.loop.create_future()
            await self._drained

    def settle(self, bodiless: bool, chunked: bool) -> bool:
        """End an exchange whose request and answer were whole; tells if another may follow."""
        self.alarm.clear()
        payload, parser = self.payload, self._parser
        assert payload is not None
        assert parser is not None
        if self.heads or (bodiless and payload.total_bytes):
            return False
        if not payload.is_eof():
            # The parser waits for a body that an answer to HEAD only tells the length of.
            self._parser = None
        # Asked for an end, a parser that has begun another message gives it: bytes were left over.
        elif not is_clear(parser):
            return False
        elif chunked:
            # A parser puts the last trailer at the top of the next head: somebody else's answer.
            self._parser = None
        self.busy = False
        self.used = True
        return self.open

    def switch(self) -> Line:
        """Give the connection up to a tunnel."""
        self.alarm.clear()
        return Line(self._transport, self, self._early, self.congested)

    def finish(self, end: End) -> None:
        """Note the first end there was, and let nobody wait any longer."""
        if self.end is None:
            self.end = end
        wake(self._readable)
        wake(self._drained)

    def abort(self) -> None:
        self.finish(End.CLOSED)
        self._transport.abort()

    def _late(self) -> None:
        self.finish(End.LATE)
