"""Whether a failed attempt is worth another one, and after what wait.

Rule 1: a retry is a decision about one failure, taken after it; where nothing fails, nobody asks.
Rule 2: only errors of our own taxonomy are ever repeated. A cancellation never gets here, and would
be turned away: every predicate begins with the type.
Rule 3: nothing here waits, or knows HTTP.

tenacity owns the strategies, and `RetryPolicy` composes them; its loop is not used, as it costs
20 µs a call even where nothing fails. They are asked in tenacity's own order: retry, wait, stop.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from random import Random

import tenacity
from tenacity.retry import retry_base
from tenacity.stop import stop_base
from tenacity.wait import wait_base

from proxy import errors
from proxy.config import schema
from proxy.policy.budget import RetryBudget


class Verdict(StrEnum):
    """What becomes of a failure; each but `RETRY` goes to the caller."""

    RETRY = "retry"
    NOT_RETRYABLE = "not_retryable"
    EXHAUSTED = "exhausted"
    """Every retry allowed has been made."""
    DECLINED = "declined"
    """The upstream asks for a longer wait than we give; the caller may have the patience."""
    ELSEWHERE = "elsewhere"
    """Another upstream can be asked at once, and that is better than to wait for this one."""
    # The words of octollm_proxy_retry_suppressed_total: we would have, but …
    METHOD = "method"
    BODY = "body"
    DEADLINE = "deadline"
    BREAKER = "breaker"
    BUDGET = "budget"


_SUPPRESSED = frozenset(
    {Verdict.METHOD, Verdict.BODY, Verdict.DEADLINE, Verdict.BREAKER, Verdict.BUDGET}
)


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict, and for a retry the seconds to wait before it."""

    verdict: Verdict
    wait: float | None = None

    @property
    def suppressed(self) -> str | None:
        """What alone stood against a retry; None where there is one, or was none to be had."""
        return self.verdict.value if self.verdict in _SUPPRESSED else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One failed attempt, and what has to be known to judge it. Times are seconds."""

    error: errors.OctoLLMError
    attempts: int
    """Attempts made so far, this one included."""
    asked: float | None = None
    """How long the upstream asks to be left alone."""
    should_retry: bool | None = None
    """The upstream's `x-should-retry`."""
    remaining: float | None = None
    """What the deadline leaves; None is no deadline."""
    body_whole: bool
    """The request's body is still there to be sent again."""
    may_repeat: bool
    """Sending the request twice does no harm, as far as method and settings tell."""
    would_admit: bool
    """The breaker would let another call go."""
    patience: float | None = None
    """With another upstream to ask: how long may still be waited for this one; None: no other."""
    at_once: bool = False
    """There is nothing to wait for: only a connection had gone stale, for the first time."""


class RetryPolicy:
    """The rules of one route, composed once. *random* spreads callers who failed together."""

    def __init__(self, settings: schema.Retry, random: Random) -> None:
        backoff: wait_base = tenacity.wait_exponential(
            multiplier=settings.base_delay,
            exp_base=settings.exponential_base,
            max=settings.max_delay,
        )
        if settings.jitter:
            backoff = _Jittered(backoff, random)

        def listed(failure: Failure) -> bool:
            # A status in retry_on is the user's own word, above what its class says by default.
            condition = failure.error.condition
            told = failure.error.retryable or isinstance(condition, int)
            return told and condition in settings.retry_on

        def asks_too_long(call: "_Call") -> bool:
            asked, remaining = call.failure.asked, call.failure.remaining
            if asked is None:
                return False
            return asked > settings.max_retry_after or (
                remaining is not None and asked >= remaining
            )

        self._rules = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(errors.OctoLLMError)
            & _If(_allowed)
            & (_If(_invited) | _If(listed)),
            wait=_AtLeastAsked(backoff, random),
            stop=_Because(Verdict.EXHAUSTED, tenacity.stop_after_attempt(settings.max_retries + 1))
            | _Because(Verdict.METHOD, _may_not_repeat)
            | _Because(Verdict.BODY, _cannot_repeat)
            | _Because(Verdict.ELSEWHERE, _is_better_elsewhere)
            | _Because(Verdict.DECLINED, asks_too_long)
            | _Because(Verdict.DEADLINE, _comes_too_late)
            | _Because(Verdict.BREAKER, lambda call: not call.failure.would_admit)
            # Last, as asking takes the token; and before the wait, as a retry that waits is one.
            | _Because(Verdict.BUDGET, lambda call: not call.budget.withdraw()),
        )

    def decide(self, failure: Failure, budget: RetryBudget) -> Decision:
        """Say whether there is another attempt. A retry has taken its token from *budget*."""
        call = _Call(self._rules, failure, budget)
        if not self._rules.retry(call):
            return Decision(Verdict.NOT_RETRYABLE)
        call.upcoming_sleep = 0.0 if failure.at_once else self._rules.wait(call)
        if self._rules.stop(call):
            return Decision(call.verdict)
        return Decision(Verdict.RETRY, call.upcoming_sleep)


