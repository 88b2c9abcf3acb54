"""A reply that keeps what is said to it, as long as that may be told to others as well.

Rule 1: nothing reaches the caller before it is known who is to have the answer. Either it is
collected whole, or it passes, and from there on this is the caller's own reply.
Rule 2: what has not reached the caller was never said: it can be said anew, or fail as an error.
"""

from collections.abc import Callable

from proxy.cache.entry import Entry
from proxy.cache.rules import Lifetime, for_everybody
from proxy.wire.message import Headers, Reply
from proxy.wire.tunnel import Line

MISS = (b"X-OctoLLM-Cache", b"miss")


def _never(_status: int, _headers: Headers) -> None:
    """Keep no answer."""


def _nobody() -> None:
    """Part from nobody: this call was made for one caller."""


class Collecting:
    """`message.Reply` for a call that may be made for several callers.

    *lives* says of a head how long such an answer serves, *part* is told when it passes to the one
    caller of *reply*; what *part* raises ends the call.
    """

    def __init__(
        self,
        reply: Reply,
        lives: Callable[[int, Headers], Lifetime | None],
        limit: int,
        part: Callable[[], None] = _nobody,
    ) -> None:
        self.entry: Entry | None = None
        """What was collected, once it is whole."""
        self._reply = reply
        self._lives = lives
        self._limit = limit
        self._part = part
        self._passes = False
        self._head: tuple[int, Headers, int | None] = (0, (), None)
        self._lifetime: Lifetime | None = None
        self._parts: list[bytes] = []
        self._size = 0

    @property
    def started(self) -> bool:
        return self._passes and self._reply.started

    @property
    def congested(self) -> bool:
        return self._passes and self._reply.congested

    def keep_nothing(self) -> None:
        """Let what comes from now on pass: it answers another question, as what a fallback says."""
        self._lives = _never

    def let_pass(self) -> None:
        """Decide that whatever comes is for the one caller."""
        if not self._passes:
            self._part()
            self._passes = True

    def deliver(self) -> int:
        """Tell the caller itself what was collected, with all that was meant for it alone."""
        assert self.entry is not None  # it was the entry that said so
        status, headers, _ = self._head
        self._reply.send(status, [*headers, MISS], self.entry.body)
        return status

    def send(self, status: int, headers: Headers, body: bytes = b"") -> None:
        if self._collects(status, headers, len(body)):
            self._parts = [body]
            self.finish()
        else:
            self._reply.send(status, [*headers, MISS], body)

    def interim(self, status: int, headers: Headers) -> None:
        if self._passes:
            self._reply.interim(status, headers)

    def start(self, status: int, headers: Headers, length: int | None) -> None:
        if not self._collects(status, headers, length):
            self._reply.start(status, [*headers, MISS], length)

    def write(self, data: bytes) -> None:
        if self._passes:
            self._reply.write(data)
            return
        self._parts.append(data)
        self._size += len(data)
        if self._size > self._limit:
            self.let_pass()
            status, headers, length = self._head
            self._reply.start(status, [*headers, MISS], length)
            self._reply.write(b"".join(self._parts))
            self._parts.clear()

    def flush(self) -> None:
        if self._passes:
            self._reply.flush()

    async def drain(self) -> None:
        if self._passes:
            await self._reply.drain()

    def finish(self) -> None:
        if self._passes:
            self._reply.finish()
            return
        assert self._lifetime is not None  # nothing else is collected
        status, headers, _ = self._head
        body = b"".join(self._parts)
        self.entry = Entry(status, for_everybody(headers), body, *self._lifetime)

    def switch(self, headers: Headers) -> Line:
        self.let_pass()
        return self._reply.switch(headers)

    def abort(self) -> None:
        if self._passes:
            self._reply.abort()

    def _collects(self, status: int, headers: Headers, length: int | None) -> bool:
        """Begin to collect an answer, or let it pass."""
        if not self._passes:
            self._lifetime = self._lives(status, headers)
            if self._lifetime is None or (length or 0) > self._limit:
                self.let_pass()
        self._head = (status, headers, length)
        self._parts, self._size = [], 0
        return not self._passes
