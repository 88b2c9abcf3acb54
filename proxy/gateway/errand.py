"""One request at one upstream: attempts, until one is answered or the failure is the caller's.

The order of policies is the order of the indentation: retry ⊃ breaker ⊃ attempt timeouts ⊃ send.
An attempt is over when the body of its answer is, so all of that still stands around the relay.
"""

import asyncio
from dataclasses import dataclass, field, replace

from proxy import errors
from proxy.errors import OctoLLMError
from proxy.gateway import answers, dialects, routing, waits
from proxy.gateway.call import Call
from proxy.gateway.refusal import as_it_was, identity
from proxy.gateway.relay import as_a_stream, is_event_stream, relay
from proxy.gateway.runtime import Runtime
from proxy.gateway.streaming import Events, Streaming
from proxy.gateway.upstream import Plan, Upstream
from proxy.observe import catalogue
from proxy.policy.breaker import Permit
from proxy.policy.deadline import Deadline
from proxy.policy.retry import Decision, Failure, Verdict
from proxy.wire.body import Replay
from proxy.wire.headers import Pair, by_name, to_caller
from proxy.wire.message import Exchange, Limits, Outgoing, Reply
from proxy.wire.tunnel import Tunnel, accepts

ERROR_BODY_SECONDS = 5.0
"""An upstream's explanation is worth a moment, not a timeout."""