class _Call(tenacity.RetryCallState):
    """A failure in the form in which tenacity asks its strategies."""

    def __init__(self, rules: tenacity.Retrying, failure: Failure, budget: RetryBudget) -> None:
        super().__init__(rules, None, (), {})
        error = failure.error
        self.attempt_number = failure.attempts
        self.set_exception((type(error), error, error.__traceback__))
        self.failure = failure
        self.budget = budget
        self.verdict = Verdict.RETRY


def _ours(state: tenacity.RetryCallState) -> _Call:
    assert isinstance(state, _Call)
    return state


class _If(retry_base):
    """Retry where *test* says so."""

    def __init__(self, test: Callable[[Failure], bool]) -> None:
        self._test = test

    def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
        return self._test(_ours(retry_state).failure)


class _Because(stop_base):
    """Stop where *test* says so; the first of several that does names the verdict."""

    def __init__(self, verdict: Verdict, test: Callable[[_Call], bool]) -> None:
        self._verdict = verdict
        self._test = test

    def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
        call = _ours(retry_state)
        if not self._test(call):
            return False
        call.verdict = self._verdict
        return True


class _Jittered(wait_base):
    """Between half of *wait* and all of it."""

    def __init__(self, wait: wait_base, random: Random) -> None:
        self._wait = wait
        self._random = random

    def __call__(self, retry_state: tenacity.RetryCallState) -> float:
        return self._wait(retry_state) * self._random.uniform(0.5, 1)


class _AtLeastAsked(wait_base):
    """*wait*, and never less than what the upstream asks for, stretched a little at random."""

    def __init__(self, wait: wait_base, random: Random) -> None:
        self._wait = wait
        self._random = random

    def __call__(self, retry_state: tenacity.RetryCallState) -> float:
        wait = self._wait(retry_state)
        asked = _ours(retry_state).failure.asked
        return wait if asked is None else max(wait, asked * self._random.uniform(1, 1.2))


def _allowed(failure: Failure) -> bool:
    """Nobody forbade it: not the upstream, not the one who raised just this error."""
    vetoed = vars(failure.error).get("retryable") is False
    return failure.should_retry is not False and not vetoed and failure.error.condition is not None


def _invited(failure: Failure) -> bool:
    return failure.should_retry is True


def _may_not_repeat(call: _Call) -> bool:
    return call.failure.error.sent and not call.failure.may_repeat


def _cannot_repeat(call: _Call) -> bool:
    return call.failure.error.sent and not call.failure.body_whole


def _is_better_elsewhere(call: _Call) -> bool:
    patience, error = call.failure.patience, call.failure.error
    if patience is None:
        return False
    # Who was silent once is not asked again first; a 408 or 504 that was said is not silence.
    silent = isinstance(error, errors.TimeoutError) and not isinstance(error.condition, int)
    return silent or call.upcoming_sleep > patience


def _comes_too_late(call: _Call) -> bool:
    return call.failure.remaining is not None and call.upcoming_sleep >= call.failure.remaining
