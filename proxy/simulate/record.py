"""What was seen while a scenario played, moment by moment.

Rule: it is only added to while it plays, and only read afterwards. Points in time are seconds
since the scenario began.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from proxy.observe.catalogue import HedgeResult, Limited
from proxy.observe.counting import UpstreamMetrics
from proxy.observe.metrics import Metrics
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
    elsewhere: int = 0
    """Good answers that came from another upstream."""
    hedged: int = 0
    """Answers for which more than one attempt ran at once."""
    moves: list[tuple[float, State]] = field(default_factory=list)
    rejections: int = 0
    limited: int = 0
    """Requests that a limit of ours kept from the upstream."""

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
    """The proxy's own metrics, of which those of *names* also tell *record* what happened when."""

    def __init__(self, names: Iterable[str], record: Record, clock: Callable[[], float]) -> None:
        super().__init__()
        self._upstreams |= {name: _Telling(record, clock) for name in names}


class _Telling(UpstreamMetrics):
    def __init__(self, record: Record, clock: Callable[[], float]) -> None:
        super().__init__()
        self._record = record
        self._clock = clock

    def transition(self, from_state: State, to_state: State, reason: Reason) -> None:
        super().transition(from_state, to_state, reason)
        self._record.moves.append((self._record.since(self._clock()), to_state))

    def hedged(self, result: HedgeResult) -> None:
        super().hedged(result)
        self._record.hedged += 1

    def limited(self, reason: Limited) -> None:
        super().limited(reason)
        self._record.limited += 1

    def rejected(self) -> None:
        super().rejected()
        self._record.rejections += 1
