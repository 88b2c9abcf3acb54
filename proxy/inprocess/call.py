"""One call to an upstream: attempts under the same policies, and in the same order, as a gateway's.

    total deadline ⊃ retry ⊃ breaker ⊃ attempt

It knows no HTTP and no client library; `failures` says what an attempt has come to.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from proxy import errors
from proxy.config import schema
from proxy.errors import OctoLLMError
from proxy.inprocess import failures
from proxy.policy.breaker import Breaker, Permit
from proxy.policy.budget import RetryBudget
from proxy.policy.deadline import Deadline
from proxy.policy.retry import Failure, RetryPolicy, Verdict
from proxy.semantics.statuses import Origin

T = TypeVar("T")

_NO_FAILURE_OF_THE_CALL = Exception()
"""What a block ended with is its own business; to a breaker that is neutral."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for one call, and what it shares with the other calls to its upstream."""

    origin: Origin
    timeouts: schema.Timeouts
    retry: RetryPolicy
    may_repeat: bool
    breaker: Breaker
    budget: RetryBudget
    clock: Callable[[], float]
    wall: Callable[[], float]


class Call:
    """A call that `Policies.call` has opened. Await it with a function that makes an attempt.

    In one block, one at a time: calling again ends what was called before.
    """

    def __init__(
        self, rules: Rules, timer: asyncio.Timeout, deadline: Deadline, *, stream: bool
    ) -> None:
        self._rules = rules
        self._timer = timer
        self._deadline = deadline
        self._stream = stream
        self._permit: Permit | None = None
        self._attempt_began = deadline.began
        self._attempts = 0
        self._should_retry: bool | None = None
        self._answered = False

    async def __call__(self, make: Callable[[], Awaitable[T]]) -> T:
        """Make attempts until one is answered, and give its answer.

        Raises CircuitOpenError, or the error of the last attempt. What *make* raises that is no
        failure of the network or the upstream comes through as it is.
        """
        self._end(None)
        self._answered = False
        self._rules.budget.deposit()
        failure: OctoLLMError | None = None
        self._attempts = 0
        while True:
            try:
                self._permit = self._rules.breaker.admit()
            except errors.CircuitOpenError as circuit:
                if failure is None:
                    raise
                # It opened while we waited: what the upstream last did says more than that.
                failure.retry_after = circuit.retry_after
                raise failure from failure.__cause__
            try:
                return await self._attempt(make)
            except OctoLLMError as error:
                failure = error
                await self._wait_to_repeat(failure)

    async def _attempt(self, make: Callable[[], Awaitable[T]]) -> T:
        """Make one attempt. A deadline that passes meanwhile is no exception here: see `ended`."""
        rules = self._rules
        self._attempts += 1
        self._attempt_began = rules.clock()
        try:
            answer = await make()
        except Exception as raised:
            fault = failures.of_exception(raised, rules.origin, rules.wall())
            if fault is None:
                self._end(raised)
                raise
            failure = self._failed(fault)
            if failure is raised:
                raise
            raise failure from raised
        fault = await failures.of_answer(answer, rules.origin, rules.wall())
        if fault is not None:
            raise self._failed(fault)
        self._answers()
        return answer

    def _failed(self, fault: failures.Fault) -> OctoLLMError:
        """Tell the breaker of a failed attempt, and give its error."""
        self._should_retry = fault.should_retry
        self._end(fault.error)
        fault.error.details |= {"upstream": self._rules.breaker.name, "attempts": self._attempts}
        return fault.error

    def _answers(self) -> None:
        assert self._permit is not None  # an attempt has one
        self._permit.answered()
        self._answered = True
        if self._stream and not self._timer.expired():
            total = self._rules.timeouts.stream_total
            self._timer.reschedule(None if total is None else self._deadline.began + total)

    async def _wait_to_repeat(self, failure: OctoLLMError) -> None:
        """Wait as long as the retry policy says, or raise *failure* where there is no retry."""
        rules = self._rules
        decision = rules.retry.decide(
            Failure(
                error=failure,
                attempts=self._attempts,
                asked=failure.retry_after,
                should_retry=self._should_retry,
                remaining=self._deadline.remaining(rules.clock()),
                body_whole=True,  # *make* makes it anew
                may_repeat=rules.may_repeat,
                would_admit=rules.breaker.would_admit(),
            ),
            rules.budget,
        )
        if decision.wait is None:
            spent = decision.verdict in (Verdict.BREAKER, Verdict.EXHAUSTED)
            if spent and not rules.breaker.would_admit():
                failure.retry_after = rules.breaker.retry_after()
            raise failure
        await asyncio.sleep(decision.wait)

    def ended(self, raised: Exception) -> OctoLLMError | None:
        """Say what the end of the block means; None: nothing of ours, and it goes on as it is."""
        failure: OctoLLMError | None = None
        if self._timer.expired():
            failure = self._out_of_time()
        elif self._answered and not isinstance(raised, OctoLLMError):
            failure = failures.of_body(raised)
        self._end(failure or _NO_FAILURE_OF_THE_CALL)
        return failure

    def left(self) -> None:
        """Give back what is held, for whatever reason the block is left without a verdict."""
        self._end(_NO_FAILURE_OF_THE_CALL)

    def completed(self) -> None:
        """Say that the block has ended well."""
        self._end(None)

    def _out_of_time(self) -> OctoLLMError:
        began = self._deadline.began
        error = errors.TimeoutError("the call", (self._timer.when() or began) - began)
        # After an answer, nobody here knows whether its body or the caller took the time.
        if not self._answered and self._deadline.blames_upstream(self._attempt_began):
            error.condition = "timeout"
        error.details |= {"upstream": self._rules.breaker.name, "attempts": self._attempts}
        return error

    def _end(self, error: BaseException | None) -> None:
        """Give the permit back, if one is held, with what its call has come to."""
        permit, self._permit = self._permit, None
        if permit is not None:
            permit.__exit__(None if error is None else type(error), error, None)
