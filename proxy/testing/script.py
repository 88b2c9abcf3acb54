"""What the scripted upstream can be told to do: an answer is a sum of steps.

    wait(2) + ok()                                  late
    status(503, retry_after=2)                      with a wait asked for
    head(200, length=100) + body(b"abc") + reset()  cut
    interim(103, link="</a>") + ok("hello")         after a hint
    early(hang())                                   before the request's body is read

Rule 1: an answer is data. Nothing here has a socket, a clock or a request.
Rule 2: steps are bytes as they go out, so that every lie about them can be told.
"""

import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from email.utils import formatdate
from enum import Enum
from http import HTTPStatus
from typing import Any

from proxy.testing.request import Seen

Content = bytes | str | dict[str, Any] | list[Any]


@dataclass(frozen=True, slots=True)
class Send:
    """Bytes that go out; those of a body do not where the request was HEAD."""

    data: bytes
    of_body: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """So many seconds in which nothing is said."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Ask:
    """An answer that depends on what was asked."""

    answer: Callable[[Seen], "Answer"]


class End(Enum):
    """How a connection ends; without one it is kept for the next request."""

    CLOSE = "the connection is closed in good order"
    RESET = "the connection is reset"
    HANG = "nothing more is said until the caller leaves"


Step = Send | Wait | Ask | End


@dataclass(frozen=True, slots=True)
class Answer:
    """Steps in order. Where *early*, they begin while the request's body is still unread."""

    steps: tuple[Step, ...]
    early: bool = False

    def __add__(self, other: "Answer") -> "Answer":
        return Answer(self.steps + other.steps, self.early or other.early)

    def until(self, piece: int) -> "Answer":
        """Give what comes before the end of the body's piece number *piece*; 0: the head alone."""
        return replace(self, steps=self.steps[: self._cut(piece)])

    def beyond(self, piece: int) -> "Answer":
        """Give what `until` left out: `a.until(2) + wait(60) + a.beyond(2)` stalls for a minute."""
        return replace(self, steps=self.steps[self._cut(piece) :])

    def _cut(self, piece: int) -> int:
        at = [n for n, step in enumerate(self.steps) if isinstance(step, Send) and step.of_body]
        if piece >= len(at):
            return len(self.steps)
        return at[piece - 1] + 1 if piece else at[0]


# Single steps.


def send(data: bytes) -> Answer:
    """Say *data*, whatever it is."""
    return Answer((Send(data),))


def wait(seconds: float) -> Answer:
    return Answer((Wait(seconds),))


def close() -> Answer:
    return Answer((End.CLOSE,))


def reset() -> Answer:
    return Answer((End.RESET,))


def hang() -> Answer:
    return Answer((End.HANG,))


def ask(answer: Callable[[Seen], Answer]) -> Answer:
    """Answer as *answer* decides when it sees the whole request."""
    return Answer((Ask(answer),))


def early(answer: Answer) -> Answer:
    """Begin at once: the request's body is left unread, and the connection ends afterwards."""
    return replace(answer, early=True)


def head(
    status: int,
    headers: Mapping[str, Any] | None = None,
    *,
    length: int | None = None,
    chunked: bool = False,
    **more: Any,
) -> Answer:
    """Say a head. Headers come from a mapping or as words: `retry_after=2` is `retry-after: 2`."""
    fields: dict[str, Any] = {} if length is None else {"content-length": length}
    if chunked:
        fields["transfer-encoding"] = "chunked"
    fields |= headers or {}
    fields |= {name.replace("_", "-"): value for name, value in more.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return send(f"HTTP/1.1 {status} {phrase(status)}\r\n{lines}\r\n".encode("latin-1"))


def body(data: bytes) -> Answer:
    """Say a piece of the body."""
    return Answer((Send(data, of_body=True),))


def chunk(data: bytes) -> Answer:
    """Say a chunk."""
    return body(b"%x\r\n%b\r\n" % (len(data), data))


def last_chunk(**trailers: str) -> Answer:
    """Say that the chunks are over."""
    fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in trailers.items())
    return body(f"0\r\n{fields}\r\n".encode("latin-1"))


# Whole answers, true to the protocol.


def interim(status: int = 103, headers: Mapping[str, Any] | None = None, **more: Any) -> Answer:
    """Say an informational head; the true one must follow."""
    return head(status, headers, **more)


