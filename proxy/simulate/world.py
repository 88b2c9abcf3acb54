"""Chance: when callers come, and what each attempt at the upstream meets.

Rule: everything is drawn from a `Random` that is given, so the same seed tells the same story.
Nothing here waits, and nothing here knows a policy. Times are seconds since the scenario began.
"""

from collections.abc import Iterator
from math import log
from random import Random
from typing import NamedTuple

from proxy.simulate.scenario import Kind, Latency, Scenario

# How many standard deviations of a normal distribution lie between its median and its p99.
_P99 = 2.3263478740408408

FAILING_SECONDS = 0.05
"""How long an answer takes that only says no: a server that is down says so fast, or not at all."""


class Fate(NamedTuple):
    """What one attempt meets, *seconds* after it was sent; *kind* None is a good answer."""

    kind: Kind | None
    seconds: float
    retry_after: float | None = None


def arrivals(scenario: Scenario, random: Random) -> Iterator[float]:
    """Give the moments at which callers come, in order."""
    # Thinning (Lewis and Shedler, 1979): as many as could ever come, of whom some are let in.
    highest = max((step.rate for step in scenario.arrivals), default=0.0)
    at = random.expovariate(highest) if highest else scenario.duration
    while at < scenario.duration:
        if random.random() * highest < scenario.rate(at):
            yield at
        at += random.expovariate(highest)


def fate(scenario: Scenario, at: float, random: Random) -> Fate:
    """Draw what an attempt meets that is sent at a point in time.

    Where failures overlap, the first in the file that hits it counts; slow ones add up.
    """
    slower = 1.0
    for failure in scenario.failures:
        if not failure.at <= at < failure.ends or random.random() >= failure.share:
            continue
        if failure.kind == "slow":
            slower *= failure.factor
        elif failure.kind in ("refused", "hang"):
            return Fate(failure.kind, 0.0)
        elif failure.kind == "cut":
            return Fate("cut", _latency(scenario.latency, random) * slower)
        else:
            return Fate(failure.kind, FAILING_SECONDS * slower, failure.retry_after)
    return Fate(None, _latency(scenario.latency, random) * slower)


def _latency(latency: Latency, random: Random) -> float:
    return random.lognormvariate(log(latency.p50), log(latency.p99 / latency.p50) / _P99)
