"""When the circuit opens: the breaker itself is shown failures until it does.

A full outage is exact but for jitter. Where only a share of attempts fails, chance decides, and the
answer is the median of seeded runs.
"""

from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from random import Random
from statistics import median_low

from proxy.config import schema
from proxy.config.reference import in_order
from proxy.errors import OctoLLMError
from proxy.explain.retrying import failing, failure
from proxy.policy.breaker import Breaker, State
from proxy.policy.budget import RetryBudget
from proxy.policy.deadline import Deadline
from proxy.policy.retry import RetryPolicy

PER_SECOND = 10
"""Attempts a second, where only a share of them fails."""

MOST = 2000
"""Attempts after which nobody waits any longer for the circuit to open."""

_RUNS = 15
_SHARES = (0.1, 0.3, 0.5)


@dataclass(frozen=True, slots=True)
class Outage:
    """Attempts until the circuit opens; None: not within `MOST`."""

    attempts: int | None
    calls: int | None
    """The call, one after another, during which that happens."""


@dataclass(frozen=True, slots=True)
class Brownout:
    """Attempts until the circuit opens where this *share* of them fails; None: as above."""

    share: float
    attempts: int | None


class _Time:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def outage(upstream: schema.Upstream) -> Outage:
    """Let every attempt fail, one call after another, until the circuit opens."""
    condition = _condition(upstream)
    if condition is None:
        return Outage(None, None)
    time = _Time()
    breaker = Breaker(upstream.name, upstream.breaker, time)
    policy = RetryPolicy(upstream.policy.retry, Random(0))
    budget = RetryBudget(upstream.budget, time)
    attempts = calls = 0
    while attempts < MOST and breaker.state is State.CLOSED:
        calls += 1
        budget.deposit()
        deadline = Deadline(time.now, upstream.policy.timeouts.total)
        wait: float | None = 0.0
        tried = 0
        while wait is not None and breaker.state is State.CLOSED:
            time.now += wait
            tried += 1
            error = failing(condition)
            _attempt(breaker, error)
            fate = failure(
                error,
                tried,
                remaining=deadline.remaining(time.now),
                would_admit=breaker.would_admit(),
            )
            wait = policy.decide(fate, budget).wait
        attempts += tried
    return Outage(attempts, calls) if breaker.state is State.OPEN else Outage(None, None)


def brownouts(upstream: schema.Upstream) -> tuple[Brownout, ...]:
    """Let 10, 30 and 50 % of attempts fail."""
    condition = _condition(upstream)
    if condition is None:
        return tuple(Brownout(share, None) for share in _SHARES)
    return tuple(
        Brownout(share, _brownout(upstream.breaker, condition, share)) for share in _SHARES
    )


@cache  # most upstreams have the same breaker
def _brownout(settings: schema.Breaker, condition: str | int, share: float) -> int | None:
    found = median_low(_run(settings, condition, share, Random(seed)) for seed in range(_RUNS))
    return found if found <= MOST else None


def _run(settings: schema.Breaker, condition: str | int, share: float, random: Random) -> int:
    time = _Time()
    breaker = Breaker("", settings, time)
    for attempt in range(1, MOST + 1):
        time.now += 1 / PER_SECOND
        _attempt(breaker, failing(condition) if random.random() < share else None)
        if breaker.state is State.OPEN:
            return attempt
    return MOST + 1


def _attempt(breaker: Breaker, error: OctoLLMError | None) -> None:
    with suppress(OctoLLMError), breaker.admit():
        if error is not None:
            raise error


def _condition(upstream: schema.Upstream) -> str | int | None:
    """Choose a failure that blames the upstream, and if possible is retried as well."""
    if upstream.breaker.mode == "disabled":
        return None
    blaming = in_order(upstream.breaker.failure_on)
    retried = upstream.policy.retry.retry_on
    return next((found for found in blaming if found in retried), next(iter(blaming), None))
