"""What was seen while a scenario played, moment by moment.

Rule: it is only added to while it plays, and only read afterwards. Points in time are seconds
since the scenario began.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from proxy.observe.metrics import Metrics, UpstreamMetrics
from proxy.policy.transitions import Reason, State
from proxy.simulate.scenario import Scenario

Outcome = Literal["served", "failed", "left"]


class Call(NamedTuple):
    """One caller's story, its own retries included."""

    began: float
    ended: float
    outcome: Outcome

    @property
    def wait(self) -> float:
        return self.ended - self.began


@dataclass(slots=True)
class Record:
    """Everything that figures and charts are made of; *began* is the loop's time."""

    began: float
    calls: list[Call] = field(default_factory=list)
    attempts: list[float] = field(default_factory=list)
    """When the upstream was asked."""
    good: int = 0
    """Attempts whose good answer came while somebody still waited for it."""
    moves: list[tuple[float, State]] = field(default_factory=list)
    rejections: int = 0

    def since(self, now: float) -> float:
        return now - self.began

    def attempted(self, now: float) -> None:
        self.attempts.append(self.since(now))

    def answered(self) -> None:
        self.good += 1


@dataclass(frozen=True, slots=True)
class Run:
    """A simulation that is over: *name* says whose config it was, *title* what happened to whom."""

    name: str
    title: str
    scenario: Scenario
    seed: int
    record: Record


class Watched(Metrics):
    """The proxy's own metrics, of which one upstream's also tell *record* when things happened."""

    def __init__(self, name: str, record: Record, clock: Callable[[], float]) -> None:
        super().__init__()
        self._upstreams[name] = _Telling(record, clock)


class _Telling(UpstreamMetrics):
    def __init__(self, record: Record, clock: Callable[[], float]) -> None:
        super().__init__()
        self._record = record
        self._clock = clock

    def transition(self, from_state: State, to_state: State, reason: Reason) -> None:
        super().transition(from_state, to_state, reason)
        self._record.moves.append((self._record.since(self._clock()), to_state))

    def rejected(self) -> None:
        super().rejected()
        self._record.rejections += 1
