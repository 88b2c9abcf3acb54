"""The recent past, for who looks at it now: five minutes of figures, and what last happened.

Rule 1: memory is bounded, whatever happens; what is old makes room for what is new.
Rule 2: a request pays nothing. Figures are the differences between two looks at the counters that
`metrics` keeps; a failure and a move of a circuit are noted by one `append` each.
Rule 3: a time is taken once, here, when something happens. Whoever asks later is told the same.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal

from proxy.errors import CapacityExceededError, CircuitOpenError, OctoLLMError
from proxy.observe import catalogue
from proxy.observe.counting import Durations, UpstreamMetrics
from proxy.observe.metrics import Metrics
from proxy.policy.breaker import Hold
from proxy.policy.transitions import Transition

STEP = 5.0
"""Seconds that one figure stands for."""
STEPS = 60

_KEPT = 200
_LEFT = 499
"""The status under which a caller who left is counted: neither served nor failed."""

# An outage makes thousands of these a second; they would push out what explains them.
_TURNED_AWAY = (CircuitOpenError, CapacityExceededError)

Action = Literal["force-open", "force-closed", "release", "reset", "mode"]


@dataclass(frozen=True, slots=True)
class Moved:
    """A circuit moved; *at* is Unix time, *open_for* seconds."""

    at: float
    upstream: str
    from_state: str
    to_state: str
    reason: str
    open_for: float


@dataclass(frozen=True, slots=True)
class Changed:
    """A config was taken over or rejected; *about* says what is wrong with it."""

    at: float
    result: Literal["reloaded", "rejected"]
    about: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Acted:
    """An operator spoke. *until* is Unix time, None where it holds until something else is said."""

    at: float
    upstream: str
    action: Action
    by: str
    why: str
    until: float | None
    mode: str | None = None
    hold: Hold | None = None
    """What the breaker is held at by it: tells later whether it still is."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A request was answered with an envelope, or cut; *message* may still hold anything.

    The error itself is not kept: by its traceback hang the frames of the request, body and all.
    """

    at: float
    upstream: str
    request_id: str
    method: str
    status: int
    attempts: int
    seconds: float
    code: str
    message: str


@dataclass(slots=True)
class Step:
    """What happened in a few seconds to the requests for an upstream or a pool."""

    served: int = 0
    failed: int = 0
    attempts: int = 0
    """What these took, at whichever upstreams; what other names' requests took here is theirs."""
    failure_ratio: float = 0.0
    durations: tuple[int, ...] = ()
    """Requests by duration, one count for each bucket of the metric."""

    def quantile(self, share: float) -> float | None:
        """Estimate the seconds within which this share was over, as `histogram_quantile` does."""
        rank, below = share * sum(self.durations), 0
        if rank == 0:
            return None
        lower = 0.0
        for bound, count in zip(catalogue.SECONDS, self.durations, strict=False):
            if below + count >= rank:
                return lower + (bound - lower) * (rank - below) / count
            below += count
            lower = bound
        return lower


def total(steps: Iterable[Step]) -> Step:
    """Add up what happened in several steps; of the failure ratio the latest stands."""
    whole = Step()
    for step in steps:
        whole.served += step.served
        whole.failed += step.failed
        whole.attempts += step.attempts
        whole.failure_ratio = step.failure_ratio
        pairs = zip_longest(whole.durations, step.durations, fillvalue=0)
        whole.durations = tuple(map(sum, pairs))
    return whole


class Series:
    """The last steps of one upstream; a step in which nobody looked at the counters is empty."""

    def __init__(self, metrics: UpstreamMetrics, step: int) -> None:
        self._metrics = metrics
        self._step = step
        self._steps: deque[Step] = deque([Step()], maxlen=STEPS + 1)
        self._served, self._failed, self._attempts, self._durations = _count(metrics)

    def of(self, metrics: UpstreamMetrics) -> bool:
        """Tell whether these are the counters it looks at."""
        return self._metrics is metrics

    def look(self, failure_ratio: float, step: int) -> None:
        """Note what has happened since the last look, under the step of that look; begin *step*."""
        served, failed, attempts, durations = _count(self._metrics)
        here = self._steps[-1]
        here.served += served - self._served
        here.failed += failed - self._failed
        here.attempts += attempts - self._attempts
        here.failure_ratio = failure_ratio
        here.durations = tuple(
            known + now - then
            for known, now, then in zip_longest(
                here.durations, durations, self._durations, fillvalue=0
            )
        )
        self._served, self._failed, self._attempts = served, failed, attempts
        self._durations = durations
        for _ in range(min(step - self._step, STEPS + 1)):
            self._steps.append(Step(failure_ratio=failure_ratio))
        self._step = step

    def read(self) -> list[Step]:
        """Give the steps that are over, the oldest first; fewer than `STEPS` where it is young."""
        return list(self._steps)[:-1]


