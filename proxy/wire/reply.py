"""The one answer to a request, as bytes: status line, framing, chunks.

Rule 1: an answer that is not whole cannot look whole.
Rule 2: nothing here waits but `drain`; when the connection goes on or ends is `caller`'s to say.
"""

import time
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING

from proxy import errors
from proxy.wire.headers import block, to_caller
from proxy.wire.message import Headers
from proxy.wire.tunnel import SWITCHING, Line

if TYPE_CHECKING:
    from proxy.wire.caller import Caller

_STATUS_LINES = {s.value: b"HTTP/1.1 %d %b\r\n" % (s.value, s.phrase.encode()) for s in HTTPStatus}
_BODILESS = frozenset({204, 304})
_CHUNKS_END = b"0\r\n\r\n"
_SMALL = 65536
"""Below this, copying head and body into one packet costs less than sending two."""


class Reply:
    """`message.Reply` on a connection of a caller."""

    __slots__ = (
        "_caller",
        "_head",
        "_left",
        "_mute",
        "_old",
        "chunked",
        "congested",
        "continued",
        "ended",
        "keep",
        "started",
    )

    def __init__(self, caller: "Caller", *, head: bool, old: bool, keep: bool) -> None:
        self._caller = caller
        self._head = b""
        self._left: int | None = None
        self._mute = head
        self._old = old  # an HTTP/1.0 caller knows neither chunks nor interim answers
        self.keep = keep
        self.chunked = False
        self.congested = caller.congested
        self.continued = False
        self.started = False
        self.ended = False

    def send(self, status: int, headers: Headers, body: bytes = b"") -> None:
        """Send a whole answer in one write. For HEAD the body's length is told, not its bytes."""
        head = self._open(status, headers, len(body))
        if self._mute or not body:
            self._caller.write(head)
        elif len(body) < _SMALL:
            self._caller.write(head + body)
        else:
            self._caller.write(head)
            self._caller.write(body)
        self.ended = True

    def interim(self, status: int, headers: Headers) -> None:
        """Pass on a 1xx answer (not 101); to an HTTP/1.0 caller nothing is sent."""
        if not self._old:
            self._caller.write(_status_line(status) + _lines(to_caller(headers)) + b"\r\n")
            self.continued = self.continued or status == 100

    def start(self, status: int, headers: Headers, length: int | None) -> None:
        """Send a final head; the body follows, *length* bytes of it, or of unknown length."""
        self._head = self._open(status, headers, length)
        self._left = None if self._mute else length

    def write(self, data: bytes) -> None:
        """Send the next bytes of the body; for HEAD, 204 and 304 nothing is sent."""
        if self._mute or not data:
            return
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise ValueError("the body is longer than was announced")
        if self.chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        if self._head:
            data, self._head = self._head + data, b""
        self._caller.write(data)

    def flush(self) -> None:
        """Let nothing wait: what was started or written is on its way now."""
        if self._head:
            self._caller.write(self._head)
            self._head = b""

    async def drain(self) -> None:
        """Wait until the caller has taken enough that writing makes sense again."""
        while self.congested:
            await self._caller.writable()

    def finish(self) -> None:
        """End the body properly. An answer that is not whole is never finished, but aborted."""
        if self._left:
            raise ValueError("the body is shorter than was announced")
        end = _CHUNKS_END if self.chunked and not self._mute else b""
        if self._head or end:
            self._caller.write(self._head + end)
            self._head = b""
        self.ended = True

    def switch(self, headers: Headers) -> Line:
        """Answer 101 and give the connection up: what follows is not HTTP, but a `Tunnel`'s."""
        self._caller.write(_status_line(101) + _lines(headers) + SWITCHING + b"\r\n")
        self.started = self.ended = True
        self.keep = False
        return self._caller.switch()

    def abort(self) -> None:
        """End the connection so that the answer cannot look whole: no final chunk, or a reset."""
        if self.ended:
            return
        self.flush()
        self.keep = False
        self.ended = True
        # The end of the connection says nothing where it is also the end of a good body.
        if self.started and (self.chunked or self._left):
            self._caller.close()
        else:
            self._caller.reset()

    def _open(self, status: int, headers: Headers, length: int | None) -> bytes:
        """Build the final head, and decide by it how the body is framed."""
        if self.started:
            raise ValueError("there is one answer to a request")
        bare = status in _BODILESS
        framing = b""
        if length is not None and not (bare and (status == 204 or not length)):
            framing = b"Content-Length: %d\r\n" % length
        elif length is None and not bare and not self._mute:
            if self._old:
                self.keep = False
            else:
                self.chunked = True
                framing = b"Transfer-Encoding: chunked\r\n"
        self._mute = self._mute or bare
        self.keep = self.keep and self._caller.may_keep()
        if not self.keep:
            framing += b"Connection: close\r\n"
        elif self._old:
            framing += b"Connection: keep-alive\r\n"
        lines = _status_line(status) + _lines(headers)
        if b"\r\ndate: " not in lines.lower():
            framing += _date(int(time.time()))
        self.started = True
        return lines + framing + b"\r\n"


def _status_line(status: int) -> bytes:
    # An upstream's own phrase is not repeated: it is text of anybody's making.
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


def _lines(headers: Headers) -> bytes:
    try:
        return block(headers)
    except ValueError:
        raise errors.NetworkError(
            "the answer's head holds a control character", condition="protocol"
        ) from None


@lru_cache(maxsize=1)
def _date(now: int) -> bytes:
    return time.strftime("Date: %a, %d %b %Y %H:%M:%S GMT\r\n", time.gmtime(now)).encode()
