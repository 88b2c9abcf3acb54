"""What one call can turn into: attempts, the waits between them, how long its caller may wait.

The waits are asked of the retry policy itself, once with the luckiest and once with the unluckiest
of dice. Nothing here waits.
"""

from dataclasses import dataclass
from random import Random

from proxy import errors
from proxy.config import schema
from proxy.config.reference import in_order
from proxy.policy.budget import RetryBudget
from proxy.policy.retry import Failure, RetryPolicy


@dataclass(frozen=True, slots=True)
class Span:
    """Seconds, at least and at most."""

    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt: the wait before it, and when it begins if all before it failed at once."""

    number: int
    wait: Span
    begins: Span


@dataclass(frozen=True, slots=True)
class Retrying:
    """What becomes of one call that keeps failing. None is no limit."""

    attempts: tuple[Attempt, ...]
    """Those that `total` has room for."""
    too_late: int
    """Further ones that are allowed, and can never begin before `total` is over."""
    longest_attempt: float | None
    """From its start to the head of an answer."""
    longest_wait: float | None
    """For the caller, until an answer or an error; of an event stream until its head."""
    longest_wait_for_event: float | None
    """For the caller, until the first event of a stream or an error."""


class _Least(Random):
    def uniform(self, a: float, b: float) -> float:
        return min(a, b)


class _Most(Random):
    def uniform(self, a: float, b: float) -> float:
        return max(a, b)


def retrying(policy: schema.Policy) -> Retrying:
    """Say what the settings of one route make of a call."""
    timeouts, total = policy.timeouts, policy.timeouts.total
    waits = list(map(Span, _waits(policy.retry, _Least()), _waits(policy.retry, _Most())))
    attempts = _attempts(waits, total)
    attempt = attempt_limit(timeouts)
    longest = total
    if total is None and attempt is not None:
        asked = _waits(policy.retry, _Most(), policy.retry.max_retry_after)
        longest = attempt * len(attempts) + sum(asked)
    verified = policy.stream.mode == "verified"
    return Retrying(
        attempts=tuple(attempts),
        too_late=len(waits) + 1 - len(attempts),
        longest_attempt=attempt,
        longest_wait=longest,
        longest_wait_for_event=longest if verified else _sum(longest, timeouts.first_event),
    )


def waits_within(settings: schema.Retry, patience: float) -> list[float]:
    """Give the longest wait before each retry that comes before somebody else is asked.

    Together they are more than *patience* where only shorter ones fit into it.
    """
    # After a timeout somebody else is asked at once.
    told = settings.model_copy(update={"retry_on": settings.retry_on - {"timeout"}})
    fitting = _waits(told, _Least(), patience=patience)
    return _waits(told, _Most())[: len(fitting)]


def attempt_limit(timeouts: schema.Timeouts) -> float | None:
    """Give how long an attempt may take, from its start to the head of an answer."""
    return _sum(timeouts.connect, timeouts.first_byte)


def failing(condition: str | int) -> errors.OctoLLMError:
    """Make the failure that answers to *condition*."""
    error = errors.ThirdPartyAPIError.rebuild("down")
    error.condition = condition
    return error


def failure(
    error: errors.OctoLLMError,
    attempts: int,
    *,
    asked: float | None = None,
    remaining: float | None = None,
    would_admit: bool = True,
    patience: float | None = None,
) -> Failure:
    """Give a failed attempt of a call that may be repeated, with all of its body at hand."""
    return Failure(
        error=error,
        attempts=attempts,
        asked=asked,
        remaining=remaining,
        body_whole=True,
        may_repeat=True,
        would_admit=would_admit,
        patience=patience,
    )


def _waits(
    settings: schema.Retry,
    random: Random,
    asked: float | None = None,
    patience: float | None = None,
) -> list[float]:
    """Give the wait before each retry, where the upstream has *asked* for one or for none.

    With *patience*, only those that fit into it.
    """
    if not settings.retry_on:
        return []
    error = failing(in_order(settings.retry_on)[0])
    policy = RetryPolicy(settings, random)
    # What the budget may refuse is another question.
    budget = RetryBudget(schema.Budget(ratio=0, min_per_second=1000), lambda: 0.0)
    waits: list[float] = []
    for attempt in range(1, settings.max_retries + 1):
        left = None if patience is None else max(0.0, patience - sum(waits))
        wait = policy.decide(failure(error, attempt, asked=asked, patience=left), budget).wait
        if wait is None:
            break
        waits.append(wait)
    return waits


def _attempts(waits: list[Span], total: float | None) -> list[Attempt]:
    attempts = [Attempt(1, Span(0.0, 0.0), Span(0.0, 0.0))]
    for wait in waits:
        before = attempts[-1].begins
        # To the millisecond: floats add up to 0.30000000000000004.
        least, most = round(before.least + wait.least, 3), round(before.most + wait.most, 3)
        if total is not None:
            if least >= total:
                break
            most = min(most, total)
        attempts.append(Attempt(len(attempts) + 1, wait, Span(least, most)))
    return attempts


def _sum(*limits: float | None) -> float | None:
    given = [limit for limit in limits if limit is not None]
    return sum(given) if len(given) == len(limits) else None
