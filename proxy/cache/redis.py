"""The store that several processes share. The one door to redis-py.

Rule 1: it may be slow, down, full or wrong at any time. It is then told of, left alone for a moment
by a breaker of its own, and nobody's request fails for it or waits longer than *timeout*.
Rule 2: nobody waits for what is written.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio import Redis as Client
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from proxy import errors
from proxy.cache.entry import Entry, pack, unpack
from proxy.config import schema
from proxy.policy.breaker import Breaker
from proxy.wire.cause import cause

PREFIX = "octollm:cache:v1:"

_ASKING = 64
"""Who asks while so many do is answered as if nothing were there: sooner than by waiting."""
_WAITING = 64
"""Entries that may wait to be written; the next is dropped, and stored at its next miss."""

# It stands next to us: one second is long to be down, and two are long to be left alone.
_BREAKER = schema.Breaker(failure_threshold=3, timeout=1.0, max_timeout=2.0, probe_lease=1.0)


class Redis:
    """Entries in a Redis at *url*. *clock* is monotonic, *wall* dates entries.

    *failed* is told of each failure as a CacheError; while the breaker is open there is none.
    """

    def __init__(
        self,
        url: str,
        timeout: float,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        failed: Callable[[errors.CacheError], None],
    ) -> None:
        # No retry, no exchange of names or versions on connecting: the time is short.
        self._client = Client.from_url(
            url,
            protocol=2,
            driver_info=None,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
        )
        self._timeout = timeout
        self._wall = wall
        self._failed = failed
        self._breaker = Breaker("redis", _BREAKER, clock)
        self._asking = 0
        self._closed = False
        self._waiting: deque[tuple[bytes, Entry]] = deque()
        self._writer: asyncio.Task[None] | None = None

    async def get(self, key: bytes) -> Entry | None:
        """Give what is stored under *key*; None also where it cannot be had in time."""
        if self._closed or self._asking >= _ASKING:
            return None
        self._asking += 1
        try:
            data = await self._ask(lambda: self._client.get(_name(key)))
        except errors.CircuitOpenError:
            return None
        except errors.CacheError as error:
            self._failed(error)
            return None
        finally:
            self._asking -= 1
        return None if data is None else unpack(data)

    def put(self, key: bytes, entry: Entry) -> None:
        """Store *entry* soon, until it serves nobody any more, or drop it where that is not to be.

        It has to be called where a loop runs.
        """
        full = len(self._waiting) >= _WAITING
        if self._closed or full or not self._breaker.would_admit():
            return
        self._waiting.append((key, entry))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())

    async def close(self) -> None:
        """End what is under way, and the connections; from here on it has and takes nothing."""
        self._closed = True
        self._waiting.clear()
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.wait((self._writer,))
        await self._client.aclose()

    async def _write(self) -> None:
        """Write what waits, one after the other; there is no task while nothing does."""
        while self._waiting:
            try:
                await self._store(*self._waiting.popleft())
            except errors.CircuitOpenError:
                self._waiting.clear()
            except errors.CacheError as error:
                self._failed(error)

    async def _store(self, key: bytes, entry: Entry) -> None:
        left = max(1, round((entry.stale_until - self._wall()) * 1000))
        data = pack(entry)
        await self._ask(lambda: self._client.set(_name(key), data, px=left))

    async def _ask(self, command: Callable[[], Awaitable[Any]]) -> Any:
        """Give what a command answers. Raises CacheError, or CircuitOpenError without asking."""
        with self._breaker.admit():
            try:
                async with asyncio.timeout(self._timeout):
                    return await command()
            except Exception as fault:  # whatever a foreign library raises is no request's fault
                # Its text may quote what was sent, and that is somebody's answer.
                error = errors.CacheError(
                    f"redis cannot be used: {cause(fault)}", condition="reset"
                )
                error.blames_upstream = True  # for the breaker, whose upstream Redis is
                raise error from fault


def _name(key: bytes) -> str:
    return PREFIX + key.hex()