def status(
    code: int,
    content: Content | None = None,
    headers: Mapping[str, Any] | None = None,
    *,
    coding: str | None = None,
    **more: Any,
) -> Answer:
    """Answer in one piece. An error without *content* tells its reason as OpenAI's API would.

    *coding* is `gzip` or `deflate`. Headers as in `head`: `retry_after_ms=1500`,
    `x_should_retry="false"`, `x_ratelimit_remaining_requests=0` …
    """
    if content is None:
        content = {"error": {"message": phrase(code), "type": "scripted"}} if code >= 400 else b""
    data = encoded(content)
    fields: dict[str, Any] = {"content-type": _media_type(content)}
    if coding is not None:
        data = gzip.compress(data, mtime=0) if coding == "gzip" else zlib.compress(data)
        fields["content-encoding"] = coding
    fields |= headers or {}
    if code < 200 or code in {204, 304}:
        return head(code, headers, **more)
    return head(code, fields, length=len(data), **more) + body(data)


def ok(content: Content = b"", headers: Mapping[str, Any] | None = None, **more: Any) -> Answer:
    """Answer 200 in one piece."""
    return status(200, content, headers, **more)


def chunks(
    *pieces: bytes, every: float = 0.0, headers: Mapping[str, Any] | None = None, **more: Any
) -> Answer:
    """Answer 200 in chunks, with *every* seconds before each."""
    start = head(200, headers, chunked=True, **more)
    return _paced(start, map(chunk, pieces), every) + last_chunk()


def drip(data: bytes, every: float = 1.0, **headers: Any) -> Answer:
    """Answer 200 byte by byte, with *every* seconds before each."""
    pieces = (body(data[n : n + 1]) for n in range(len(data)))
    return _paced(head(200, length=len(data), **headers), pieces, every)


def until_close(content: Content = b"", **headers: Any) -> Answer:
    """Answer 200 with a body that ends when the connection does."""
    return head(200, connection="close", **headers) + body(encoded(content)) + close()


def event_stream(
    events: Iterable[bytes],
    every: float = 0.0,
    headers: Mapping[str, Any] | None = None,
    **more: Any,
) -> Answer:
    """Answer 200 with server-sent events, one chunk each, with *every* seconds before each."""
    fields = {"content-type": "text/event-stream", **(headers or {})}
    return chunks(*events, every=every, headers=fields, **more)


# Answers no server should give.


def half_a_head() -> Answer:
    return send(b"HTTP/1.1 200 OK\r\ncontent-ty") + close()


def garbage() -> Answer:
    return send(b"\x00\x01 this is not HTTP \xff\r\n\r\n") + close()


def short(content: Content = b"hello", missing: int = 5) -> Answer:
    """Promise *missing* bytes more than are sent."""
    data = encoded(content)
    return head(200, length=len(data) + missing) + body(data) + close()


def long(content: Content = b"hello", extra: bytes = b"surplus") -> Answer:
    """Send *extra* after the promised length."""
    data = encoded(content)
    return head(200, length=len(data)) + body(data + extra) + close()


def cut_chunk() -> Answer:
    """Promise a chunk of 16 bytes, send 3 of them, and close."""
    return head(200, chunked=True) + body(b"10\r\nabc") + close()


def no_last_chunk(*pieces: bytes) -> Answer:
    """Send whole chunks, and close instead of ending them."""
    return chunks(*pieces).until(len(pieces)) + close()


def http_date(timestamp: float) -> str:
    """Write a point in time (seconds since 1970) as `Retry-After` may have it."""
    return formatdate(timestamp, usegmt=True)


def encoded(content: Content) -> bytes:
    """Give *content* as bytes: text as UTF-8, anything else as JSON."""
    if isinstance(content, bytes | bytearray):
        return content
    return content.encode() if isinstance(content, str) else json.dumps(content).encode()


def phrase(status: int) -> str:
    """Give a status its reason, also where it is nobody's."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unheard Of"


def _media_type(content: Content) -> str:
    if isinstance(content, bytes | bytearray):
        return "application/octet-stream"
    return "text/plain; charset=utf-8" if isinstance(content, str) else "application/json"


def _paced(start: Answer, pieces: Iterable[Answer], every: float) -> Answer:
    steps = list(start.steps)
    for piece in pieces:
        steps += (Wait(every), *piece.steps) if every else piece.steps
    return Answer(tuple(steps))
