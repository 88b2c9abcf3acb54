"""Counting and timing on the path of a request: plain numbers, and who adds to them.

Rule: to count is to add to a number. A library's own counters take a lock, and its histograms a
walk over the buckets, for each of the six that a request moves. Nothing here knows who reads.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from proxy.observe import catalogue
from proxy.observe.catalogue import (
    AbortPhase,
    CacheResult,
    GuardAction,
    HedgeResult,
    LeavePhase,
    Limited,
    Metric,
    Outcome,
    Reroute,
)
from proxy.policy.transitions import Reason, State

Numbers = Counter[Any]
"""Counts by the value of a label, or by a tuple of such."""


class Example(NamedTuple):
    """A trace in which a bucket's number can be looked into; *at* is Unix time."""

    trace_id: str
    at: float


class InFlight:
    """How many requests are being served: `with in_flight:` is one of them."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> None:
        self.count += 1

    def __exit__(self, *_: object) -> None:
        self.count -= 1


class Durations:
    """How often something took how long: a count for each bucket of *metric*, and the sum.

    `examples` has the last trace that was counted in a bucket, with its seconds; there are some
    only where somebody traces.
    """

    __slots__ = ("bounds", "counts", "examples", "total")

    def __init__(self, metric: Metric) -> None:
        self.bounds = metric.buckets
        self.counts = [0] * (len(metric.buckets) + 1)
        """The last is of what took longer than any bound."""
        self.examples: dict[int, tuple[float, Example]] = {}
        self.total = 0.0

    def observe(self, seconds: float, example: Example | None = None) -> None:
        bucket = bisect_left(self.bounds, seconds)
        self.counts[bucket] += 1
        self.total += seconds
        if example is not None:
            self.examples[bucket] = seconds, example


class Line(Protocol):
    """Who waits for a place."""

    @property
    def queued(self) -> int: ...


class UpstreamMetrics:
    """The numbers of one upstream or pool; every method is cheap enough for every request."""

    def __init__(self) -> None:
        self.in_flight = InFlight()
        self.line: Line | None = None
        # What alerts watch is 0 from the start: `increase()` does not see a series that is born
        # with the value 1.
        self._requests: Numbers = Counter()
        self.spent: Numbers = Counter()
        """What these requests took, in attempts at whichever upstreams, by the requests' status."""
        self._attempts: Numbers = Counter(dict.fromkeys(catalogue.OUTCOMES, 0))
        self._retries: Numbers = Counter(dict.fromkeys(catalogue.FAULTS, 0))
        self._suppressed: Numbers = Counter(dict.fromkeys(catalogue.SUPPRESSIONS, 0))
        self._fallbacks: Numbers = Counter()
        self._hedges: Numbers = Counter(dict.fromkeys(catalogue.HEDGE_RESULTS, 0))
        self._limited: Numbers = Counter(dict.fromkeys(catalogue.LIMITED, 0))
        self._cache: Numbers = Counter(dict.fromkeys(catalogue.CACHE_RESULTS, 0))
        self._findings: Numbers = Counter()
        self._unguarded = 0
        self._transitions: Numbers = Counter(dict.fromkeys(catalogue.TRANSITIONS, 0))
        self._aborts: Numbers = Counter(dict.fromkeys(catalogue.ABORT_PHASES, 0))
        self._disconnects: Numbers = Counter(dict.fromkeys(catalogue.LEAVE_PHASES, 0))
        self._rejections = 0
        self._events = 0
        self._unverified = 0
        self._duration = Durations(catalogue.REQUEST_DURATION)
        self._overhead = Durations(catalogue.OVERHEAD)
        self._first_byte = Durations(catalogue.FIRST_BYTE)
        self._first_event = Durations(catalogue.FIRST_EVENT)
        self._event_gap = Durations(catalogue.EVENT_GAP)

    def read(self) -> Iterator[tuple[Metric, Numbers | Durations]]:
        """Give every metric's numbers, by the values of its labels but for the upstream's."""
        yield catalogue.REQUESTS, self._requests
        yield catalogue.REQUEST_DURATION, self._duration
        yield catalogue.FIRST_BYTE, self._first_byte
        yield catalogue.OVERHEAD, self._overhead
        yield catalogue.IN_FLIGHT, Counter({(): self.in_flight.count})
        yield catalogue.ATTEMPTS, self._attempts
        yield catalogue.RETRIES, self._retries
        yield catalogue.RETRY_SUPPRESSED, self._suppressed
        yield catalogue.FALLBACKS, self._fallbacks
        yield catalogue.HEDGES, self._hedges
        yield catalogue.BREAKER_TRANSITIONS, self._transitions
        yield catalogue.BREAKER_REJECTIONS, Counter({(): self._rejections})
        yield catalogue.LIMIT_REJECTIONS, self._limited
        yield catalogue.QUEUED, Counter({(): self.line.queued if self.line is not None else 0})
        yield catalogue.CACHE, self._cache
        yield catalogue.GUARD_FINDINGS, self._findings
        yield catalogue.GUARD_PASSED, Counter({(): self._unguarded})
        yield catalogue.STREAM_ABORTS, self._aborts
        yield catalogue.CLIENT_DISCONNECTS, self._disconnects
        yield catalogue.FIRST_EVENT, self._first_event
        yield catalogue.EVENTS, Counter({(): self._events})
        yield catalogue.EVENT_GAP, self._event_gap
        yield catalogue.STREAMS_UNVERIFIED, Counter({(): self._unverified})

    def completed(
        self,
        method: str,
        status: int,
        code: str,
        duration: float,
        overhead: float,
        *,
        attempts: int = 0,
        example: Example | None = None,
    ) -> None:
        """Count a request that is over; *code* is "" on success, *status* 499 if the caller left.

        *duration* and *overhead* are seconds; *example* is the trace of it.
        """
        if method not in catalogue.METHODS:
            method = "other"
        self._requests[method, status, code] += 1
        self.spent[status] += attempts
        self._duration.observe(duration, example)
        self._overhead.observe(overhead)

    def attempt(self, outcome: Outcome) -> None:
        """Count an attempt that is over; `catalogue.outcome` finds the word."""
        self._attempts[outcome] += 1

    def retry(self, reason: Outcome) -> None:
        """Count an attempt that is made again, for a reason that is one of `catalogue.FAULTS`."""
        self._retries[reason] += 1

    def retry_suppressed(self, reason: str) -> None:
        """Count a retry not made; *reason* is the retry decision's word for what forbade it."""
        self._suppressed[reason] += 1

    def may_move_to(self, targets: Iterable[str]) -> None:
        """Count moves to these from 0, so that an alert sees the first."""
        for target in targets:
            for reason in catalogue.REROUTES:
                self._fallbacks.setdefault((target, reason), 0)

    def moved_on(self, target: str, reason: Reroute) -> None:
        """Count a request for which *target* is asked now."""
        self._fallbacks[target, reason] += 1

    def hedged(self, result: HedgeResult) -> None:
        """Count an answer for which two attempts ran."""
        self._hedges[result] += 1

    def limited(self, reason: Limited) -> None:
        """Count a call that a limit of ours turned away."""
        self._limited[reason] += 1

    def cached(self, result: CacheResult) -> None:
        """Count a request that the cache is for."""
        self._cache[result] += 1

    def guarded(self, found: Mapping[str, int], action: GuardAction) -> None:
        """Count what was found in a request, by pattern."""
        for pattern, count in found.items():
            self._findings[pattern, action] += count

    def unguarded(self) -> None:
        """Count a body that was sent on without having been looked into."""
        self._unguarded += 1

    def rejected(self) -> None:
        """Count a call the open breaker kept back."""
        self._rejections += 1

    def transition(self, from_state: State, to_state: State, reason: Reason) -> None:
        """Count a change of the breaker's state."""
        self._transitions[from_state, to_state, reason] += 1

    def first_byte(self, seconds: float) -> None:
        self._first_byte.observe(seconds)

    def first_event(self, count: int, seconds: float) -> None:
        """Count the *count* events a stream began with, *seconds* after its request."""
        self._events += count
        self._first_event.observe(seconds)

    def events(self, count: int, gap: float) -> None:
        """Count *count* events that came together, *gap* seconds after those before."""
        self._events += count
        self._event_gap.observe(gap)

    def unverified(self) -> None:
        """Count a stream that was too long to be held back whole."""
        self._unverified += 1

    def stream_abort(self, phase: AbortPhase) -> None:
        self._aborts[phase] += 1

    def client_disconnect(self, phase: LeavePhase) -> None:
        self._disconnects[phase] += 1
