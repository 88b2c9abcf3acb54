"""One line a second where there would be thousands.

It knows when to speak; it does not know what is rejected, or by whom.
"""

import asyncio

from proxy.observe.logs import Log

INTERVAL = 1.0
"""Seconds between two lines."""


class Rejecting:
    """Counts what is turned away, and tells at once of the first, then once a second.

    *event* is `breaker.rejecting` and the like; *log* carries whom it is about. Where it counts, a
    loop has to run: its timer tells the rest, and there is none a second after the last rejection.
    """

    def __init__(self, log: Log, event: str) -> None:
        self._log = log
        self._event = event
        self._count = 0
        self._facts: dict[str, object] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, **facts: object) -> None:
        """Count one rejection; the *facts* of the latest are told with all."""
        self._count += 1
        self._facts = facts
        if self._timer is None:
            self._begin_a_second()

    def tell(self) -> None:
        """Tell what has been counted and not told: a breaker's next move is the moment for it."""
        if self._count:
            self._log.warning(self._event, count=self._count, **self._facts)
            self._count = 0

    def stop(self) -> None:
        """Tell the rest; nothing is left to wait for."""
        self.tell()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _begin_a_second(self) -> None:
        self._timer = None
        if self._count:
            self.tell()
            self._timer = asyncio.get_running_loop().call_later(INTERVAL, self._begin_a_second)
