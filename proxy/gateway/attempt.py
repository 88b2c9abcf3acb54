"""One attempt: a request sent once, and its answer seen through to the caller.

An attempt is over when the body of its answer is, so the permit of the breaker and the limits of
time still stand around the relay. What is to follow a failure is `errand`'s to say.
"""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from proxy import errors
from proxy.errors import OctoLLMError
from proxy.gateway import answers, dialects, routing
from proxy.gateway.call import Call
from proxy.gateway.race import Race
from proxy.gateway.refusal import as_it_was, identity
from proxy.gateway.relay import as_a_stream, is_event_stream, relay
from proxy.gateway.runtime import Runtime
from proxy.gateway.streaming import Events, Streaming
from proxy.gateway.upstream import Plan, Upstream
from proxy.observe import catalogue
from proxy.policy.breaker import Permit
from proxy.policy.deadline import Deadline
from proxy.semantics import waits
from proxy.wire.body import Replay
from proxy.wire.headers import Pair, by_name, to_caller
from proxy.wire.message import Exchange, Limits, Outgoing, Reply
from proxy.wire.tunnel import Tunnel, accepts

if TYPE_CHECKING:  # who does not trace does not load it
    from proxy.observe.tracing import AttemptSpan

ERROR_BODY_SECONDS = 5.0
"""An upstream's explanation is worth a moment, not a timeout."""


class Others(Protocol):
    """Who could be asked instead of the present upstream."""

    @property
    def heeded(self) -> frozenset[int]:
        """The statuses of callers' faults for which one of them might be."""
        ...

    def would_take(self, failure: OctoLLMError) -> bool:
        """Say whether one of them would be asked after *failure*, and could be now."""
        ...


@dataclass(slots=True)
class Order:
    """What is asked of one upstream, and all that an attempt at it needs."""

    call: Call
    runtime: Runtime
    upstream: Upstream
    plan: Plan
    deadline: Deadline
    path: str
    target: str
    body: Replay | None
    reply: Reply
    callers_key: bool = True
    """The caller's own credential goes to this upstream."""
    others: Others | None = None
    """Who could be asked instead; None: nobody."""
    headers: list[Pair] = field(default_factory=list)
    """The head as it goes out; made when the breaker has let the first attempt through."""

    def can_be_sent(self) -> bool:
        """Tell whether it would go out at once: past breaker and gate, and into a free place."""
        places = self.upstream.places
        if places is not None and places.full:
            return False
        key = self.upstream.key(self.call, callers_key=self.callers_key)
        return not self.upstream.unavailable_for(key)


