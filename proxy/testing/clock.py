"""Time that moves when told, and an event loop that moves it when nothing else is left to do.

Rule 1: time stands still while code runs; only `Clock.advance` and an idle `VirtualLoop` move it.
Rule 2: bytes are real. Sockets, threads and the order of events are the machine's own; what is
virtual is only the waiting, so a timeout of ten minutes passes in milliseconds.

Client, proxy and upstream must live in the one loop. What the loop cannot see at work (another
process, a thread it did not start) would be overtaken by its clock: such tests run in real time.
"""

import asyncio
import selectors
import time
from collections.abc import Callable
from typing import Any, TypeVarTuple

_Ts = TypeVarTuple("_Ts")

# Loopback delivers within the sender's own system call, except where a busy kernel leaves it to a
# thread of its own. This much real quiet is what makes us believe that nothing is under way.
_GRACE = 0.005


class Clock:
    """Seconds that pass only when told to.

    It starts well above zero, as a machine's does: arithmetic that only works near zero must show.
    """

    def __init__(self, start: float = 10_000.0) -> None:
        self._now = start

    def __call__(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass; time never runs backwards."""
        if seconds < 0:
            raise ValueError(f"time cannot pass by {seconds} seconds")
        self._now += seconds


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in which waiting takes no time.

    When no callback is ready and no socket has anything to say, it jumps to the next timer, as
    trio's `MockClock` does. While a thread it started is at work (a DNS look-up, `to_thread`) it
    does not jump: until the thread is back, time passes as it does on the wall.

    Built on public API alone: a selector of our own, and two methods of the loop overridden.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self._threads = 0
        self._idle = _Idle(self.clock, self._is_threading)
        super().__init__(self._idle)
        self._idle.own = len(self._idle.get_map())

    def time(self) -> float:
        return self.clock()

    def run_in_executor(
        self, executor: Any, func: Callable[[*_Ts], Any], *args: *_Ts
    ) -> asyncio.Future[Any]:
        work = super().run_in_executor(executor, func, *args)
        self._threads += 1
        work.add_done_callback(self._thread_returned)
        return work

    async def shutdown_default_executor(self, *args: Any, **kwargs: Any) -> None:
        # Since 3.12 it gives its threads 300 seconds; ours would be over before they have ended.
        self._threads += 1
        try:
            await super().shutdown_default_executor(*args, **kwargs)
        finally:
            self._threads -= 1

    def _thread_returned(self, _: object) -> None:
        self._threads -= 1

    def _is_threading(self) -> bool:
        return self._threads > 0


class _Idle(selectors.DefaultSelector):
    """A selector that lets virtual time pass where another would sleep."""

    own = 0
    """How many of its files the loop opened for itself, to be woken by."""

    def __init__(self, clock: Clock, is_threading: Callable[[], bool]) -> None:
        super().__init__()
        self._clock = clock
        self._is_threading = is_threading

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return super().select()  # no timer to jump to: only the outside can wake us
        ready = super().select(0)
        if ready or timeout <= 0:
            return ready
        if self._is_threading():
            began = time.monotonic()
            ready = super().select(timeout)
            self._clock.advance(min(timeout, time.monotonic() - began))
            return ready
        if len(self.get_map()) > self.own:
            ready = super().select(_GRACE)
        if not ready:
            self._clock.advance(timeout)
        return ready
