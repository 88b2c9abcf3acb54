"""Servers that disagree about what a request is, and a caller who reads whole conversations.

What the strict and every lenient server read alike, nobody can smuggle past. The strict one is the
scripted upstream's own reading; the lenient ones take whatever they get, each by habits of its own.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple

from proxy.testing.request import Left, read_body, read_head
from proxy.testing.script import ok
from proxy.testing.upstream import Upstream

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

_BLANK = bytes((*range(33), 127, 160))


class Asked(NamedTuple):
    """A request as far as it matters where it ends."""

    method: str
    target: str
    body: bytes = b""


class Told(NamedTuple):
    """An answer as the caller read it; *whole* is False where it was cut."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    whole: bool = True

    def values(self, name: bytes) -> list[bytes]:
        return [value for field, value in self.headers if field.lower() == name]


@dataclass(frozen=True)
class Habits:
    """How a server reads what it should have refused."""

    length: int
    """Which of several Content-Length counts: 0 the first, -1 the last."""
    coding_wins: bool
    """Chunks count more than a length that stands beside them."""
    bare_cr: bool
    """A CR alone ends a line, too."""


LENIENT = [
    Habits(length, coding_wins, bare_cr)
    for length in (0, -1)
    for coding_wins in (True, False)
    for bare_cr in (True, False)
]


async def read_leniently(reader: asyncio.StreamReader, habits: Habits) -> Asked:
    """Read one request, whatever it looks like. Raises IncompleteReadError at the end."""
    line = b""
    while not line.strip(_BLANK):
        line = await _line(reader, habits)
    words = [*line.split(), b"", b""]
    lengths: list[int] = []
    coded = False
    name = b""
    while line := await _line(reader, habits):
        if line[:1] not in (b" ", b"\t"):  # else it goes on with the field before
            name, _, line = line.partition(b":")
            name = name.strip(_BLANK).lower().replace(b"_", b"-")
        if name == b"transfer-encoding":
            coded = coded or b"chunked" in line.lower()
        elif name == b"content-length":
            lengths += [int(number) for number in re.findall(rb"\d+", line)]
    body = b""
    if coded and (habits.coding_wins or not lengths):
        while size := await _chunk_size(reader, habits):
            body += await reader.readexactly(size)
            await _line(reader, habits)
        while await _line(reader, habits):
            pass
    elif lengths:
        body = await reader.readexactly(lengths[habits.length])
    return Asked(words[0].decode("latin-1"), words[1].decode("latin-1"), body)


async def _line(reader: asyncio.StreamReader, habits: Habits) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        line += await reader.readexactly(1)
        if habits.bare_cr and line.endswith(b"\r"):
            if (byte := await reader.readexactly(1)) != b"\n":
                # A byte of the next line: it goes back to where it came from.
                rest = bytes(reader._buffer)
                reader._buffer.clear()
                reader.feed_data(byte + rest)
            break
    return line.rstrip(b"\r\n")


async def _chunk_size(reader: asyncio.StreamReader, habits: Habits) -> int:
    found = re.search(rb"(?:0x)?([0-9a-f]*)", (await _line(reader, habits)).lower().strip(_BLANK))
    assert found is not None
    return int(found[1] or b"0", 16)


async def requests_in(raw: bytes, habits: Habits | None) -> AsyncIterator[Asked]:
    """Read the whole requests in *raw*, by *habits* or strictly. Strictly, Malformed is raised."""
    reader = asyncio.StreamReader(limit=1 << 20)
    reader.feed_data(raw)
    reader.feed_eof()
    try:
        while habits is not None:
            yield await read_leniently(reader, habits)
        while seen := await read_head(reader):
            await read_body(reader, seen)
            yield Asked(seen.method, seen.target, bytes(seen.body))
    except (asyncio.IncompleteReadError, Left):
        pass


async def reread(raw: bytes, habits: Habits | None) -> list[Asked]:
    return [asked async for asked in requests_in(raw, habits)]


class Recorder:
    """A lenient server that answers everything with ok, and keeps every byte it was sent."""

    def __init__(self, habits: Habits) -> None:
        self.habits = habits
        self.seen: list[Asked] = []
        self.raw: list[bytearray] = []
        """What came, connection by connection."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw = bytearray()
        self.raw.append(raw)
        feed = reader.feed_data

        def feed_and_keep(data: bytes) -> None:
            raw.extend(data)
            feed(data)

        raw.extend(reader._buffer)
        reader.feed_data = feed_and_keep  # type: ignore[method-assign]
        try:
            while True:
                self.seen.append(await read_leniently(reader, self.habits))
                writer.write(OK if self.seen[-1].method != "HEAD" else OK[:-2])
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def lenient(habits: Habits) -> AsyncIterator[tuple[str, Recorder]]:
    recorder = Recorder(habits)
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        await recorder.serve(reader, writer)

    listener = await asyncio.start_server(connected, "127.0.0.1", 0, limit=1 << 20)
    port = listener.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}", recorder
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def strict() -> AsyncIterator[tuple[str, Upstream]]:
    async with Upstream() as upstream:
        upstream.always(ok("ok"))
        yield upstream.url, upstream


def whole(upstream: Upstream) -> list[Asked]:
    """The requests that a strict upstream saw to their end."""
    return [Asked(s.method, s.target, bytes(s.body)) for s in upstream.seen if s.complete]


def answers(raw: bytes, *methods: str) -> list[Told]:
    """Read what a caller was sent as answers to *methods*; interim ones are left out.

    Raises ValueError for bytes that are no answer: nothing may stand before, between or after.
    """
    found: list[Told] = []
    while raw:
        head, end, raw = raw.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        if not end or not re.fullmatch(rb"HTTP/1\.1 \d{3} [ -~]*", first):
            raise ValueError(f"no answer: {head[:80]!r}")
        status = int(first[9:12])
        if status < 200:
            continue
        fields = [
            (name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)
        ]
        told = Told(status, fields, b"")
        method = methods[len(found)] if len(found) < len(methods) else "GET"
        if method != "HEAD" and status not in (204, 304):
            body, raw, is_whole = _body(told, raw)
            told = told._replace(body=body, whole=is_whole)
        found.append(told)
    return found


def _body(told: Told, raw: bytes) -> tuple[bytes, bytes, bool]:
    lengths, codings = told.values(b"content-length"), told.values(b"transfer-encoding")
    if codings == [b"chunked"] and not lengths:
        body = b""
        while True:
            size, end, raw = raw.partition(b"\r\n")
            if not end or len(raw) < int(size, 16) + 2:
                return body + raw, b"", False
            if not int(size, 16):
                return body, raw[2:], True
            body, raw = body + raw[: int(size, 16)], raw[int(size, 16) + 2 :]
    if codings or len(lengths) > 1:
        raise ValueError(f"framed twice: {codings} {lengths}")
    if not lengths:
        return raw, b"", True
    length = int(lengths[0])
    return raw[:length], raw[length:], len(raw) >= length