class Attempt:
    """One attempt at an *order*. In a *race* only one of several may answer.

    Until one has won, what the first of them meets is what is known of the call.

    `tunnel` is what an answer of 101 has led to. It outlives its attempt: the handshake is what is
    judged, and how a WebSocket ends says nothing about the upstream.
    """

    __slots__ = ("_leads", "_order", "_permit", "_race", "_span", "_streams", "tunnel")

    def __init__(self, order: Order, permit: Permit, race: Race | None) -> None:
        self._order = order
        self._permit = permit
        self._race = race
        self._leads = race is None or race.leads()
        self._streams = False
        self._span: AttemptSpan | None = None
        self.tunnel: Tunnel | None = None

    async def run(self) -> int:
        """Send the request, see its answer through, and count how that ended; give its status."""
        order = self._order
        if self._leads:
            order.call.tries(order.upstream.name)
        else:
            order.call.attempts += 1
        if order.call.span is not None:
            self._span = order.call.span.attempt(
                order.upstream.settings, order.path, order.call.attempts - 1
            )
        outcome: catalogue.Outcome | None = "cancelled"
        failure: OctoLLMError | None = None
        began = order.runtime.around.clock()
        try:
            with await self._send() as exchange:
                if self._leads:
                    order.call.exchange = exchange
                if self._span is not None:
                    self._span.answered(exchange.status)
                await self._take(exchange)
            outcome = "success" if self.tunnel else catalogue.outcome(exchange.status)
            return exchange.status
        except errors.CapacityExceededError as full:
            failure = full
            if not full.sent:  # no connection was free: the upstream was not asked
                outcome = None
                order.call.attempts -= 1
                order.upstream.turned_away("concurrency")
            raise
        except errors.TimeoutError as timeout:
            failure = timeout
            if not self._streams and self._was_the_upstreams(timeout, began):
                timeout.condition = "timeout"
            outcome = catalogue.outcome(timeout)
            raise
        except OctoLLMError as error:
            failure = error
            outcome = catalogue.outcome(error)
            raise
        finally:
            if outcome is not None:
                order.upstream.metrics.attempt(outcome)
            if self._span is not None:
                self._span.end(outcome, failure)

    async def _take(self, exchange: Exchange) -> None:
        """Relay an answer, if it is one to pass on; else raise what it stands for."""
        call = self._order.call
        if exchange.status == 101 and self._switch(exchange):
            return
        fields = by_name(exchange.headers)
        read = b""
        if not 200 <= exchange.status < 400:
            read = await self._judge(exchange, fields)
        if self._race is not None:
            self._win(self._race, exchange)
        call.metrics.first_byte(call.stopwatch() - call.began)
        if exchange.status < 400:
            headers = to_caller(exchange.headers, fields=fields) + identity(call)
        else:
            headers = as_it_was(call, exchange)
        self._streams = exchange.length != 0 and is_event_stream(exchange.status, fields)
        if self._streams and b"content-encoding" not in fields:
            await self._stream(exchange, headers, fields)
        else:
            self._permit.answered()
            call.phase = "response"
            if self._streams:
                as_a_stream(call, exchange, self._order.plan.timeouts)
            await relay(call, exchange, self._order.reply, headers, read)

    def _win(self, race: Race, exchange: Exchange) -> None:
        """Be the one attempt of several that goes on."""
        first = race.won()
        self._order.call.answered(self._order.upstream.name, exchange)
        if len(race) > 1:
            self._order.call.metrics.hedged("lost" if first else "won")

    def _switch(self, exchange: Exchange) -> bool:
        """Join caller and upstream, if a WebSocket was asked for and this is its handshake."""
        call, timeouts = self._order.call, self._order.plan.timeouts
        if not (call.request.upgrade and accepts(self._order.headers, exchange.headers)):
            return False
        upstream = exchange.switch()
        caller = self._order.reply.switch(to_caller(exchange.headers) + identity(call))
        until = None
        if timeouts.stream_total is not None:
            until = call.request.received + timeouts.stream_total
        self.tunnel = Tunnel(caller, upstream, timeouts.idle, until)
        call.metrics.first_byte(call.stopwatch() - call.began)
        return True

    def _was_the_upstreams(self, passed: errors.TimeoutError, began: float) -> bool:
        """Tell whose fault a passed deadline is: ours in line, the caller's while it still sent."""
        received = self._order.body is None or self._order.body.ended
        mute = passed.condition is None and passed.sent
        return mute and received and self._order.deadline.blames_upstream(began)

    async def _send(self) -> Exchange:
        """Send the request, and wait for the head of its answer."""
        order = self._order
        call, timeouts = order.call, order.plan.timeouts
        headers = order.headers
        if not headers:
            headers = order.headers = order.upstream.head(
                call, order.runtime.via, callers_key=order.callers_key
            )
        if call.attempts > 1 and (order.body is None or order.body.ended):
            # The body is at hand; nobody is left to be told to continue.
            headers = [pair for pair in headers if pair[0].lower() != b"expect"]
        if self._span is not None and order.upstream.settings.forward.trace:
            headers = self._span.onto(headers)
        body = None if order.body is None else order.body.open()
        request = Outgoing(call.request.method, order.target, headers, body, call.request.upgrade)
        limits = Limits(timeouts.connect, timeouts.first_byte, timeouts.idle, order.deadline.at)
        began = call.stopwatch()
        try:
            return await order.upstream.client.exchange(request, limits, order.reply.interim)
        finally:
            call.waited(began)

    async def _stream(
        self,
        exchange: Exchange,
        headers: list[Pair],
        fields: dict[bytes, bytes],
    ) -> None:
        """Relay an event stream; an error in its first event is a failure as any other."""
        order, around = self._order, self._order.runtime.around
        plan, streams = order.plan, around.streams
        dialect = dialects.of(order.upstream.origin.provider, routing.path_of(order.target))
        # Who waits for the head of a stream waits for an answer; only its own patience ends that,
        # or, where all of it is held back, the limit of any answer.
        waits_as_any = plan.stream.mode == "verified" or order.deadline.by == "caller"
        until = order.deadline.at if waits_as_any else None
        streams.add(exchange)
        try:
            await Streaming(
                call=order.call,
                events=Events(
                    order.call,
                    exchange,
                    dialect,
                    plan.timeouts,
                    until=until,
                    clock=around.clock,
                ),
                reply=order.reply,
                status=exchange.status,
                headers=headers,
                dialect=dialect,
                settings=plan.stream,
                answered=self._permit.answered,
                means=lambda fault: self._meaning(fault, fields),
                refuse=lambda fault, events: self._refuse(fault, fields, events),
            ).run()
        finally:
            streams.discard(exchange)

    def _meaning(self, fault: dialects.Fault, fields: dict[bytes, bytes]) -> OctoLLMError:
        """Give what an error event stands for."""
        asked = waits.asked(fault.status, fields, self._order.runtime.around.wall())
        self._shut_gate(fault.status, asked)
        return self._translate(fault.status, {}, fault.data.encode(), asked)

    def _refuse(self, fault: dialects.Fault, fields: dict[bytes, bytes], events: bytes) -> None:
        """Raise what an error event stands for, unless it passes as it is, like its status."""
        if self._passes(fault.status):
            if not self._is_heeded(fault.status):
                return
            self._order.call.verbatim = events
        raise self._meaning(fault, fields)

    async def _judge(self, exchange: Exchange, fields: dict[bytes, bytes]) -> bytes:
        """Raise what a bad answer stands for, or give what was read of one that passes as it is."""
        status = exchange.status
        passes = self._leads and self._passes(status)  # no hedge wins with a bad answer
        final = not self._is_heeded(status) and not waits.should_retry(fields)
        if passes and final:
            return b""
        if final and self._race is not None and self._leads:
            self._race.won()  # another attempt would be told the same
        body, whole = await self._read_error(exchange)
        if passes:
            if not whole:
                return body
            self._order.call.verbatim = body
        asked = waits.asked(status, fields, self._order.runtime.around.wall())
        self._shut_gate(status, asked)
        raise self._translate(status, fields, body, asked)

    def _translate(
        self, status: int, fields: dict[bytes, bytes], body: bytes, asked: float | None
    ) -> OctoLLMError:
        upstream = self._order.upstream
        keys = upstream.keys(self._order.headers)
        return answers.translate(status, fields, body, upstream.origin, asked, keys=keys)

    def _passes(self, status: int) -> bool:
        """Tell whether an error of this status goes to the caller as the upstream said it."""
        return answers.passes(status, self._order.upstream.origin, self._order.plan.rewrite)

    def _is_heeded(self, status: int) -> bool:
        """Tell whether something else can follow an error of this status than to pass it on."""
        order = self._order
        named = order.others is not None and status in order.others.heeded
        return named or status in order.plan.retry_on

    def _shut_gate(self, status: int, asked: float | None) -> None:
        """Let other calls with this credential leave the upstream alone as long."""
        upstream = self._order.upstream
        if asked and status in (429, 503) and upstream.settings.limits.throttle:
            key = upstream.key(self._order.call, callers_key=self._order.callers_key)
            upstream.gate.shut(key, asked, self._order.plan.max_retry_after)

    async def _read_error(self, exchange: Exchange) -> tuple[bytes, bool]:
        """Read an error's body as far as it is of use; say whether that is all of it."""
        limits = exchange.limits
        patience = self._order.runtime.around.clock() + ERROR_BODY_SECONDS
        exchange.limits = replace(limits, deadline=min(patience, limits.deadline or patience))
        began = self._order.call.stopwatch()
        body = bytearray()
        try:
            while len(body) < answers.BODY_LIMIT:
                data = await exchange.read()
                if not data:
                    return bytes(body), True
                body += data
        except (errors.NetworkError, errors.TimeoutError):
            pass  # the status says enough
        finally:
            self._order.call.waited(began)
            exchange.limits = limits
        return bytes(body), False
