"""What was promised of the cost, beside what came out of a run.

Nothing here measures, or knows how a page looks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from contenders import CADDY, ENVOY, NAIVE, OCTOLLM, PORTKEY
from scenarios import NO_PROXY, Sample, Scenario, Series

OURS = OCTOLLM.name

Found = Mapping[tuple[str, str], Series]
"""What a run found, by key of the scenario and name of the contender."""


@dataclass(frozen=True)
class Must:
    """A promise: *what* stays at or below *limit*, in *unit*."""

    what: str
    limit: float
    unit: str
    measured: Callable[[Found], float | None]
    """None where somebody it takes was not there."""


def found(results: Sequence[tuple[Scenario, Sequence[Series]]]) -> Found:
    """Give the series that have samples."""
    return {
        (scenario.key, one.name): one
        for scenario, series in results
        for one in series
        if one.samples
    }


def _cost(sample: Sample) -> float:
    return sample.cost


def _beside(
    key: str, other: str, what: Callable[[Sample], float] = _cost
) -> Callable[[Found], float | None]:
    """Compare ours with another in the same rounds."""

    def measure(found: Found) -> float | None:
        ours, theirs = found.get((key, OURS)), found.get((key, other))
        return ours.ratio(theirs, what) if ours and theirs else None

    return measure


def _across(mine: tuple[str, str], theirs: tuple[str, str]) -> Callable[[Found], float | None]:
    """Compare the medians of two scenarios, whose rounds were not the same."""

    def measure(found: Found) -> float | None:
        one, other = found.get(mine), found.get(theirs)
        return one.median(_cost) / other.median(_cost) if one and other else None

    return measure


def _event_delay(found: Found) -> float | None:
    """Compare the 99th percentiles, less what an event needs where there is no proxy."""
    direct, ours, envoy = (
        series.median(lambda sample: sample.p99)
        if (series := found.get(("events", name))) is not None
        else None
        for name in (NO_PROXY, OURS, ENVOY)
    )
    if direct is None or ours is None or envoy is None or envoy <= direct:
        return None
    return (ours - direct) / (envoy - direct)


def _idle_memory(found: Found) -> float | None:
    ours = found.get(("idle", OURS))
    return ours.median(_cost) if ours else None


ALL = (
    Must("CPU per request, 64 connections", 1.0, "times Envoy", _beside("small-64", ENVOY)),
    Must("the same", 0.4, "times naive aiohttp", _beside("small-64", NAIVE.name)),
    Must("the same", 0.6, "times Caddy", _beside("small-64", CADDY)),
    Must("the same", 0.06, "times Portkey", _beside("small-64", PORTKEY)),
    Must(
        "p50 at 1 connection",
        1.0,
        "times Envoy",
        _beside("small-1", ENVOY, lambda sample: sample.p50),
    ),
    Must("64 KiB answers, CPU per MiB", 1.4, "times Envoy", _beside("large", ENVOY)),
    Must("1 MiB uploads, CPU per MiB", 1.4, "times Envoy", _beside("upload", ENVOY)),
    Must("Event streams, CPU per event", 1.2, "times Envoy", _beside("events", ENVOY)),
    Must("Time an event spends in the proxy, p99", 1.0, "times Envoy", _event_delay),
    Must("Memory of an idle stream", 30, "KiB", _idle_memory),
    # 40 µs were promised where Envoy's request takes 55: on another machine, as much of it.
    Must(
        "An open breaker, CPU per rejection",
        40 / 55,
        "times Envoy's request",
        _across(("rejection", OURS), ("small-64", ENVOY)),
    ),
    Must(
        "CPU per request, 1,000 connections",
        1.25,
        "times 64 connections",
        _across(("small-1000", OURS), ("small-64", OURS)),
    ),
)
