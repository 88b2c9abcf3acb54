"""How often somebody may call: GCRA, the generic cell rate algorithm.

Of each caller one number is kept: the time from which it owes nothing (the cell's theoretical
arrival time). A call moves it one step on; who is a whole burst ahead has to wait.
Sources: ITU-T I.371, annex A; throttled (Brandur Leach), which made it known for HTTP.
Nothing here knows what a key stands for, and nothing waits.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable

# In calls: how far rounding may carry somebody ahead who is not. Times are never exact.
_ROUNDING = 1e-6
_LOOKS = 8


class Rate:
    """At most *limit* calls per *window* seconds for each key, and *burst* of them at once.

    Over any window no key gets more than limit + burst. Without a burst given it is the limit: who
    has been quiet may make all its calls at once, and then one each window/limit seconds.

    It remembers at most *max_keys*. A key is forgotten only when it owes nothing, so that nobody
    gains by it. While all of them owe, those that are new share what one key may.
    """

    __slots__ = ("_ahead", "_clock", "_free_from", "_max_keys", "_step", "_strangers")

    def __init__(
        self,
        limit: int,
        window: float,
        clock: Callable[[], float],
        *,
        burst: int | None = None,
        max_keys: int = 10_000,
    ) -> None:
        self._step = window / limit
        self._ahead = (limit if burst is None else burst) - 1
        self._clock = clock
        self._max_keys = max_keys
        # In steps, not in seconds: adding ones to a float is exact.
        self._free_from: OrderedDict[Hashable, float] = OrderedDict()
        self._strangers = 0.0

    def take(self, key: Hashable) -> float:
        """Count a call and give 0, or count nothing and give the seconds until there is room."""
        now = self._clock() / self._step
        known = self._free_from.get(key)
        # A new key begins with what strangers owe: it may have been one of them a moment ago.
        free_from = max(now, self._strangers if known is None else known)
        excess = free_from - now - self._ahead
        if excess > _ROUNDING:
            return excess * self._step
        if known is not None or self._has_room(now):
            self._free_from[key] = free_from + 1
        else:
            self._strangers = free_from + 1
        return 0.0

    def _has_room(self, now: float) -> bool:
        """Tell whether one more key can be remembered, forgetting one that owes nothing for it.

        It looks at a few of them in turn, so that a flood of keys costs no more than each its own.
        """
        if len(self._free_from) < self._max_keys:
            return True
        for _ in range(_LOOKS):
            key, free_from = self._free_from.popitem(last=False)
            if free_from <= now:
                return True
            self._free_from[key] = free_from
        return False
