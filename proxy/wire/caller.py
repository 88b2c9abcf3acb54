"""One connection of a caller: requests in, one after the other, and one answer to each.

Rule 1: whoever leaves, by an end or a reset, cancels the task that serves them, wherever it waits.
Rule 2: bytes of the next request stay in the socket until this one is answered.

A request that is not HTTP is answered by *refuse*, and the connection ends: after such bytes
nobody knows where the next request begins.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from math import inf
from typing import cast

from proxy import errors
from proxy.wire import framing
from proxy.wire.alarm import Alarm, wake
from proxy.wire.flow import Connection
from proxy.wire.message import Request
from proxy.wire.parser import (
    MALFORMED,
    LineTooLong,
    RawRequestMessage,
    StreamReader,
    is_clear,
    request_parser,
)
from proxy.wire.reply import Reply
from proxy.wire.roster import CallerLimits, Roster
from proxy.wire.tunnel import Line, reset
from proxy.wire.upload import CallersBody

_REMNANT = 65536
"""Bytes of an unread body we take in to keep the connection; for more a new one is cheaper."""

_LINGER = 2.0
"""Seconds we listen on after an answer that ends the connection: a reset would destroy it."""


class Caller(Connection):
    """The protocol of one connection, and the task that serves it."""

    __slots__ = (
        "_ahead",
        "_alarm",
        "_announced",
        "_body_bytes",
        "_handle",
        "_head_bytes",
        "_left",
        "_loop",
        "_parser",
        "_parting",
        "_payload",
        "_peer",
        "_readable",
        "_refuse",
        "_reply",
        "_roster",
        "_secure",
        "_switched",
        "_task",
        "_trailer_bytes",
        "_turn",
        "_waiting",
        "_writable",
        "congested",
        "fault",
        "limits",
    )

    def __init__(
        self,
        handle: Callable[[Request, Reply], Awaitable[None]],
        refuse: Callable[[errors.OctoLLMError, Reply], None],
        limits: CallerLimits,
        roster: Roster,
    ) -> None:
        self._handle = handle
        self._refuse = refuse
        self.limits = limits
        self._roster = roster
        self._loop = asyncio.get_running_loop()
        self._parser = request_parser(self, self._loop, limits.header_size)
        self._alarm = Alarm(self._loop, self._late)
        self._head_bytes = 0
        self._body_bytes = 0
        self._trailer_bytes = 0
        self._ahead = b""
        self._paused = False
        self._left = False
        self._parting = False
        self._secure = False
        self._switched = False
        self._payload: StreamReader | None = None
        self._announced: framing.Announced | None = None
        self._reply: Reply | None = None
        self._waiting: tuple[Request, Reply] | None = None
        # Who waits: the task for a request, its handler for bytes, or for room to write.
        self._turn: asyncio.Future[None] | None = None
        self._readable: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self.congested = False
        self.fault: errors.OctoLLMError | None = None

    # --- what the loop tells us

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._peer = peer[0] if isinstance(peer, tuple) else ""
        if self._peer:
            sock = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._secure = transport.get_extra_info("sslcontext") is not None
        self._roster.callers.add(self)
        self._alarm.set(self._loop.time() + self.limits.head_timeout)
        self._task = self._loop.create_task(self._serve())

    def data_received(self, data: bytes) -> None:
        if self._parting:
            return
        if self._reply is None:
            self._feed(data)
        elif self._payload is not None and not self._payload.is_eof():
            if self.fault is None:
                self._feed(data)
        elif not self._transport.is_closing():
            self._ahead += data
            # Not at the first of them: who does not read does not see the caller leave.
            if len(self._ahead) > _REMNANT:
                self._transport.pause_reading()

    def eof_received(self) -> None:
        # A caller who has only stopped sending gets no answer either, as with Envoy: nothing tells
        # the two apart, and an answer that nobody reads is paid for by the token.
        self._leave()

    def connection_lost(self, _: BaseException | None) -> None:
        self._roster.remove(self)
        self._alarm.stop()
        self._leave()

    def pause_writing(self) -> None:
        self.congested = True
        if self._reply is not None:
            self._reply.congested = True

    def resume_writing(self) -> None:
        self.congested = False
        if self._reply is not None:
            self._reply.congested = False
        wake(self._writable)

    # --- what the reply and the body ask for

    def write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    def may_keep(self) -> bool:
        """Tell, when an answer's head is written, whether the connection can go on after it."""
        payload = self._payload
        if self._roster.leaving or self.fault is not None or payload is None:
            return False
        if payload.is_eof():
            return True
        announced = self._announced
        # Whoever was not told 100 may never send the body: the next bytes could be either.
        if announced is None or announced.length is None:
            return False
        if announced.expects and self._reply is not None and not self._reply.continued:
            return False
        return announced.length - payload.total_bytes <= _REMNANT

    async def readable(self, patience: float | None) -> None:
        """Wait for bytes of the body, its end, or a fault, which is 408 when none of them comes."""
        waiter = self._readable = self._loop.create_future()
        self._alarm.set(inf if patience is None else self._loop.time() + patience)
        try:
            await waiter
        finally:
            # An upload that was called off ends here late, when the alarm is somebody else's.
            if self._readable is waiter:
                self._readable = None
                self._alarm.clear()

    async def writable(self) -> None:
        """Wait for room to write; who makes none for `limits.idle` has left."""
        self._writable = self._loop.create_future()
        self._alarm.set(self._loop.time() + self.limits.idle)
        await self._writable
        self._writable = None
        self._alarm.clear()

    def close(self) -> None:
        """End the connection when all that was written is sent."""
        self._alarm.set(self._loop.time() + self.limits.idle)
        self._transport.close()

    def reset(self) -> None:
        """End the connection now, and so that the other side cannot take it for a good end."""
        reset(self._transport)

    def drain(self) -> None:
        """Go when the request under way, if any, is answered."""
        # A tunnel has no end that we could wait for.
        if self._reply is None or self._switched:
            self._transport.close()

    def end(self) -> None:
        """Cancel who answers the request under way; what its caller is told is up to them."""
        if self._reply is None or self._reply.ended:
            return
        if self._waiting is None:  # else the handler has not begun, and sees for itself
            self._task.cancel()

    def switch(self) -> Line:
        """Give the connection up to a tunnel."""
        self._switched = True
        self._parser.message_consumed()
        _, _, early = self._parser.feed_data(b"")  # what a hasty caller sent with its head
        if self._roster.draining:
            self._transport.close()
        return Line(self._transport, self, early + self._ahead, self.congested)

    # --- the requests

    def _feed(self, data: bytes) -> None:
        try:
            messages, _, _ = self._parser.feed_data(data)
        except LineTooLong:
            self._malformed("the request's head is too large", 431)
        except MALFORMED:
            self._malformed("the request is not well-formed HTTP/1.1", 400)
        else:
            if messages:
                self._admit(messages[0][0], messages[0][1], len(data))
            elif self._reply is not None:
                self._bound_trailer(len(data))
                wake(self._readable)
            elif data:
                self._wait_for_head(len(data))

    def _wait_for_head(self, size: int) -> None:
        if not self._head_bytes:
            self._alarm.set(self._loop.time() + self.limits.head_timeout)
        self._head_bytes += size
        if self._head_bytes > self.limits.header_size:
            self._malformed("the request's head is too large", 431)

    def _bound_trailer(self, size: int) -> None:
        """Refuse a trailer, or an extension of a chunk, without end: the parser would keep it."""
        assert self._payload is not None
        if self._payload.total_bytes != self._body_bytes:
            self._body_bytes = self._payload.total_bytes
            self._trailer_bytes = 0
        else:
            self._trailer_bytes += size
            if self._trailer_bytes > self.limits.header_size:
                self._malformed("the request's trailer is too large", 431)

    def _admit(self, head: RawRequestMessage, payload: StreamReader, size: int) -> None:
        self._alarm.clear()
        self._head_bytes = self._trailer_bytes = 0
        self._payload = payload
        self._body_bytes = payload.total_bytes
        try:
            announced = framing.of_request(head, self.limits.header_count)
            if size > self.limits.header_size:
                framing.bound(head, self.limits.header_size)
            upgrade = bool(head.upgrade) and framing.asks_for_tunnel(head, announced)
        except errors.ValidationError as refusal:
            self._decline(refusal)
            return
        self._announced = announced
        old = head.version == (1, 0)
        # After an Upgrade that we do not take, the parser has dropped what else came with it.
        keep = not (head.should_close or head.upgrade)
        self._reply = Reply(self, head=head.method == "HEAD", old=old, keep=keep)
        self._waiting = (
            Request(
                head.method,
                head.path,
                head.version,
                head.raw_headers,
                CallersBody(self, payload, announced.length) if announced.body else None,
                self._peer,
                self._loop.time(),
                self._secure,
                upgrade,
            ),
            self._reply,
        )
        wake(self._turn)

    async def _serve(self) -> None:
        while True:
            if self._waiting is None:
                self._turn = self._loop.create_future()
                await self._turn
                self._turn = None
            assert self._waiting is not None
            request, reply = self._waiting
            self._waiting = None
            try:
                await self._handle(request, reply)
            except Exception as error:  # noqa: BLE001 - one bad request is not the next one's
                self._report(error)
            if not reply.ended:
                reply.abort()
            assert self._payload is not None
            if not (reply.keep and (self._payload.at_eof() or await self._discard(self._payload))):
                self._part()
                return
            if self._left:  # after the last byte of the answer, when nothing was cancelled
                return
            self._next()

    async def _discard(self, payload: StreamReader) -> bool:
        """Take in what the handler did not read; tells whether the request came to its end."""
        payload.read_nowait()
        while not payload.is_eof():
            if self.fault is not None:
                return False
            await self.readable(_LINGER)
            payload.read_nowait()
        return True

    def _next(self) -> None:
        """Turn to the next request, which may be here already."""
        self._reply = self._payload = self._readable = None
        if self._roster.draining:
            self._transport.close()
            return
        self._alarm.set(self._loop.time() + self.limits.keepalive)
        self._parser.message_consumed()
        announced = self._announced
        if announced is not None and announced.body and announced.length is None:
            # A parser puts the last trailer of chunks at the top of the next head. So it may not
            # hold a next one yet, and is not given another.
            if not is_clear(self._parser):
                self._part()
                return
            self._parser = request_parser(self, self._loop, self.limits.header_size)
        ahead, self._ahead = self._ahead, b""
        self._feed(ahead)
        if ahead and not self._transport.is_closing():
            self._transport.resume_reading()

    # --- the ends

    def _malformed(self, message: str, status: int) -> None:
        refusal = errors.ValidationError(message, status=status)
        if self._reply is None:
            self._decline(refusal)
        else:
            self.fault = refusal
            wake(self._readable)

    def _decline(self, refusal: errors.OctoLLMError) -> None:
        self._reply = reply = Reply(self, head=False, old=False, keep=False)
        self.fault = refusal
        self._refuse(refusal, reply)
        self._part()

    def _part(self) -> None:
        """Close; where more is under way to us, not before the other side had time to read."""
        transport = self._transport
        self._readable = None
        self._parting = True
        if transport.is_closing():
            return
        received = self._payload is not None and self._payload.is_eof() and not self._ahead
        if received or not transport.can_write_eof():
            self.close()
            return
        transport.write_eof()
        self._alarm.set(self._loop.time() + _LINGER)
        self._paused = False
        transport.resume_reading()

    def _leave(self) -> None:
        if self._left:
            return
        self._left = True
        if self.fault is None:
            self.fault = errors.ValidationError("the caller has left")
        wake(self._readable)
        if self._turn is not None or self._reply is None or not self._reply.ended:
            self._task.cancel()

    def _late(self) -> None:
        """Deal with a limit that has passed: of a head, a body, a connection that idles or ends."""
        if self._reply is None:
            if self._head_bytes:
                self._malformed("the request's head took too long", 408)
            else:
                self._transport.close()
        elif self._readable is not None and not self._readable.done():
            self.fault = errors.ValidationError("the request's body stalled", status=408)
            wake(self._readable)
        else:
            self._transport.abort()

    def _report(self, error: Exception) -> None:
        message = "a request was not handled to its end"
        self._loop.call_exception_handler({"message": message, "exception": error})
