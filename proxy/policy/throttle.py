"""Whom an upstream has told to wait, and how long each still has to.

It stands beside the breaker. A 429 belongs to a key and not to the upstream, so it shuts the gate
for calls with that key alone. Nothing here knows what a key is made of, or who is waiting.
"""

from collections.abc import Callable
from math import inf
from operator import itemgetter


class Gate:
    """Shut for some keys, each until its own time; open for everybody else.

    It remembers at most *max_keys*. Where there are more, those that would open soonest are
    forgotten: they lose the least, and the upstream tells them again.
    """

    __slots__ = ("_clock", "_last", "_max_keys", "_opens")

    def __init__(self, clock: Callable[[], float], max_keys: int = 10_000) -> None:
        self._clock = clock
        self._max_keys = max_keys
        self._opens: dict[bytes, tuple[float, float]] = {}
        """When each opens, and until when it was asked to be shut."""
        self._last = 0.0

    def __bool__(self) -> bool:
        """Tell whether it is shut for anybody; if not, nobody needs to make a key to ask with."""
        if self._opens and self._clock() >= self._last:
            self._opens.clear()
        return bool(self._opens)

    def shut(self, key: bytes, seconds: float, at_most: float = inf) -> None:
        """Leave the upstream alone, for *seconds* that it named, but not longer than *at_most*.

        A shorter wait shortens no longer one. An upstream that tells two calls different things
        means the longer: the other was said before, or of another of its limits.
        """
        now = self._clock()
        opens = now + min(seconds, at_most)
        if opens <= self._opens.get(key, (now, now))[0]:
            return
        if key not in self._opens and len(self._opens) >= self._max_keys:
            self._make_room()
        self._opens[key] = opens, now + seconds
        self._last = max(self._last, opens)

    def wait(self, key: bytes) -> float:
        """Give the seconds a call with this key has to wait; 0 where the gate is open."""
        return self._left(key)[0]

    def asked(self, key: bytes) -> float:
        """Give the seconds that are left of the wait the upstream named; 0 where it is open."""
        return self._left(key)[1]

    def _left(self, key: bytes) -> tuple[float, float]:
        times = self._opens.get(key)
        if times is None:
            return 0.0, 0.0
        now = self._clock()
        opens, until = times
        if opens > now:
            return opens - now, until - now
        del self._opens[key]
        return 0.0, 0.0

    def _make_room(self) -> None:
        """Forget those that open soonest, the ones that are open already first of all."""
        by_opening = sorted(self._opens.items(), key=itemgetter(1))
        # An eighth at once, so that a crowd of keys does not have them sorted for each newcomer.
        self._opens = dict(by_opening[1 + self._max_keys // 8 :])
