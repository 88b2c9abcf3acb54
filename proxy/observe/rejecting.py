"""One line a second where there would be thousands.

It knows when to speak; it does not know what is rejected, or by whom.
"""

from collections.abc import Callable

from proxy.observe.logs import Log

INTERVAL = 1.0
"""Seconds between two lines."""


class Rejecting:
    """Counts what is turned away, and tells at once of the first, then once a second.

    *event* is `breaker.rejecting` and the like; *log* carries whom it is about.
    """

    def __init__(self, log: Log, event: str, clock: Callable[[], float]) -> None:
        self._log = log
        self._event = event
        self._clock = clock
        self._count = 0
        self._told: float | None = None

    def add(self) -> None:
        """Count one rejection."""
        self._count += 1
        now = self._clock()
        if self._told is None or now - self._told >= INTERVAL:
            self._told = now
            self.tell()

    def tell(self) -> None:
        """Tell what has been counted and not told: a breaker's next move is the moment for it."""
        if self._count:
            self._log.warning(self._event, count=self._count)
            self._count = 0
