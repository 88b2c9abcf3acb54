"""One exchange on a connection: the request goes out, the head comes, the body is read.

Rule 1: an answer may come before its request has gone out; both run until `close`.
Rule 2: a body that did not come to its proper end raises, and its connection is not used again.
"""

import asyncio
from collections.abc import Callable
from math import inf
from typing import Self

from proxy import errors
from proxy.wire import framing
from proxy.wire.message import Body, Headers, Limits, Timings
from proxy.wire.origin import End, Origin
from proxy.wire.parser import RawResponseMessage, StreamReader
from proxy.wire.pool import Pool
from proxy.wire.tunnel import Line

_BODILESS = frozenset({204, 304})
_SMALL = 65536
"""Below this, copying head and body into one packet costs less than sending two."""

_SLACK = 0.001

_INTERIMS = 64
"""Interim answers passed on before the real one: nobody waits for a caller to read them."""

Interim = Callable[[int, Headers], None]


class Answer:
    """`message.Exchange` on a connection taken from *pool*."""

    __slots__ = (
        "_bodiless",
        "_closed",
        "_fault",
        "_loop",
        "_message",
        "_method",
        "_origin",
        "_patience",
        "_payload",
        "_pool",
        "_upload",
        "headers",
        "length",
        "limits",
        "reused",
        "status",
        "timings",
    )

    _message: RawResponseMessage
    _payload: StreamReader
    status: int
    headers: Headers

    def __init__(
        self, pool: Pool, origin: Origin, method: str, limits: Limits, timings: Timings
    ) -> None:
        self._loop = origin.loop
        self._pool = pool
        self._origin = origin
        self._method = method
        self._patience: float | None = None
        self._fault: Exception | None = None
        self._upload: asyncio.Task[None] | None = None
        self._bodiless = False
        self._closed = False
        self.length: int | None = None
        self.limits = limits
        self.reused = origin.used
        self.timings = timings

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back if both sides said all they had to, and end it otherwise."""
        if self._closed:
            return
        self._closed = True
        if self._upload is not None and not self._upload.done():
            self._upload.cancel()
        if self._is_whole() and self._origin.settle(self._bodiless, self._message.chunked):
            self._pool.give_back(self._origin)
        else:
            self._origin.abort()

    def _is_whole(self) -> bool:
        return (
            self.timings.sent is not None
            and self.timings.head is not None
            and (self._bodiless or self._payload.at_eof())
            and 200 <= self.status < 600
            and not self._message.should_close
        )

    # --- the request

    def send(self, head: bytes, body: Body | None) -> None:
        """Send *head* and what is there of *body*; the rest follows while the answer is awaited."""
        origin = self._origin
        origin.begin()
        if body is None:
            origin.write(head + b"\r\n")
            left: int | None = 0
        elif body.length is None:
            left = self._send_chunks(head, body)
        else:
            left = self._send_bytes(head, body, body.length)
        if left == 0 and not origin.congested:
            self._sent()
        else:
            self._arm(None)
            self._upload = self._loop.create_task(self._send_rest(body, left))

    def _send_bytes(self, head: bytes, body: Body, length: int) -> int:
        """Send the head and the first bytes of *length*; gives how many are left."""
        head += b"Content-Length: %d\r\n\r\n" % length
        first = body.read_nowait() or b""
        _check_length(length - len(first))
        if len(first) < _SMALL:
            self._origin.write(head + first)
        else:
            self._origin.write(head)
            self._origin.write(first)
        return length - len(first)

    def _send_chunks(self, head: bytes, body: Body) -> int | None:
        """Send the head and the chunks that are there; gives 0 if those were all, else None."""
        data = head + b"Transfer-Encoding: chunked\r\n\r\n"
        while chunk := body.read_nowait():
            data += _chunk(chunk)
        ended = chunk is not None
        self._origin.write(data + _chunk(b"") if ended else data)
        return 0 if ended else None

    async def _send_rest(self, body: Body | None, left: int | None) -> None:
        origin = self._origin
        try:
            while left != 0 and body is not None and origin.end is None:
                data = await body.read()
                if left is None:
                    origin.write(_chunk(data))
                    if not data:
                        break
                else:
                    left -= len(data)
                    _check_length(left if data else -1)
                    origin.write(data)
                await self._room()
            await self._room()
            self._sent()
        except Exception as error:  # noqa: BLE001 - it is raised to whoever reads the answer
            # The answer is what is being waited for: it says what became of the request.
            self.fail(error)

    async def _room(self) -> None:
        if self._origin.congested:
            self._arm(self.limits.idle)
            await self._origin.drained()
            self._arm(self._patience)

    def _sent(self) -> None:
        self.timings.sent = self._loop.time()
        if self.timings.head is None:
            self._patience = self.limits.first_byte
            self._arm(self._patience)

    # --- the answer

    async def head(self, interim: Interim | None) -> None:
        """Wait for the head, passing interim ones on."""
        origin = self._origin
        interims = 0
        while True:
            while not origin.heads:
                if origin.end is not None:
                    raise self._failure()
                await origin.readable()
            message, payload = origin.heads.pop(0)
            framing.of_response(message)
            status = message.code
            # 101 is final, and nobody asked for it: what it means is for others to say.
            if not 100 <= status < 200 or status == 101:
                break
            interims += 1
            if interims > _INTERIMS:
                raise errors.NetworkError(
                    "the upstream sent interim answers without end", condition="protocol"
                )
            if interim is not None:
                interim(status, message.raw_headers)
        origin.alarm.clear()
        self._patience = None
        self.timings.head = self._loop.time()
        self._message = message
        self._payload = payload
        self._bodiless = self._method == "HEAD" or status in _BODILESS
        self.status = status
        self.headers = message.raw_headers
        self.length = 0 if self._bodiless else framing.announced(message)

    async def read(self) -> bytes:
        """Wait for the next bytes of the body; `b""` is its proper end."""
        while (data := self.read_nowait()) is None:
            self._patience = self.limits.idle
            self._arm(self._patience)
            await self._origin.readable()
            self._origin.alarm.clear()
        return data

    def read_nowait(self) -> bytes | None:
        """Give what is there without waiting: None where nothing is, `b""` at the end."""
        if self._bodiless:
            return b""
        data = self._payload.read_nowait()
        if self._payload.is_eof():
            return data
        deadline = self.limits.deadline
        if deadline is not None and self._loop.time() >= deadline:
            raise self._out_of_time()
        if data:
            return data
        if self._origin.end is not None:
            raise self._failure()
        return None

    def fail(self, error: Exception) -> None:
        """Let `read` raise *error*, after what has come already."""
        self._fault = error
        self._origin.finish(End.CLOSED)

    def switch(self) -> Line:
        """Give the connection of an answer of 101 up to a `Tunnel`."""
        if self._origin.end is not None:
            raise self._failure()
        self._closed = True
        return self._origin.switch()

    # --- time, and what failed

    def _arm(self, patience: float | None) -> None:
        until = inf if patience is None else self._loop.time() + patience
        deadline = self.limits.deadline
        self._origin.alarm.set(until if deadline is None or until < deadline else deadline)

    def _out_of_time(self) -> errors.TimeoutError:
        return errors.TimeoutError("the call", (self.limits.deadline or inf) - self.timings.began)

    def _failure(self) -> Exception:
        """Say, of a connection that has ended, what that means for this exchange."""
        if self._fault is not None:
            return self._fault
        end, headed = self._origin.end, self.timings.head is not None
        if end is End.LATE:
            return self._lateness(headed)
        if headed:
            return errors.NetworkError("the upstream's answer was cut short", condition="cut")
        if end is End.MALFORMED:
            return errors.NetworkError(
                "the upstream sent something that is not HTTP/1.1", condition="protocol"
            )
        reset = errors.NetworkError(
            "the upstream closed the connection without an answer", condition="reset"
        )
        if self.reused and not self._origin.spoke:
            reset.stale = True
            reset.blames_upstream = False
        return reset

    def _lateness(self, headed: bool) -> errors.TimeoutError:
        deadline, limits = self.limits.deadline, self.limits
        if deadline is not None and self._loop.time() >= deadline - _SLACK:
            return self._out_of_time()
        if headed:
            return errors.TimeoutError(
                "waiting for more of the answer", limits.idle or 0.0, condition="timeout"
            )
        if self.timings.sent is None:
            return errors.TimeoutError(
                "sending the request", limits.idle or 0.0, condition="timeout"
            )
        return errors.TimeoutError(
            "waiting for the answer", limits.first_byte or 0.0, condition="timeout"
        )


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _check_length(left: int) -> None:
    if left < 0:
        raise errors.ValidationError("the request's body is not as long as was announced")