class History:
    """What has lately happened in this process. *clock* is monotonic, *wall* Unix time."""

    def __init__(
        self, metrics: Metrics, clock: Callable[[], float], wall: Callable[[], float]
    ) -> None:
        self._metrics = metrics
        self._clock = clock
        self.wall = wall
        self.started = wall()
        self.moves: deque[Moved] = deque(maxlen=_KEPT)
        self.changes: deque[Changed] = deque(maxlen=_KEPT)
        self.actions: deque[Acted] = deque(maxlen=_KEPT)
        self.failures: deque[Failed] = deque(maxlen=_KEPT)
        self._last_move: dict[str, Moved] = {}
        self._last_failures: dict[str, dict[str, Failed]] = {}
        self._series: dict[str, Series] = {}

    def moved(self, move: Transition) -> None:
        """Note that a circuit has moved."""
        moved = Moved(
            self.wall(), move.breaker, move.from_state, move.to_state, move.reason, move.open_for
        )
        self.moves.append(moved)
        self._last_move[move.breaker] = moved

    def failed(
        self,
        upstream: str,
        error: OctoLLMError,
        *,
        request_id: str,
        method: str,
        status: int,
        attempts: int,
        seconds: float,
    ) -> None:
        """Note a request that failed; *upstream* is a name of the config, or `-`."""
        failed = Failed(
            at=self.wall(),
            upstream=upstream,
            request_id=request_id,
            method=method if method in catalogue.METHODS else "other",
            status=status,
            attempts=attempts,
            seconds=seconds,
            code=error.error_code,
            message=error.message,
        )
        if not isinstance(error, _TURNED_AWAY):
            self.failures.append(failed)
        self._last_failures.setdefault(upstream, {})[error.error_code] = failed

    def reloaded(self) -> None:
        """Note that another config is in force."""
        self.changes.append(Changed(self.wall(), "reloaded"))

    def rejected(self, problems: Iterable[str]) -> None:
        """Note that a config could not be used, and why."""
        self.changes.append(Changed(self.wall(), "rejected", tuple(problems)))

    def acted(
        self,
        upstream: str,
        action: Action,
        *,
        by: str,
        why: str,
        ttl: float | None,
        mode: str | None,
        hold: Hold | None,
    ) -> Acted:
        """Note, and give back, what an operator has done; *ttl* is in seconds."""
        now = self.wall()
        until = None if ttl is None else now + ttl
        acted = Acted(now, upstream, action, by, why, until, mode, hold)
        self.actions.append(acted)
        return acted

    def last_move(self, upstream: str) -> Moved | None:
        """Give the latest move of its circuit."""
        return self._last_move.get(upstream)

    def last_failures(self, upstream: str) -> list[Failed]:
        """Give the latest failure of each error code, the newest first."""
        return sorted(self._last_failures.get(upstream, {}).values(), key=lambda one: -one.at)

    def look(self, ratios: Mapping[str, float]) -> None:
        """Read the counters of these upstreams and pools; all others are forgotten.

        *ratios* has the failure ratio of each one's breaker, 0 where there is none. To be called
        whenever `until_next_look` says.
        """
        step = int(self._clock() // STEP)
        looked: dict[str, Series] = {}
        for name, ratio in ratios.items():
            metrics = self._metrics.upstream(name)
            series = self._series.get(name)
            if series is None or not series.of(metrics):
                series = Series(metrics, step)
            series.look(ratio, step)
            looked[name] = series
        # Not only those that had figures: a call can outlive its upstream, and end after this.
        for last in (self._last_move, self._last_failures):
            for gone in last.keys() - looked.keys():
                del last[gone]
        self._series = looked

    def series(self, upstream: str) -> list[Step]:
        """Give the figures of an upstream, the oldest first, up to at most `STEP` seconds ago."""
        series = self._series.get(upstream)
        return [] if series is None else series.read()

    def until_next_look(self) -> float:
        """Give the seconds until a step is over."""
        return STEP - self._clock() % STEP


def _count(metrics: UpstreamMetrics) -> tuple[int, int, int, tuple[int, ...]]:
    """Give how many requests were served and failed, their attempts, and requests by duration."""
    numbers = dict(metrics.read())
    served = failed = 0
    requests, took = numbers[catalogue.REQUESTS], numbers[catalogue.REQUEST_DURATION]
    assert not isinstance(requests, Durations)
    assert isinstance(took, Durations)
    attempts = metrics.spent.total() - metrics.spent[_LEFT]
    for (_, status, code), count in requests.items():
        if code:
            failed += count
        elif status != _LEFT:
            served += count
    return served, failed, attempts, tuple(took.counts)
