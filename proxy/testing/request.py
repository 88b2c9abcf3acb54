"""What the scripted upstream was asked: a request read strictly, and remembered.

Rule 1: whatever RFC 9112 lets a server refuse is refused here, so that a proxy which sends it is
found out. Rule 2: nothing here knows what will be answered.
"""

import asyncio
import json
import re
from dataclasses import dataclass, field
from typing import Any

Pairs = list[tuple[bytes, bytes]]

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rb"(%s) ([!-~\x80-\xff]+) HTTP/1\.([01])" % _TOKEN)
_FIELD = re.compile(rb"(%s):[ \t]*((?:[^\x00-\x1f\x7f]|\t)*?)[ \t]*" % _TOKEN)
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[^\x00-\x1f]*)?")


class Malformed(Exception):  # noqa: N818 -- a fact, not a failure of ours
    """What came is not a request as RFC 9112 has it."""


class Left(Exception):  # noqa: N818
    """The caller went away in the middle of its request."""


@dataclass(eq=False)
class Seen:
    """One request as the upstream saw it. It is noted when its head is there; the body follows."""

    method: str
    target: str
    version: tuple[int, int]
    headers: Pairs
    """Names and values as they came, in order."""
    connection: int = 0
    """Which connection brought it, counted from 1."""
    at: float = 0.0
    """When its head was there, by `loop.time()`."""
    body: bytearray = field(default_factory=bytearray)
    trailers: Pairs = field(default_factory=list)
    complete: bool = False
    """The body has come to its proper end."""
    answered: bool = False
    """The answer was played to its end."""
    left_at: float | None = None
    """When the caller left before that."""
    over: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def values(self, name: str) -> list[str]:
        """Give all values of a header, in order; the case of *name* does not matter."""
        wanted = name.lower().encode()
        return [value.decode("latin-1") for key, value in self.headers if key.lower() == wanted]

    def header(self, name: str) -> str | None:
        """Give the values of a header as one, or None."""
        return ", ".join(self.values(name)) if self.values(name) else None

    def json(self) -> Any:
        return json.loads(self.body)

    async def hung_up(self) -> bool:
        """Wait until this exchange is over; True if it was the caller who ended it."""
        await self.over.wait()
        return self.left_at is not None

    @property
    def last_on_connection(self) -> bool:
        options = (self.header("connection") or "").lower().replace(" ", "").split(",")
        return "close" in options or (self.version == (1, 0) and "keep-alive" not in options)


async def read_head(reader: asyncio.StreamReader) -> Seen | None:
    """Read the next request's head; None where the caller is done with the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise Left from error
        return None
    except asyncio.LimitOverrunError as error:
        raise Malformed("a head of more than 64 KiB") from error
    first, *lines = head[:-4].split(b"\r\n")
    found = _REQUEST_LINE.fullmatch(first)
    if found is None:
        raise Malformed(f"request line {first!r}")
    method, target, minor = found.groups()
    seen = Seen(method.decode(), target.decode("latin-1"), (1, int(minor)), _fields(lines))
    if len(seen.values("host")) != 1 and seen.version == (1, 1):
        raise Malformed(f"Host given {len(seen.values('host'))} times")
    _body_length(seen)
    return seen


async def read_body(reader: asyncio.StreamReader, seen: Seen) -> None:
    """Read the body into *seen* as it comes, so that what came of an unfinished one is there."""
    try:
        length = _body_length(seen)
        if length is None:
            await _read_chunks(reader, seen)
        else:
            await _read_exactly(reader, length, seen)
    except asyncio.IncompleteReadError as error:
        raise Left from error
    seen.complete = True


def _fields(lines: list[bytes]) -> Pairs:
    fields = []
    for line in lines:
        found = _FIELD.fullmatch(line)
        if found is None:
            raise Malformed(f"header line {line!r}")
        fields.append((found[1], found[2]))
    return fields


def _body_length(seen: Seen) -> int | None:
    """Tell how many bytes the body has; None where it is chunked."""
    lengths, codings = seen.values("content-length"), seen.values("transfer-encoding")
    if codings:
        if lengths or seen.version == (1, 0) or [c.lower() for c in codings] != ["chunked"]:
            raise Malformed(f"transfer-encoding {codings}, content-length {lengths}")
        return None
    if not lengths:
        return 0
    if len(lengths) > 1 or not re.fullmatch("[0-9]{1,18}", lengths[0]):
        raise Malformed(f"content-length {lengths}")
    return int(lengths[0])


async def _read_chunks(reader: asyncio.StreamReader, seen: Seen) -> None:
    while size := await _chunk_size(reader):
        await _read_exactly(reader, size, seen)
        if await reader.readexactly(2) != b"\r\n":
            raise Malformed("a chunk longer than its size")
    lines = []
    while (line := await _line(reader)) != b"":
        lines.append(line)
    seen.trailers = _fields(lines)


async def _chunk_size(reader: asyncio.StreamReader) -> int:
    line = await _line(reader)
    found = _CHUNK.fullmatch(line)
    if found is None:
        raise Malformed(f"chunk size {line!r}")
    return int(found[1], 16)


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return (await reader.readuntil(b"\r\n"))[:-2]
    except asyncio.LimitOverrunError as error:
        raise Malformed("a line of more than 64 KiB") from error


async def _read_exactly(reader: asyncio.StreamReader, size: int, seen: Seen) -> None:
    while size:
        data = await reader.read(min(size, 1 << 16))
        if not data:
            raise Left
        seen.body += data
        size -= len(data)
