"""How many retries an upstream gets: a share of its requests, and a few a second on top.

Retries are what turns a slow upstream into a dead one; bound to the requests of the same seconds,
they can add their share to the load and no more. The form is Finagle's `RetryBudget`.
Nothing here knows what a retry is for.
"""

from collections.abc import Callable

from proxy.config import schema
from proxy.policy.window import Window

SECONDS = 10.0


class RetryBudget:
    """Retries of the last ten seconds stay below *ratio* of the requests of the same seconds.

    `min_per_second` comes on top, so that an upstream with little traffic can be retried at all.
    """

    __slots__ = ("_clock", "_ratio", "_requests", "_reserve", "_retries")

    def __init__(self, settings: schema.Budget, clock: Callable[[], float]) -> None:
        self._ratio = settings.ratio
        self._reserve = settings.min_per_second * SECONDS
        self._clock = clock
        self._requests = Window(SECONDS)
        self._retries = Window(SECONDS)

    def deposit(self) -> None:
        """Count a request; its retries are not requests."""
        self._requests.add(self._clock())

    def withdraw(self) -> bool:
        """Take one retry, if one is left. It is spent, whether the retry then happens or not."""
        now = self._clock()
        if self._left(now) < 1:
            return False
        self._retries.add(now)
        return True

    @property
    def left(self) -> float:
        """How many retries could be taken now."""
        return max(0.0, self._left(self._clock()))

    def _left(self, now: float) -> float:
        return self._ratio * self._requests.total(now) + self._reserve - self._retries.total(now)
