"""The replica among others: what its circuits find out it tells them, and it hears what they tell.

Rule 1: nobody waits. `tell` makes a note, which a task sends; there is one note a circuit at most,
and it is the circuit that is asked when it is sent, so that no news are old.
Rule 2: only what was found out here is told. What was heard, or said by an operator, is not told
again, or it would go round for ever.
Rule 3: without Redis each replica is alone, as it is without `shared`. A metric says so.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from random import Random
from typing import TYPE_CHECKING

from proxy.config import schema
from proxy.observe import logs
from proxy.observe.metrics import Metrics
from proxy.policy.breaker import Breaker
from proxy.policy.transitions import Reason, State, Transition
from proxy.shared.news import News, circuit
from proxy.wire.cause import cause

if TYPE_CHECKING:
    from proxy.shared.redis import Link

_FOUND_OUT = frozenset(
    (Reason.CONSECUTIVE, Reason.FAILURE_RATE, Reason.PROBE_FAILED, Reason.PROBE_SUCCEEDED)
)
_FIRST_WAIT, _LAST_WAIT = 0.25, 4.0
"""Seconds before a Redis that is gone is tried again, doubling from one to the other."""


class Sharing:
    """Shares the circuits of one process while it is configured to. *clock* is monotonic."""

    def __init__(self, clock: Callable[[], float], random: Random, metrics: Metrics) -> None:
        self._clock = clock
        self._random = random
        self._metrics = metrics
        self._self = f"{random.getrandbits(64):016x}"
        self._settings: schema.Shared | None = None
        self._task: asyncio.Task[None] | None = None
        self._names: dict[str, str] = {}
        """The circuits by the names of their upstreams."""
        self._breakers: dict[str, Breaker] = {}
        """The breakers by their circuits."""
        self._strangers: set[str] = set()
        """Circuits of which nobody has been asked yet."""
        self._opened: set[str] = set()
        """Circuits that are open because we found it out."""
        self._notes: dict[str, None] = {}
        """Circuits there is something to tell of, in the order in which it happened."""
        self._stirred = asyncio.Event()

    def follow(
        self, settings: schema.Shared | None, circuits: Iterable[tuple[schema.Upstream, Breaker]]
    ) -> None:
        """Share these circuits, and no others, from now on; None shares nothing."""
        before = self._breakers
        named = {upstream.name: (circuit(upstream), breaker) for upstream, breaker in circuits}
        self._names = {name: key for name, (key, _) in named.items()}
        self._breakers = dict(named.values())
        new = {key for key, breaker in self._breakers.items() if before.get(key) is not breaker}
        known = self._breakers.keys() - new
        self._strangers = (self._strangers & known) | new
        self._opened &= known
        self._notes = {key: None for key in self._notes if key in known}
        if settings != self._settings:
            self._settings = settings
            self._end()
            if settings is not None:
                address = settings.redis.get_secret_value()
                self._task = asyncio.get_running_loop().create_task(self._stay_connected(address))
        self._stirred.set()

    def tell(self, moved: Transition) -> None:
        """Let the other replicas know soon that a circuit has moved."""
        if self._task is None:
            return
        key = self._names.get(moved.breaker)
        if key is None:
            return  # the last calls of an upstream that a reload has removed
        found_out = moved.reason in _FOUND_OUT and self._breakers[key].mode == "enforce"
        if found_out and moved.to_state is State.OPEN:
            self._opened.add(key)
        else:
            self._opened.discard(key)
        if found_out:
            self._notes[key] = None
            self._stirred.set()
        else:
            self._notes.pop(key, None)

    async def stop(self) -> None:
        """Leave the others."""
        task = self._task
        self._end()
        if task is not None:
            await asyncio.wait((task,))

    def _end(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._metrics.shared = None

    async def _stay_connected(self, address: str) -> None:
        self._metrics.shared = False
        log, told, wait = logs.get(), "", _FIRST_WAIT
        connect = await asyncio.to_thread(_door)
        while True:
            began = self._clock()
            try:
                async with connect(address) as link:
                    # What is remembered comes first, then the news in their order: the newest last.
                    self._strangers = set(self._breakers)
                    await self._learn(link)
                    self._metrics.shared, told = True, ""
                    log.info("shared.connected")
                    await self._talk(link)
            except Exception as error:  # noqa: BLE001 -- whatever it is, we go on without the others
                if asyncio.current_task() is not self._task:
                    return  # it is we who have left, and closing has failed
                self._metrics.shared = False
                # Its text may quote the address, and that may hold a password.
                why = cause(error)
                if why != told:
                    log.warning("shared.lost", error=why)
                    told = why
            if self._clock() - began > _LAST_WAIT:
                wait = _FIRST_WAIT
            await asyncio.sleep(wait * self._random.uniform(0.5, 1))
            wait = min(2 * wait, _LAST_WAIT)

    async def _talk(self, link: "Link") -> None:
        # A Redis that has been restarted remembers nothing.
        self._notes = {**dict.fromkeys(self._opened), **self._notes}
        async with asyncio.TaskGroup() as both:
            both.create_task(self._listen(link))
            both.create_task(self._speak(link))

    async def _listen(self, link: "Link") -> None:
        while True:
            self._hear(await link.hear())

    async def _speak(self, link: "Link") -> None:
        while True:
            self._stirred.clear()
            await self._learn(link)
            while self._notes:
                key = next(iter(self._notes))
                told = self._news(key)
                del self._notes[key]
                if told is not None:
                    await link.tell(told)
            await self._stirred.wait()

    async def _learn(self, link: "Link") -> None:
        if self._strangers:
            asked, self._strangers = self._strangers, set()
            for news in await link.remembered(asked):
                self._hear(news)

    def _hear(self, news: News) -> None:
        breaker = self._breakers.get(news.circuit)
        if breaker is None or news.by == self._self:
            return
        if news.left > 0:
            breaker.hear_open(news.left, news.since)
        else:
            breaker.hear_closed(news.since)

    def _news(self, key: str) -> News | None:
        """Say how a circuit stands, where the others are to know."""
        breaker = self._breakers[key]
        if breaker.held is not None or breaker.mode != "enforce":
            return None
        if breaker.state is State.CLOSED:
            return News(self._self, key, 0.0, breaker.since)
        left = breaker.open_until - self._clock()
        return News(self._self, key, left, breaker.since) if left > 0 else None


def _door() -> Callable[[str], AbstractAsyncContextManager["Link"]]:
    # It takes most of a second to load: nobody waits for it, least of all who has no Redis.
    from proxy.shared.redis import connect  # noqa: PLC0415

    return connect
