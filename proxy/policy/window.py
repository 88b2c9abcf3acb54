"""How often something happened lately.

Time is cut into equal slots and the oldest falls out whole: a count reaches back at most *seconds*
and at least a slot less. Nothing is kept per event, so memory and cost do not grow with traffic.
"""

SLOTS = 60


class Window:
    """A count of what happened in the last *seconds*. Times come from one monotonic clock."""

    __slots__ = ("_counts", "_index", "_per_second", "_slot", "_total")

    def __init__(self, seconds: float) -> None:
        self._per_second = SLOTS / seconds
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._counts = [0] * SLOTS
        self._slot = self._index = self._total = 0

    def add(self, now: float) -> None:
        """Count one more."""
        slot = int(now * self._per_second)
        if slot != self._slot:
            self._turn(slot)
        self._counts[self._index] += 1
        self._total += 1

    def total(self, now: float) -> int:
        """Give the count."""
        slot = int(now * self._per_second)
        if slot != self._slot:
            self._turn(slot)
        return self._total

    def _turn(self, slot: int) -> None:
        """Drop the slots that have grown too old, and make *slot* the present one."""
        for passed in range(max(self._slot, slot - SLOTS) + 1, slot + 1):
            index = passed % SLOTS
            self._total -= self._counts[index]
            self._counts[index] = 0
        self._slot = slot
        self._index = slot % SLOTS
