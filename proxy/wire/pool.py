"""The connections to one origin: who gets one, who waits, and how long an idle one is kept.

Rule 1: at most *limit* connections, being made included; each is given back exactly once.
Rule 2: the most recently used goes out first, so that those nobody needs grow old and go.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from proxy import errors
from proxy.wire.origin import Origin

Dial = Callable[[Callable[[Origin], None], float | None], Awaitable[Origin]]


class Pool:
    """Connections made by *dial*, at most *limit*; *pending* more callers may wait in line.

    An idle connection is used again within *keepalive* seconds, which must be below the origin's.
    """

    def __init__(
        self,
        dial: Dial,
        *,
        limit: int,
        pending: int,
        keepalive: float,
    ) -> None:
        self._dial = dial
        self._limit = limit
        self._pending = pending
        self._keepalive = keepalive
        self._loop = asyncio.get_running_loop()
        self._idle: list[Origin] = []
        self._waiting: deque[asyncio.Future[Origin | None]] = deque()
        self._count = 0
        self._live: set[Origin] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def connections(self) -> int:
        return self._count

    def take_idle(self, now: float) -> Origin | None:
        """Give an idle connection, if there is one that can still be used."""
        idle = self._idle
        while idle:
            origin = idle.pop()
            if origin.open and now - origin.idle_since < self._keepalive:
                return origin
            origin.abort()
            self._lost(origin)
        return None

    async def take(self, patience: float | None) -> Origin:
        """Give a connection: idle, the next that is given back, or one made in *patience* seconds.

        Raises CapacityExceededError where too many wait already, and what *dial* raises.
        """
        while True:
            origin = self.take_idle(self._loop.time())
            if origin is None:
                if self._count < self._limit:
                    self._count += 1
                else:
                    origin = await self._wait()
            if origin is None:
                return await self._make(patience)
            if origin.open:  # it may have been lost on its way from hand to hand
                return origin

    def give_back(self, origin: Origin) -> None:
        """Take a connection back that can be used again."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(origin)
                return
        if self._closed:
            origin.abort()
            return
        origin.idle_since = self._loop.time()
        self._idle.append(origin)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(self._keepalive, self._sweep)

    def forget_idle(self) -> None:
        """End what is idle: one was found ended by the origin, and the others are older still."""
        for origin in list(self._idle):
            origin.abort()
            self._lost(origin)

    def retire(self) -> None:
        """Keep no connection any more: the idle end now, those in use when given back."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        self.forget_idle()

    def close(self) -> None:
        """End every connection, in use or not."""
        self.retire()
        for origin in list(self._live):
            origin.abort()

    async def _wait(self) -> Origin | None:
        """Stand in line; None is leave to make a connection, counted already."""
        if len(self._waiting) >= self._pending:
            raise errors.CapacityExceededError(
                "too many calls to this upstream wait for a connection", retry_after=1, sent=False
            )
        waiter: asyncio.Future[Origin | None] = self._loop.create_future()
        self._waiting.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            # It may have come in the moment we were told to stop waiting for it.
            if waiter.done() and not waiter.cancelled():
                self._pass_on(waiter.result())
            else:
                self._waiting.remove(waiter)
            raise

    async def _make(self, patience: float | None) -> Origin:
        try:
            origin = await self._dial(self._lost, patience)
        except BaseException:
            self._vacate()
            raise
        self._live.add(origin)
        return origin

    def _pass_on(self, origin: Origin | None) -> None:
        if origin is None:
            self._vacate()
        else:
            self.give_back(origin)

    def _vacate(self) -> None:
        """Let the first in line use the place of a connection that is no more."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._count -= 1

    def _lost(self, origin: Origin) -> None:
        if origin in self._live:
            self._live.remove(origin)
            if origin in self._idle:
                self._idle.remove(origin)
            self._vacate()

    def _sweep(self) -> None:
        """End what has been idle too long; the oldest are at the bottom."""
        self._sweeper = None
        oldest = self._loop.time() - self._keepalive
        while self._idle and self._idle[0].idle_since <= oldest:
            self._idle.pop(0).abort()
        if self._idle:
            due = self._idle[0].idle_since + self._keepalive
            self._sweeper = self._loop.call_at(due, self._sweep)
