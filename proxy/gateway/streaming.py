"""Event streams on their way to the caller: a cut one never looks whole, an early error is one.

Events come from the upstream through `Events`, whole and with the stream's own limits. `live` sends
each on at once, its head held until the first event is known to be good; `verified` holds them all
back until the stream is complete. What fails before the head is raised and may be tried again;
after it, it becomes an event on which the provider's client raises, and the answer ends without
its final chunk.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from proxy import errors
from proxy.config.schema import Stream, Timeouts
from proxy.errors import OctoLLMError
from proxy.gateway.call import Call
from proxy.gateway.dialects import Dialect, Fault
from proxy.gateway.relay import let_the_caller_read
from proxy.wire import sse
from proxy.wire.headers import Pair
from proxy.wire.message import Exchange, Reply

LAST_SECONDS = 0.25
"""How long we wait, after a stream's last event, for the end of its body: it saves a connection."""

_REMEMBERED = 8
"""Pieces of a stream that are looked through for a finish when no last event came."""

_PING = b": ping\n\n"
_UNVERIFIED = (b"X-OctoLLM-Stream", b"live")


class Events:
    """A stream of whole events, from the first to the last.

    Until its head is *released* the stream is over at *until*, if not before. `next` raises
    TimeoutError past `first_event` or `idle` (timeout) and past *until* or `stream_total`
    (condition None), and NetworkError(cut) where the stream ends before its end.
    """

    def __init__(
        self,
        call: Call,
        exchange: Exchange,
        dialect: Dialect,
        timeouts: Timeouts,
        *,
        until: float | None,
        clock: Callable[[], float],
    ) -> None:
        self.scanner = sse.Scanner()
        self.begun = False
        """An event has come that was not a comment."""
        self._call = call
        self._exchange = exchange
        self._dialect = dialect
        self._timeouts = timeouts
        self._clock = clock
        self._began = clock()
        total = timeouts.stream_total
        self._total_by = None if total is None else call.request.received + total
        self._recent: deque[bytes] = deque(maxlen=_REMEMBERED)
        self._last = 0.0
        self._ended = False
        limits = [at for at in (until, self._total_by) if at is not None]
        deadline = min(limits, default=None)
        exchange.limits = replace(exchange.limits, idle=timeouts.idle, deadline=deadline)

    def released(self) -> None:
        """Note that the head is out: from here on only the stream's own time counts."""
        self._exchange.limits = replace(self._exchange.limits, deadline=self._total_by)

    async def next(self) -> bytes:
        """Wait for the next events, one or several whole ones; `b""` is the proper end."""
        while not self._ended:
            began = self._call.stopwatch()
            try:
                data = await (self._exchange.read() if self.begun else self._read_first())
            finally:
                self._call.waited(began)
            if not data:
                return self._end()
            before = self.scanner.events
            events = self.scanner.feed(data)
            if events:
                if self.begun or sse.speaks(events):
                    self._count(self.scanner.events - before)
                self._recent.append(events)
                self._ended = self._dialect.is_end(events)
                return events
        return b""

    async def close(self) -> None:
        """Wait a moment for the body's end, which lets the connection be used again."""
        by = self._clock() + LAST_SECONDS
        self._exchange.limits = replace(self._exchange.limits, deadline=by)
        began = self._call.stopwatch()
        try:
            while await self._exchange.read():
                pass
        except OctoLLMError:
            pass  # the last event has come; how the connection ends does not matter
        finally:
            self._call.waited(began)

    async def _read_first(self) -> bytes:
        """Wait for bytes of the first event; comments may come before it, and buy no more time."""
        first = self._timeouts.first_event
        if first is None:
            return await self._exchange.read()
        idle = max(0.0, self._began + first - self._clock())
        self._exchange.limits = replace(self._exchange.limits, idle=idle)
        try:
            return await self._exchange.read()
        except errors.TimeoutError as late:
            if late.condition is None:
                raise
            raise errors.TimeoutError(
                "waiting for the first event", first, condition="timeout"
            ) from None

    def _end(self) -> bytes:
        """Judge the end of the body; gives what is left of the stream."""
        self._ended = True
        rest, self.scanner.rest = self.scanner.rest, b""
        seen = b"".join(self._recent) + rest
        if not (self._dialect.is_end(rest) or self._dialect.finished.search(seen)):
            raise errors.NetworkError("the upstream's stream ended before its end", condition="cut")
        return rest

    def _count(self, events: int) -> None:
        now = self._call.stopwatch()
        if self.begun:
            self._call.metrics.events(events, now - self._last)
        else:
            self.begun = True
            self._exchange.limits = replace(self._exchange.limits, idle=self._timeouts.idle)
            self._call.metrics.first_event(events, now - self._call.began)
        self._last = now


