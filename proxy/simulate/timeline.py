"""A record cut into equal stretches of time, as charts need it. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from proxy.policy.transitions import State
from proxy.simulate.record import Record
from proxy.simulate.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Timeline:
    """One value for each stretch; counts are per second."""

    duration: float
    served: list[float]
    failed: list[float]
    load: list[float]
    """Attempts at the upstream."""
    state: list[State]
    """What the breaker was for most of the stretch."""
    failing: list[float]
    """The share of attempts that a failure was ready for."""


def timeline(record: Record, scenario: Scenario, stretches: int) -> Timeline:
    """Cut *record* into so many stretches; calls count where they ended."""
    duration = scenario.duration
    length = duration / stretches

    def rates(moments: Iterable[float]) -> list[float]:
        counts = [0] * stretches
        for at in moments:
            if at < duration:
                counts[min(int(at / length), stretches - 1)] += 1
        return [count / length for count in counts]

    spans = [(n * length, (n + 1) * length) for n in range(stretches)]
    return Timeline(
        duration,
        served=rates(call.ended for call in record.calls if call.outcome == "served"),
        failed=rates(call.ended for call in record.calls if call.outcome != "served"),
        load=rates(record.attempts),
        state=[_prevailing(record, begin, end) for begin, end in spans],
        failing=[_failing(scenario, begin, end) for begin, end in spans],
    )


def _prevailing(record: Record, begin: float, end: float) -> State:
    lasted = dict.fromkeys(State, 0.0)
    at, state = begin, State.CLOSED
    for moved, to in record.moves:
        if begin < moved < end:
            lasted[state] += moved - at
            at = moved
        if moved < end:
            state = to
    lasted[state] += end - at
    return max(lasted, key=lambda found: lasted[found])


def _failing(scenario: Scenario, begin: float, end: float) -> float:
    sound = 1.0
    for failure in scenario.failures:
        overlap = min(end, failure.ends) - max(begin, failure.at)
        if overlap > 0:
            sound *= 1 - failure.share * overlap / (end - begin)
    return 1 - sound
