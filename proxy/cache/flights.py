"""One call for many who wait for it.

Rule 1: the call runs in a task of its own, so whoever leaves takes nothing from the others.
Rule 2: the last who leaves ends it, and sees it end.
Rule 3: whose call it is in the first place may at any time be given what the others cannot have;
then they part, and each makes a call of its own.
"""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Parted(Exception):  # noqa: N818 -- a fact, and nobody's failure
    """What is on its way is for the one who asked first; the others have to ask themselves."""


class Impatient(Exception):  # noqa: N818 -- a fact as well
    """Somebody else's call takes longer than we can wait for it."""


class Flight(Generic[T]):
    """One call that is under way, and how many wait for it."""

    def __init__(self) -> None:
        self.task: asyncio.Task[T]
        self.parted = asyncio.get_running_loop().create_future()
        self.waiting = 0
        self.led = True
        """Whoever asked first is still there."""

    def part(self) -> None:
        """Let the others ask for themselves, because what comes is for the first alone.

        Raises CancelledError, within the call, where the first is not there any more.
        """
        if not self.parted.done():
            self.parted.set_result(None)
        if not self.led:
            raise asyncio.CancelledError


class Flights(Generic[T]):
    """The calls that are under way, by what they ask."""

    def __init__(self) -> None:
        self._open: dict[Hashable, Flight[T]] = {}

    def __len__(self) -> int:
        return len(self._open)

    async def join(
        self,
        key: Hashable,
        begin: Callable[[Flight[T]], Coroutine[Any, Any, T]],
        patience: float | None = None,
    ) -> T:
        """Give what the one call for *key* gives or raises; without one, *begin* it.

        Raises Parted where somebody else's call turned out to be for that one alone, and Impatient
        where it takes longer than *patience* seconds; our own call knows its limits.
        """
        flight = self._open.get(key)
        leads = flight is None or flight.parted.done()
        if flight is None or leads:
            flight = self._open[key] = Flight()
            flight.task = asyncio.create_task(begin(flight))
            flight.task.add_done_callback(lambda task: self._landed(key, flight, task))
        flight.waiting += 1
        try:
            if leads:
                await asyncio.wait((flight.task,))
            else:
                await _either(flight.task, flight.parted, patience)
        except (asyncio.CancelledError, Impatient):
            await self._leave(key, flight, leads)
            raise
        flight.waiting -= 1
        if not leads and (flight.parted.done() or flight.task.cancelled()):
            raise Parted
        return flight.task.result()

    async def _leave(self, key: Hashable, flight: Flight[T], leads: bool) -> None:
        flight.waiting -= 1
        flight.led = flight.led and not leads
        if flight.waiting == 0 or (leads and flight.parted.done()):
            self._close(key, flight)
            flight.task.cancel()
            await asyncio.wait((flight.task,))

    def _landed(self, key: Hashable, flight: Flight[T], task: asyncio.Task[T]) -> None:
        self._close(key, flight)
        if not task.cancelled():
            task.exception()  # where nobody is left to hear it, it is no complaint of asyncio's

    def _close(self, key: Hashable, flight: Flight[T]) -> None:
        if self._open.get(key) is flight:
            del self._open[key]


async def _either(
    one: asyncio.Future[Any], other: asyncio.Future[Any], patience: float | None
) -> None:
    """Wait for whichever ends first; raises Impatient where neither does in time."""
    ended, _ = await asyncio.wait(
        (one, other), timeout=patience, return_when=asyncio.FIRST_COMPLETED
    )
    if not ended:
        raise Impatient
