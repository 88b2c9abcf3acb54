"""The one timer of a connection, and the waking of who waits on it.

A deadline moves with every request, and nearly always outwards; a timer object for each would cost
more than parsing it. So moving the deadline is one assignment, and the timer, when it fires too
early, goes back to sleep.
"""

import asyncio
from collections.abc import Callable
from math import inf

# Loops round their timers to a millisecond; one that fires that much early is not early.
_SLACK = 0.001


class Alarm:
    """Rings once when the point in time given to `set` has come."""

    __slots__ = ("_at", "_due", "_handle", "_loop", "_ring")

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop = loop
        self._ring = ring
        self._at = inf
        self._due = inf
        self._handle: asyncio.TimerHandle | None = None

    def set(self, at: float) -> None:
        """Ring at *at*, whatever was set before; infinity is never."""
        self._at = at
        if at < self._due:
            self._arm(at)

    def clear(self) -> None:
        """Do not ring."""
        self._at = inf

    def stop(self) -> None:
        """Let go of the loop; the connection is gone."""
        self._at = inf
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
            self._due = inf

    def _arm(self, at: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._due = at
        self._handle = self._loop.call_at(at, self._fire)

    def _fire(self) -> None:
        self._handle = None
        self._due = inf
        if self._at - self._loop.time() > _SLACK:
            if self._at != inf:
                self._arm(self._at)
        else:
            self._at = inf
            self._ring()


def wake(waiter: asyncio.Future[None] | None) -> None:
    """Let who waits go on, if anybody does."""
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
