"""A second attempt beside a slow first one: hedging, after Dean and Barroso (The Tail at Scale).

Rule 1: the first runner that says it has `won` goes on alone; the others are cancelled, which for
their breakers is neutral.
Rule 2: when `run` is over, no runner is left.
Nothing here knows what the runners do.
"""

import asyncio
from collections.abc import Callable, Coroutine

Runner = Coroutine[None, None, int]


class Race:
    """Several attempts at one answer."""

    def __init__(self) -> None:
        self._running: list[asyncio.Task[int]] = []
        self._winner: asyncio.Task[int] | None = None

    def __len__(self) -> int:
        return len(self._running)

    def leads(self) -> bool:
        """Tell whether the present runner is the first that ran."""
        return asyncio.current_task() is self._running[0]

    def won(self) -> bool:
        """Say that the present runner has a good answer; tells whether it is the first that ran.

        Raises CancelledError in one that comes too late.
        """
        if self._winner is not None:
            raise asyncio.CancelledError
        runner = asyncio.current_task()
        for task in self._running:
            if task is runner:
                self._winner = task
            else:
                task.cancel()
        return self.leads()

    async def run(self, first: Runner, another: Callable[[], Runner | None], delay: float) -> int:
        """Give what the winner gives, or raise its error; without a winner, the first one's.

        *another* gives one more runner after each *delay* seconds in which nobody ended; None:
        there are no more.
        """
        leader = self._start(first)
        more = True
        try:
            while True:
                going = [task for task in self._running if not task.done()]
                if self._winner is not None:
                    await asyncio.wait((self._winner,))
                    return self._winner.result()
                if not going:
                    return leader.result()
                done, _ = await asyncio.wait(
                    going,
                    timeout=delay if more else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if not done and self._winner is None:
                    runner = another()
                    more = runner is not None
                    if runner is not None:
                        self._start(runner)
        finally:
            await self._end()

    def _start(self, runner: Runner) -> asyncio.Task[int]:
        task = asyncio.get_running_loop().create_task(runner)
        self._running.append(task)
        return task

    async def _end(self) -> None:
        for task in self._running:
            task.cancel()
        # Their errors are told by whoever won or led; here they are only waited for.
        await asyncio.gather(*self._running, return_exceptions=True)