@dataclass(slots=True)
class Errand:
    """Everything that one request at one upstream is done with."""

    call: Call
    runtime: Runtime
    upstream: Upstream
    plan: Plan
    deadline: Deadline
    path: str
    target: str
    body: Replay | None
    reply: Reply
    headers: list[Pair] = field(default_factory=list)
    """The head as it goes out; made when the breaker has let the first attempt through."""
    tunnel: Tunnel | None = None
    """What an answer of 101 has led to. It outlives its attempt: the handshake is what is judged,
    and how a WebSocket ends says nothing about the upstream."""
    renewed: bool = False
    """A connection has been found stale, and another was asked for at once."""

    async def run(self) -> int:
        """Send the request until an answer has been relayed; raise the failure that stands.

        Gives the status of the answer.
        """
        failure: OctoLLMError | None = None
        while True:
            try:
                with self.upstream.breaker.admit() as permit:
                    status = await self._attempt(permit)
            except errors.CircuitOpenError as circuit:
                if failure is None:
                    raise
                # It opened while we waited: what the upstream last did says more than that.
                failure.retry_after = circuit.retry_after
                raise failure from None
            except OctoLLMError as error:
                if self.reply.started:
                    raise
                failure = error
                await self._wait_to_repeat(failure)
            else:
                if self.tunnel is not None:
                    await self._see_through(self.tunnel)
                return status

    async def _attempt(self, permit: Permit) -> int:
        """Send the request once, and relay its answer if that is one to pass on."""
        call = self.call
        call.tries()
        outcome: catalogue.Outcome | None = "cancelled"
        streams = False
        began = self.runtime.around.clock()
        try:
            with await self._send() as exchange:
                call.exchange = exchange
                if exchange.status == 101 and self._switch(exchange):
                    outcome = "success"
                    return exchange.status
                fields = by_name(exchange.headers)
                read = b""
                if not 200 <= exchange.status < 400:
                    read = await self._judge(exchange, fields)
                call.metrics.first_byte(call.stopwatch() - call.began)
                if exchange.status < 400:
                    headers = to_caller(exchange.headers) + identity(call)
                else:
                    headers = as_it_was(call, exchange)
                streams = exchange.length != 0 and is_event_stream(exchange.status, fields)
                if streams and b"content-encoding" not in fields:
                    await self._stream(exchange, headers, fields, permit)
                else:
                    permit.answered()
                    call.phase = "response"
                    if streams:
                        as_a_stream(call, exchange, self.plan.timeouts)
                    await relay(call, exchange, self.reply, headers, read)
            outcome = catalogue.outcome(exchange.status)
            return exchange.status
        except errors.CapacityExceededError as full:
            if not full.sent:  # no connection was free: the upstream was not asked
                outcome = None
                call.attempts -= 1
                self.upstream.limited.add()
            raise
        except errors.TimeoutError as timeout:
            if not streams and self._was_the_upstreams(timeout, began):
                timeout.condition = "timeout"
            outcome = catalogue.outcome(timeout)
            raise
        except OctoLLMError as error:
            outcome = catalogue.outcome(error)
            raise
        finally:
            if outcome is not None:
                self.upstream.metrics.attempt(outcome)

    def _switch(self, exchange: Exchange) -> bool:
        """Join caller and upstream, if a WebSocket was asked for and this is its handshake."""
        call, timeouts = self.call, self.plan.timeouts
        if not (call.request.upgrade and accepts(self.headers, exchange.headers)):
            return False
        upstream = exchange.switch()
        caller = self.reply.switch(to_caller(exchange.headers) + identity(call))
        until = None
        if timeouts.stream_total is not None:
            until = call.request.received + timeouts.stream_total
        self.tunnel = Tunnel(caller, upstream, timeouts.idle, until)
        call.metrics.first_byte(call.stopwatch() - call.began)
        return True

    async def _see_through(self, tunnel: Tunnel) -> None:
        began = self.call.stopwatch()
        try:
            await tunnel.ended()
        finally:
            self.call.waited(began)

    def _was_the_upstreams(self, passed: errors.TimeoutError, began: float) -> bool:
        """Tell whose fault a passed deadline is: ours in line, the caller's while it still sent."""
        received = self.body is None or self.body.ended
        mute = passed.condition is None and passed.sent
        return mute and received and self.deadline.blames_upstream(began)

    async def _send(self) -> Exchange:
        """Send the request, and wait for the head of its answer."""
        call, timeouts = self.call, self.plan.timeouts
        headers = self.headers
        if not headers:
            headers = self.headers = self.upstream.head(call, self.runtime.via)
        elif self.body is None or self.body.ended:
            # The body is at hand; nobody is left to be told to continue.
            headers = [pair for pair in headers if pair[0].lower() != b"expect"]
        body = None if self.body is None else self.body.open()
        request = Outgoing(call.request.method, self.target, headers, body, call.request.upgrade)
        limits = Limits(timeouts.connect, timeouts.first_byte, timeouts.idle, self.deadline.at)
        began = call.stopwatch()
        try:
            return await self.upstream.client.exchange(request, limits, self.reply.interim)
        finally:
            call.waited(began)

    async def _stream(
        self,
        exchange: Exchange,
        headers: list[Pair],
        fields: dict[bytes, bytes],
        permit: Permit,
    ) -> None:
        """Relay an event stream; an error in its first event is a failure as any other."""
        plan, streams = self.plan, self.runtime.around.streams
        dialect = dialects.of(self.upstream.origin.provider, routing.path_of(self.target))
        # Who waits for the head of a stream waits for an answer; only its own patience ends that,
        # or, where all of it is held back, the limit of any answer.
        waits_as_any = plan.stream.mode == "verified" or self.deadline.by == "caller"
        until = self.deadline.at if waits_as_any else None
        streams.add(exchange)
        try:
            await Streaming(
                call=self.call,
                events=Events(
                    self.call,
                    exchange,
                    dialect,
                    plan.timeouts,
                    until=until,
                    clock=self.runtime.around.clock,
                ),
                reply=self.reply,
                status=exchange.status,
                headers=headers,
                dialect=dialect,
                settings=plan.stream,
                answered=permit.answered,
                means=lambda fault: self._meaning(fault, fields),
                refuse=lambda fault, events: self._refuse(fault, fields, events),
            ).run()
        finally:
            streams.discard(exchange)

    def _meaning(self, fault: dialects.Fault, fields: dict[bytes, bytes]) -> OctoLLMError:
        """Give what an error event stands for."""
        asked = waits.asked(fault.status, fields, self.runtime.around.wall())
        return answers.translate(fault.status, {}, fault.data.encode(), self.upstream.origin, asked)

    def _refuse(self, fault: dialects.Fault, fields: dict[bytes, bytes], events: bytes) -> None:
        """Raise what an error event stands for, unless it passes as it is, like its status."""
        if answers.passes(fault.status, self.upstream.origin, self.plan.rewrite):
            if fault.status not in self.plan.retry_on:
                return
            self.call.verbatim = events
        raise self._meaning(fault, fields)

    async def _judge(self, exchange: Exchange, fields: dict[bytes, bytes]) -> bytes:
        """Raise what a bad answer stands for, or give what was read of one that passes as it is."""
        status, origin = exchange.status, self.upstream.origin
        passes = answers.passes(status, origin, self.plan.rewrite)
        if passes and status not in self.plan.retry_on and not waits.should_retry(fields):
            return b""
        body, whole = await self._read_error(exchange)
        if passes:
            if not whole:
                return body
            self.call.verbatim = body
        asked = waits.asked(status, fields, self.runtime.around.wall())
        raise answers.translate(status, fields, body, origin, asked)

    async def _read_error(self, exchange: Exchange) -> tuple[bytes, bool]:
        """Read an error's body as far as it is of use; say whether that is all of it."""
        limits = exchange.limits
        patience = self.runtime.around.clock() + ERROR_BODY_SECONDS
        exchange.limits = replace(limits, deadline=min(patience, limits.deadline or patience))
        began = self.call.stopwatch()
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
            self.call.waited(began)
            exchange.limits = limits
        return bytes(body), False

    async def _wait_to_repeat(self, failure: OctoLLMError) -> None:
        """Wait as long as the retry policy says, or raise *failure* where there is no retry."""
        call, upstream = self.call, self.upstream
        stale = isinstance(failure, errors.NetworkError) and failure.stale
        at_once, self.renewed = stale and not self.renewed, self.renewed or stale
        decision = self.plan.retry.decide(
            Failure(
                error=failure,
                attempts=call.attempts,
                asked=failure.retry_after,
                should_retry=self._should_retry(),
                remaining=self.deadline.remaining(self.runtime.around.clock()),
                body_whole=self.body is None or self.body.whole,
                may_repeat=self._may_repeat(),
                would_admit=upstream.breaker.would_admit(),
                at_once=at_once,
            ),
            upstream.budget,
        )
        if decision.wait is None:
            self._give_up(failure, decision)
            raise failure
        condition = failure.condition
        assert condition is not None  # what has none is never retried
        reason = catalogue.fault(condition)
        upstream.metrics.retry(reason)
        call.log.info(
            "retry.scheduled",
            request_id=call.request_id,
            attempt=call.attempts + 1,
            wait_ms=round(decision.wait * 1000),
            reason=reason,
        )
        began = call.stopwatch()
        try:
            await asyncio.sleep(decision.wait)
        finally:
            call.elsewhere += call.stopwatch() - began

    def _give_up(self, failure: OctoLLMError, decision: Decision) -> None:
        """Note why there is no retry, where that is worth knowing."""
        call, upstream = self.call, self.upstream
        if decision.suppressed is not None:
            upstream.metrics.retry_suppressed(decision.suppressed)
        match decision.verdict:
            case Verdict.BREAKER:
                failure.retry_after = upstream.breaker.retry_after()
            case Verdict.DECLINED:
                call.declined = True
            case Verdict.EXHAUSTED:
                if not upstream.breaker.would_admit():
                    failure.retry_after = upstream.breaker.retry_after()
                call.log.warning(
                    "retry.exhausted",
                    request_id=call.request_id,
                    attempts=call.attempts,
                    reason=catalogue.outcome(failure),
                )

    def _may_repeat(self) -> bool:
        call = self.call
        return self.upstream.may_repeat(
            call.request.method,
            self.path,
            b"idempotency-key" in call.fields,
            self.plan.unsafe_methods,
        )

    def _should_retry(self) -> bool | None:
        if self.call.exchange is None:
            return None
        return waits.should_retry(by_name(self.call.exchange.headers))