class Streaming:
    """One event stream, from a good head to its end at the caller.

    *answered* is called when the stream is known to have begun well. Of an error event, *means*
    gives what it stands for; *refuse* raises that, unless such errors pass as they are.
    """

    def __init__(
        self,
        *,
        call: Call,
        events: Events,
        reply: Reply,
        status: int,
        headers: list[Pair],
        dialect: Dialect,
        settings: Stream,
        answered: Callable[[], None],
        means: Callable[[Fault], OctoLLMError],
        refuse: Callable[[Fault, bytes], None],
    ) -> None:
        self._call = call
        self._events = events
        self._reply = reply
        self._status = status
        self._headers = headers
        self._dialect = dialect
        self._settings = settings
        self._answered = answered
        self._means = means
        self._refuse = refuse
        self._failed: OctoLLMError | None = None

    async def run(self) -> None:
        """Send the stream on. Raises what made it fail, told to the caller or not."""
        try:
            held = await self._hold()
            self._start()
            await self._go_on(held)
        except OctoLLMError as error:
            if self._failed is not None and self._reply.started:
                raise self._failed from error  # after an error the caller expects no end
            self._tell(error)
            raise
        self._reply.finish()
        await self._events.close()
        if self._failed is not None:
            raise self._failed  # the caller has it from the upstream itself; the breaker has not

    async def _hold(self) -> list[bytes]:
        """Hold back what must be known before the head goes out."""
        if self._settings.mode == "verified":
            return await self._hold_all()
        if self._settings.hold_head:
            return [await self._hold_first()]
        self._answered()
        return []

    async def _hold_first(self) -> bytes:
        """Hold the first event back, and the comments before it: they say nothing of what comes."""
        held = b""
        while events := await self._events.next():
            held += events
            if self._events.begun or len(held) > sse.EVENT_LIMIT:
                break
        self._check(held)
        self._answered()
        return held

    async def _hold_all(self) -> list[bytes]:
        """Hold the whole stream back, or as much as `buffer_limit` allows."""
        held: list[bytes] = []
        room = self._events.scanner.limit = self._settings.buffer_limit
        while events := await self._next_or_ping():
            self._check(events)
            self._answered()
            held.append(events)
            room -= len(events)
            if room < 0:
                self._headers.append(_UNVERIFIED)
                self._call.metrics.unverified()
                break
            if not all(map(self._dialect.is_well_formed, sse.split(events))):
                raise errors.NetworkError(
                    "the upstream's stream holds an event that is not well-formed",
                    condition="protocol",
                )
            self._events.scanner.limit = room
        self._events.scanner.limit = sse.EVENT_LIMIT
        return held

    async def _next_or_ping(self) -> bytes:
        """Wait for events, and show the caller's timers that we do."""
        interval = self._settings.ping
        if not interval:
            return await self._events.next()
        coming = asyncio.ensure_future(self._events.next())
        try:
            while not (await asyncio.wait((coming,), timeout=interval))[0]:
                self._start()
                self._reply.write(_PING)
                self._reply.flush()
            return coming.result()
        finally:
            coming.cancel()

    def _check(self, events: bytes) -> None:
        """Raise the error that stands among events which are held back."""
        fault = self._dialect.fault(events)
        if fault is not None:
            self._refuse(fault, events)

    def _start(self) -> None:
        if not self._reply.started:
            self._reply.start(self._status, self._headers, None)
            self._events.released()
            self._call.phase = "response"

    async def _go_on(self, held: list[bytes]) -> None:
        """Send what was held, and everything that follows as it comes."""
        if not held:
            self._reply.flush()
        held.reverse()
        while events := held.pop() if held else await self._events.next():
            fault = self._dialect.fault(events)
            if fault is not None:
                self._failed = self._means(fault)
            self._call.told = "events"
            self._reply.write(events)
            if self._reply.congested:
                await let_the_caller_read(self._call, self._reply)

    def _tell(self, error: OctoLLMError) -> None:
        """Say what went wrong in the only way that is left, as the stream's last event."""
        if not self._reply.started:
            if error.condition in ("cut", "protocol"):
                # Nobody has seen anything of it: it is an answer that never came.
                error.condition = "reset"
        elif not self._events.scanner.midway:
            error.details["request_id"] = self._call.request_id
            self._reply.write(self._dialect.write(error))
