"""How many calls an upstream serves at a time, and the line of those that wait for a place.

Rule 1: a place that is given comes back exactly once; who leaves the line leaves no trace in it.
Rule 2: first come, first served. A place that becomes free goes to the first in line, past whom
nobody gets.
A place is counted, not owned: nothing here knows what is done with it.
"""

import asyncio
import sys
from collections import OrderedDict
from typing import Self

from proxy import errors
from proxy.policy.deadline import Deadline


class Places:
    """*concurrency* calls at a time; *queue_size* more wait, each for *queue_timeout* seconds.

    To be used as `with await places.take(deadline):`; where a place is free that costs no task, no
    timer and no turn of the loop.
    """

    def __init__(self, concurrency: int, queue_size: int, queue_timeout: float) -> None:
        self._line: OrderedDict[asyncio.Future[bool], None] = OrderedDict()
        self._taken = 0
        self.resize(concurrency, queue_size, queue_timeout)

    @property
    def taken(self) -> int:
        return self._taken

    @property
    def full(self) -> bool:
        return self._taken >= self._concurrency

    @property
    def queued(self) -> int:
        return len(self._line)

    def resize(self, concurrency: int, queue_size: int, queue_timeout: float) -> None:
        """Let other numbers hold from now on; who has a place or stands in line keeps it."""
        self._concurrency = concurrency
        self._queue_size = queue_size
        self._queue_timeout = queue_timeout
        self._admit()

    def abolish(self) -> None:
        """Let everybody in: nothing limits any more those who still stand in line."""
        self.resize(sys.maxsize, 0, 0.0)

    async def take(self, deadline: Deadline) -> Self:
        """Take a place, at once or when it is one's turn.

        Raises CapacityExceededError where the line is full or the wait too long, which
        `details["reason"]` tells apart (`concurrency`, `queue_timeout`), and TimeoutError where the
        deadline passes first.
        """
        if not self.full:
            self._taken += 1
        elif len(self._line) >= self._queue_size:
            raise self._full("concurrency", "too many calls to this upstream are in flight")
        else:
            until = asyncio.get_running_loop().time() + self._queue_timeout
            if deadline.at is not None and deadline.at < until:
                if not await self._stand_in_line(deadline.at):
                    total = deadline.at - deadline.began
                    raise errors.TimeoutError("the call", total, sent=False)
            elif not await self._stand_in_line(until):
                raise self._full("queue_timeout", "no call to this upstream ended in time")
        return self

    def __enter__(self) -> None:
        """Be in the place that `take` has given."""

    def __exit__(self, *_: object) -> None:
        self._vacate()

    async def _stand_in_line(self, until: float) -> bool:
        """Wait for a place; False if that took too long."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        self._line[waiter] = None
        timer = loop.call_at(until, self._dismiss, waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            self._line.pop(waiter, None)
            # It may have come in the moment in which we were given a place.
            if waiter.done() and not waiter.cancelled() and waiter.result():
                self._vacate()
            raise
        finally:
            timer.cancel()

    def _vacate(self) -> None:
        self._taken -= 1
        self._admit()

    def _admit(self) -> None:
        """Give the places that are free to the first in line."""
        while self._line and not self.full:
            waiter, _ = self._line.popitem(last=False)
            if not waiter.done():
                self._taken += 1
                waiter.set_result(True)

    def _dismiss(self, waiter: asyncio.Future[bool]) -> None:
        """Tell one in line that its time is up."""
        if not waiter.done():
            del self._line[waiter]
            waiter.set_result(False)

    def _full(self, reason: str, message: str) -> errors.CapacityExceededError:
        # By then everybody who is in line now has left it, one way or the other.
        retry_after = self._queue_timeout if self._queue_size else 1.0
        return errors.CapacityExceededError(
            message,
            details={"reason": reason, "limit": self._concurrency},
            retry_after=retry_after,
            sent=False,
        )
