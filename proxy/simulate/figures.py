"""A record as numbers, and numbers as people write them; alone, or one config beside another.

Pure. A figure that has no value is one for which nothing happened.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from typing import Literal

from proxy.policy.transitions import State
from proxy.simulate.record import Record
from proxy.simulate.scenario import Scenario

Unit = Literal["", "%", "s", "x"]

AMPLIFICATION_SECONDS = 10.0
"""How long amplification is averaged over; as long as the retry budget looks back."""

NOTHING = "-"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number with its name; *value* is in seconds, percent, times, or pieces."""

    name: str
    value: float | None
    unit: Unit = ""

    def __str__(self) -> str:
        return NOTHING if self.value is None else _written(self.value, self.unit)

    def difference(self, other: "Figure") -> str:
        """Write how much more *other* is."""
        if self.value is None or other.value is None:
            return NOTHING
        change = _written(abs(other.value - self.value), self.unit)
        if change == _written(0.0, self.unit):
            return "="
        return ("+" if other.value > self.value else "-") + change


def figures(record: Record, scenario: Scenario) -> list[Figure]:
    """Give everything that `simulate` answers."""
    calls, attempts = len(record.calls), len(record.attempts)
    good = sorted(call.wait for call in record.calls if call.outcome == "served")
    bad = sorted(call.wait for call in record.calls if call.outcome != "served")
    left = sum(call.outcome == "left" for call in record.calls)
    wasted = attempts - record.good
    return [
        Figure("calls", calls),
        Figure("served", _share(len(good), calls), "%"),
        Figure("answered by another upstream", _share(record.elsewhere, len(good)), "%"),
        Figure("callers who lost patience", left),
        *(Figure(f"wait of the served, p{q}", quantile(good, q), "s") for q in (50, 95, 99)),
        *(Figure(f"wait of the others, p{q}", quantile(bad, q), "s") for q in (50, 95, 99)),
        Figure("attempts per call", attempts / calls if calls else None, "x"),
        Figure("peak amplification", _amplification(record), "x"),
        Figure("hedged answers", record.hedged),
        Figure("outage to open, mean", _mean(_to_open(record, scenario)), "s"),
        Figure("recovery to closed, mean", _mean(_to_closed(record, scenario)), "s"),
        Figure("rejected by the open circuit", record.rejections),
        Figure("turned away by a limit", record.limited),
        Figure("wasted attempts", wasted),
        Figure("wasted attempts, share", _share(wasted, attempts), "%"),
    ]


def rows(columns: Sequence[Sequence[Figure]]) -> list[list[str]]:
    """Give one config's figures, or two configs' side by side with the difference."""
    table = [[row[0].name, *map(str, row)] for row in zip(*columns, strict=True)]
    if len(columns) == 2:
        for line, first, second in zip(table, *columns, strict=True):
            line.append(first.difference(second))
    return table


def quantile(ordered: Sequence[float], percent: int) -> float | None:
    """Give the smallest value that so many percent do not exceed (the nearest rank)."""
    return ordered[-(-len(ordered) * percent // 100) - 1] if ordered else None


def outages(scenario: Scenario) -> list[tuple[float, float]]:
    """Give when the upstream was unwell: failures that overlap or touch are one outage."""
    spans: list[tuple[float, float]] = []
    for failure in sorted(scenario.failures, key=lambda failure: failure.at):
        if spans and failure.at <= spans[-1][1]:
            spans[-1] = spans[-1][0], max(spans[-1][1], failure.ends)
        else:
            spans.append((failure.at, failure.ends))
    return spans


def _to_open(record: Record, scenario: Scenario) -> list[float]:
    """Give, for each outage that opened the circuit, after how long it did."""
    found = []
    for begin, end in outages(scenario):
        opened = [at for at, state in record.moves if state is State.OPEN and begin <= at < end]
        if opened and _state(record, begin) is State.CLOSED:
            found.append(opened[0] - begin)
    return found


def _to_closed(record: Record, scenario: Scenario) -> list[float]:
    """Give, for each outage that left the circuit open, how long after it that closed."""
    found = []
    for (_, end), (until, _) in pairwise([*outages(scenario), (inf, inf)]):
        closed = [at for at, state in record.moves if state is State.CLOSED and end <= at < until]
        if closed and _state(record, end) is not State.CLOSED:
            found.append(closed[0] - end)
    return found


def _state(record: Record, at: float) -> State:
    before = [state for moved, state in record.moves if moved < at]
    return before[-1] if before else State.CLOSED


def _amplification(record: Record) -> float | None:
    """Give the most attempts per new call, of all stretches in which somebody called."""
    calls, attempts = (_counted([call.began for call in record.calls]), _counted(record.attempts))
    return max((attempts.get(at, 0) / count for at, count in calls.items()), default=None)


def _counted(moments: Sequence[float]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for at in moments:
        stretch = int(at // AMPLIFICATION_SECONDS)
        counts[stretch] = counts.get(stretch, 0) + 1
    return counts


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _share(part: int, whole: int) -> float | None:
    return 100 * part / whole if whole else None


def _written(value: float, unit: Unit) -> str:
    if unit == "":
        return f"{value:,.0f}"
    return f"{value:.2f} {unit}" if unit != "%" else f"{value:.1f} %"
