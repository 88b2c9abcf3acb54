"""The caches of a process: one for each place where answers are kept, whoever asks there."""

from collections.abc import Callable, Collection
from typing import NamedTuple

from proxy import errors
from proxy.cache.cache import Cache
from proxy.cache.memory import Memory


class Place(NamedTuple):
    """Where answers are kept; two upstreams of which this is the same share a cache."""

    size: int
    """Bytes of memory."""
    redis: str | None
    """The address of a second store."""
    redis_timeout: float


class Caches:
    """Makes caches when they are first asked for. *failed* is told of a store that fails."""

    def __init__(
        self,
        clock: Callable[[], float],
        wall: Callable[[], float],
        failed: Callable[[errors.CacheError], None],
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._failed = failed
        self._caches: dict[Place, Cache] = {}

    @property
    def used(self) -> int:
        """The bytes of memory that all of them take."""
        return sum(cache.memory.used for cache in self._caches.values())

    def at(self, place: Place) -> Cache:
        """Give the cache at *place*. Raises ValueError where the address is none of a Redis."""
        cache = self._caches.get(place)
        if cache is None:
            cache = self._caches[place] = self._make(place)
        return cache

    async def keep(self, places: Collection[Place]) -> None:
        """Let go of what is kept at other places; calls under way there go on without a Redis."""
        for place in self._caches.keys() - set(places):
            await self._caches.pop(place).close()

    def _make(self, place: Place) -> Cache:
        redis = None
        if place.redis is not None:
            # redis-py takes most of a second to load: nobody waits for it who has no Redis.
            from proxy.cache.redis import Redis  # noqa: PLC0415

            redis = Redis(
                place.redis,
                place.redis_timeout,
                clock=self._clock,
                wall=self._wall,
                failed=self._failed,
            )
        return Cache(Memory(place.size), redis, self._wall)
