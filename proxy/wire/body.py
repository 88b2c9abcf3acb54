"""A request body kept while it streams, so that another attempt can send it again.

Rule 1: keeping never holds the first attempt up: past either bound the kept bytes are let go, and
the stream goes on.
Rule 2: one reader at a time, while the source still sends. A chunk is kept before anybody gets it,
so a read that is cancelled half way loses nothing.
"""

from typing import Self

from proxy.wire.message import Body


class Memory:
    """Bytes that all requests together may keep."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def take(self, size: int) -> bool:
        """Claim *size* bytes, where there are so many."""
        if self.used + size > self.limit:
            return False
        self.used += size
        return True

    def give(self, size: int) -> None:
        self.used -= size


class Whole:
    """A body that is here already: one of ours, or one that was read and changed."""

    __slots__ = ("_rest", "length")

    def __init__(self, data: bytes) -> None:
        self.length: int | None = len(data)
        self._rest = data

    async def read(self) -> bytes:
        return self.read_nowait()

    def read_nowait(self) -> bytes:
        data, self._rest = self._rest, b""
        return data


class Replay:
    """Keeps what is read of *source*, at most *limit* bytes, and within the *memory* of all."""

    __slots__ = (
        "_kept",
        "_memory",
        "_reader",
        "_received",
        "_size",
        "_source",
        "ended",
        "limit",
        "whole",
    )

    def __init__(self, source: Body, limit: int, memory: Memory) -> None:
        self._source = source
        self.limit = limit
        self._memory = memory
        self._kept: list[bytes] = []
        self._size = 0
        self._received = 0
        self._reader: Reader | None = None
        self.ended = False
        """The caller has sent all of it."""
        self.whole = True
        """All that was read so far is kept, so the body can be sent from its beginning."""

    @property
    def length(self) -> int | None:
        """Bytes announced; None where nobody knows before the end."""
        return self._source.length

    def open(self) -> "Reader":
        """Give the body from its beginning; whoever read it before reads no more."""
        if not self.whole:
            raise ValueError("the body was let go and cannot be sent again")
        self._reader = Reader(self, self._source, self._kept)
        return self._reader

    def release(self) -> None:
        """Let go of the kept bytes; who reads now reads on."""
        self._memory.give(self._size)
        if self._reader is not None:
            self._reader.forget()
        self._kept = []
        self._size = 0
        self.whole = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()
        # They point at each other; without this each body would live until the next collection.
        self._reader = None

    def is_read_by(self, reader: "Reader") -> bool:
        return self._reader is reader

    def keep(self, chunk: bytes) -> None:
        """Take note of what came from the source; `b""` is its end."""
        size = len(chunk)
        self._received += size
        if not chunk or self._received == self._source.length:
            self.ended = True
        if chunk and self.whole:
            if self._size + size > self.limit or not self._memory.take(size):
                self.release()
            else:
                self._kept.append(chunk)
                self._size += size


class Reader:
    """One reading of a replayed body: kept bytes first, then the live source."""

    __slots__ = ("_index", "_kept", "_replay", "_source", "length")

    def __init__(self, replay: Replay, source: Body, kept: list[bytes]) -> None:
        self._replay = replay
        self._source = source
        self._kept = kept
        self._index = 0
        self.length = source.length

    async def read(self) -> bytes:
        """Wait for the next bytes; `b""` is the end. Raises what the source raises."""
        chunk = self._recall()
        if chunk is None:
            chunk = self._note(await self._source.read())
        return chunk

    def read_nowait(self) -> bytes | None:
        """Give what is there without waiting: None where nothing is, `b""` at the end."""
        chunk = self._recall()
        if chunk is None:
            chunk = self._source.read_nowait()
            if chunk is not None:
                self._note(chunk)
        return chunk

    def forget(self) -> None:
        """Let go of what was read; what was not is still to be sent."""
        del self._kept[: self._index]
        self._index = 0

    def _recall(self) -> bytes | None:
        # A body that has ended can be read by several at once: nobody comes near the source.
        if not (self._replay.ended or self._replay.is_read_by(self)):
            raise ValueError("another attempt reads this body now")
        if self._index < len(self._kept):
            self._index += 1
            return self._kept[self._index - 1]
        return b"" if self._replay.ended else None

    def _note(self, chunk: bytes) -> bytes:
        self._replay.keep(chunk)
        self._index = len(self._kept)
        return chunk
