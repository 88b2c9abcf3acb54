"""One request at one upstream: attempts, until one is answered or the failure is the caller's.

The order of policies is the order of the indentation: retry ⊃ hedge ⊃ throttle gate ⊃ place ⊃
breaker ⊃ attempt.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from math import inf

from proxy import errors
from proxy.errors import OctoLLMError
from proxy.gateway.attempt import Attempt, Order
from proxy.gateway.race import Race, Runner
from proxy.observe import catalogue
from proxy.policy.retry import Decision, Failure, Verdict
from proxy.semantics import waits
from proxy.wire.headers import by_name
from proxy.wire.tunnel import Tunnel

_NO_PLACE: AbstractContextManager[None] = nullcontext()


class Errand:
    """An order, and what has been done about it.

    *beside* are orders that may run at the same time, for hedged attempts; after them this one
    again.
    """

    __slots__ = ("_attempts", "_beside", "_order", "_renewed", "_tunnel", "_waited")

    def __init__(self, order: Order, beside: Iterable[Order] = ()) -> None:
        self._order = order
        self._beside = iter(beside)
        self._attempts = 0
        self._waited = 0.0
        self._tunnel: Tunnel | None = None
        self._renewed = False
        """A connection has been found stale, and another was asked for at once."""

    async def run(self) -> int:
        """Send the request until an answer has been relayed; raise the failure that stands.

        Gives the status of the answer.
        """
        failure: OctoLLMError | None = None
        hedges = self._order.plan.hedge.delay is not None and self._may_hedge()
        self._order.upstream.budget.deposit()
        while True:
            self._attempts += 1
            try:
                status = await (self._hedged() if hedges else self._once(self._order))
            except errors.CircuitOpenError as circuit:
                if self._order.call.span is not None:
                    upstream = self._order.upstream.name
                    self._order.call.span.note("breaker.rejected", upstream=upstream)
                if failure is None:
                    raise
                # It opened while we waited: what the upstream last did says more than that.
                failure.retry_after = circuit.retry_after
                raise failure from None
            except OctoLLMError as error:
                if self._order.reply.started:
                    raise
                failure = error
                await self._wait_to_repeat(failure)
            else:
                if self._tunnel is not None:
                    await self._see_through(self._tunnel)
                return status

    async def _once(self, order: Order, race: Race | None = None) -> int:
        """Make one attempt, when the gate and if the breaker let it go."""
        upstream = order.upstream
        if order is not self._order:
            upstream.take_rate(order.call)
        if upstream.gate:
            await self._pass_gate(order)
        with (
            await self._place(order) if upstream.places else _NO_PLACE,
            upstream.breaker.admit() as permit,
            upstream.load,
        ):
            attempt = Attempt(order, permit, race)
            status = await attempt.run()
        self._tunnel = attempt.tunnel
        return status

    async def _place(self, order: Order) -> AbstractContextManager[None]:
        """Wait in line for a place; for an open circuit, which turns the call away, nobody does."""
        upstream = order.upstream
        while upstream.breaker.would_admit():
            place = await upstream.place(order.call, order.deadline)
            if not upstream.gate:
                return place
            if not upstream.gate.wait(upstream.key(order.call, callers_key=order.callers_key)):
                return place
            with place:
                pass  # the gate was shut meanwhile: who waits for it keeps nobody else out
            await self._pass_gate(order)
        return _NO_PLACE

    async def _pass_gate(self, order: Order) -> None:
        """Leave the upstream alone as long as it has told this key to.

        Raises RateLimitError with the time left, where that is too long to wait.
        """
        call, upstream, around = order.call, order.upstream, order.runtime.around
        key = upstream.key(call, callers_key=order.callers_key)
        while left := upstream.gate.wait(key):
            asked = upstream.gate.asked(key)
            told = errors.RateLimitError.rebuild(
                f"{upstream.name} has asked to be left alone", retry_after=asked
            )
            # Not all at the same moment.
            wait = left * around.random.uniform(1, 1.2)
            patience = self._patience(told)
            remaining = order.deadline.remaining(around.clock())
            limits = (
                inf if patience is None else patience,
                inf if remaining is None else remaining,
            )
            if wait >= min(limits, default=inf) or asked > order.plan.max_retry_after:
                call.declined = True
                upstream.turned_away("throttle")
                raise told
            self._waited += wait
            if call.span is not None:
                call.span.note("throttle.waiting", wait_ms=round(wait * 1000))
            await call.pause(wait)

    def _may_hedge(self) -> bool:
        """Tell whether a second attempt may run beside a slow first: only what only reads."""
        if self._order.call.request.upgrade:
            return False
        return self._order.upstream.only_reads(self._order.call.request.method, self._order.path)

    async def _hedged(self) -> int:
        """Make one attempt, and others beside it while it is silent."""
        hedge, race = self._order.plan.hedge, Race()
        left = hedge.max

        def another() -> Runner | None:
            nonlocal left
            order = self._another() if left else None
            left -= 1
            return None if order is None else self._once(order, race)

        assert hedge.delay is not None
        return await race.run(self._once(self._order, race), another, hedge.delay)

    def _another(self) -> Order | None:
        """Give an order to run beside this one, if body, upstreams and budget allow it."""
        body = self._order.body
        if body is not None and not (body.ended and body.whole):
            return None
        candidates = chain(self._beside, (self._order,))
        order = next((order for order in candidates if order.can_be_sent()), None)
        if order is None:
            return None
        if not order.upstream.budget.withdraw():
            order.upstream.metrics.retry_suppressed("budget")
            return None
        return order

    async def _see_through(self, tunnel: Tunnel) -> None:
        began = self._order.call.stopwatch()
        try:
            await tunnel.ended()
        finally:
            self._order.call.waited(began)

    async def _wait_to_repeat(self, failure: OctoLLMError) -> None:
        """Wait as long as the retry policy says, or raise *failure* where there is no retry."""
        call, upstream = self._order.call, self._order.upstream
        stale = isinstance(failure, errors.NetworkError) and failure.stale
        at_once, self._renewed = stale and not self._renewed, self._renewed or stale
        decision = self._order.plan.retry.decide(
            Failure(
                error=failure,
                attempts=self._attempts,
                asked=failure.retry_after,
                should_retry=self._should_retry(),
                remaining=self._order.deadline.remaining(self._order.runtime.around.clock()),
                body_whole=self._order.body is None or self._order.body.whole,
                may_repeat=self._may_repeat(),
                would_admit=upstream.breaker.would_admit(),
                patience=self._patience(failure),
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
        wait_ms = round(decision.wait * 1000)
        if call.span is not None:
            call.span.note("retry.scheduled", wait_ms=wait_ms, reason=reason)
        upstream.log.info(
            "retry.scheduled",
            **call.identity,
            attempt=call.attempts + 1,
            wait_ms=wait_ms,
            reason=reason,
        )
        self._waited += decision.wait
        await call.pause(decision.wait)

    def _patience(self, failure: OctoLLMError) -> float | None:
        """Give how long this upstream may still be waited for, where another could be asked."""
        if self._order.others is None or not self._order.others.would_take(failure):
            return None
        return max(0.0, self._order.plan.fallback_wait - self._waited)

    def _give_up(self, failure: OctoLLMError, decision: Decision) -> None:
        """Note why there is no retry, where that is worth knowing."""
        call, upstream = self._order.call, self._order.upstream
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
                if self._attempts > 1:  # else no retry was ever allowed
                    upstream.log.warning(
                        "retry.exhausted",
                        **call.identity,
                        attempts=self._attempts,
                        reason=catalogue.outcome(failure),
                    )

    def _may_repeat(self) -> bool:
        call = self._order.call
        return self._order.upstream.may_repeat(
            call.request.method,
            self._order.path,
            b"idempotency-key" in call.fields,
            self._order.plan.unsafe_methods,
        )

    def _should_retry(self) -> bool | None:
        if self._order.call.exchange is None:
            return None
        return waits.should_retry(by_name(self._order.call.exchange.headers))
