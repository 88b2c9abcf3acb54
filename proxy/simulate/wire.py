"""The upstream as the gateway meets it: the seam of `wire/message.py`, without a wire.

Rule 1: it fails only in the ways the real wire does, with the same errors at the same moments.
Rule 2: what happens is `world.fate`'s to say; here it only comes to pass.

Connections cost no time and are never found stale, and bodies are short: an answer is there as
soon as its head is.
"""

import asyncio
from collections.abc import Callable
from math import inf
from random import Random
from typing import Self

from proxy import errors
from proxy.config import schema
from proxy.simulate.record import Record
from proxy.simulate.scenario import Scenario
from proxy.simulate.world import Fate, fate
from proxy.wire.message import Headers, Limits, Outgoing, Timings
from proxy.wire.tunnel import Line

_WHOLE = b'{"object": "simulated"}'
_ERROR = b'{"error": {"message": "simulated"}}'
_JSON = (b"content-type", b"application/json")


class Wire:
    """Connections to an upstream whose fate is *scenario*'s; *record* hears of each attempt."""

    def __init__(
        self, settings: schema.Upstream, scenario: Scenario, record: Record, random: Random
    ) -> None:
        self._scenario = scenario
        self._record = record
        self._random = random
        self._loop = asyncio.get_running_loop()
        self._places = asyncio.Semaphore(settings.limits.connections)
        self._pending = settings.limits.pending
        self._waiting = 0

    async def exchange(
        self,
        request: Outgoing,
        limits: Limits,
        interim: Callable[[int, Headers], None] | None = None,  # noqa: ARG002 -- the seam's
    ) -> "Exchange":
        await self._take_place(limits)
        try:
            return await self._send(request, limits)
        except BaseException:
            self._places.release()
            raise

    def retire(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def _take_place(self, limits: Limits) -> None:
        """Have a connection, as `wire/pool.py` gives them out."""
        if not self._places.locked():
            await self._places.acquire()
            return
        if self._waiting >= self._pending:
            raise errors.CapacityExceededError(
                "too many calls to this upstream wait for a connection", retry_after=1, sent=False
            )
        self._waiting += 1
        began = self._loop.time()
        try:
            async with asyncio.timeout_at(limits.deadline):
                await self._places.acquire()
        except TimeoutError:
            seconds = (limits.deadline or inf) - began
            raise errors.TimeoutError("the call", seconds, sent=False) from None
        finally:
            self._waiting -= 1

    async def _send(self, request: Outgoing, limits: Limits) -> "Exchange":
        now = self._loop.time()
        met = fate(self._scenario, self._record.since(now), self._random)
        self._record.attempted(now)
        if met.kind == "refused":
            raise errors.NetworkError("connection refused", condition="connect", sent=False)
        if request.body is not None:
            while await request.body.read():
                pass
        headed = inf if met.kind == "hang" else now + met.seconds
        await self._wait(now, headed, limits)
        if met.kind is None:
            self._record.answered()
        return Exchange(met, limits, Timings(now, None, now, headed), self._places.release)

    async def _wait(self, now: float, headed: float, limits: Limits) -> None:
        """Wait for the head, or raise what the first limit to pass means."""
        late = inf if limits.first_byte is None else now + limits.first_byte
        deadline = inf if limits.deadline is None else limits.deadline
        until = min(headed, late, deadline)
        if until == inf:
            await self._loop.create_future()  # whoever waits without a limit ends by leaving
        await asyncio.sleep(max(0.0, until - now))
        if until == headed:
            return
        if until == deadline:
            raise errors.TimeoutError("the call", deadline - now)
        raise errors.TimeoutError(
            "waiting for the answer", limits.first_byte or 0.0, condition="timeout"
        )


class Exchange:
    """An answer that is there at once, whole or cut."""

    reused = False

    def __init__(
        self, met: Fate, limits: Limits, timings: Timings, release: Callable[[], None]
    ) -> None:
        failed = met.kind not in (None, "slow", "cut")
        self.status = int(met.kind or 200) if failed else 200
        body = _ERROR if failed else _WHOLE
        self.length: int | None = len(body)
        self.headers: Headers = [_JSON, (b"content-length", b"%d" % len(body))]
        if met.retry_after is not None:
            self.headers = [*self.headers, (b"retry-after", b"%g" % met.retry_after)]
        self.timings = timings
        self.limits = limits
        self._cut = met.kind == "cut"
        self._rest = body[: len(body) // 2] if self._cut else body
        self._release = release

    async def read(self) -> bytes:
        data = self.read_nowait()
        if data is None:
            raise errors.NetworkError("the upstream's answer was cut short", condition="cut")
        return data

    def read_nowait(self) -> bytes | None:
        data, self._rest = self._rest, b""
        return data if data or not self._cut else None

    def fail(self, error: Exception) -> None:
        """Do nothing: no answer here is an event stream, and only those are ended from outside."""

    def switch(self) -> Line:
        raise errors.NetworkError("no WebSocket is simulated", condition="cut")

    def close(self) -> None:
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
