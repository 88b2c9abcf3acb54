"""Counting and timing; the door to prometheus-client.

Rule 1: on the path of a request, to count is to add to a plain number. The library's own counters
take a lock, and its histograms a walk over the buckets, for each of the six that a request moves.
Rule 2: what Prometheus reads is made when it asks: from those numbers, and from the breakers.
Names, labels and their closed sets are `catalogue`'s.
"""

import platform
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import prometheus_client
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from proxy import __version__
from proxy.errors import CacheError
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
    ReloadResult,
    Reroute,
)
from proxy.policy.transitions import Reason, State

Numbers = Counter[Any]
"""Counts by the value of a label, or by a tuple of such."""


@dataclass(frozen=True, slots=True)
class BreakerReading:
    """A breaker at this moment; *open_until* is Unix time, 0 where it is not open.

    One that is not *enforcing* rejects nothing, whatever its state.
    """

    upstream: str
    state: str
    failure_ratio: float
    open_until: float
    enforcing: bool = True


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
    """How often something took how long: seconds by bucket, their sum, and each bucket's example.

    There are examples only where somebody traces.
    """

    __slots__ = ("_bounds", "_counts", "_examples", "_sum")

    def __init__(self, metric: Metric) -> None:
        self._bounds = metric.buckets
        self._counts = [0] * (len(metric.buckets) + 1)
        self._examples: dict[int, Exemplar] = {}
        self._sum = 0.0

    def observe(self, seconds: float, example: Example | None = None) -> None:
        bucket = bisect_left(self._bounds, seconds)
        self._counts[bucket] += 1
        self._sum += seconds
        if example is not None:
            self._examples[bucket] = Exemplar({"trace_id": example.trace_id}, seconds, example.at)

    def read(self) -> tuple[list[tuple[str, float]], float]:
        """Give what Prometheus wants: how many took at most so long, and the sum."""
        buckets, below = [], 0
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            below += count
            le = prometheus_client.utils.floatToGoString(bound)  # type: ignore[no-untyped-call]
            buckets.append((le, float(below)))
        return buckets, self._sum

    def example(self, bucket: int) -> Exemplar | None:
        """Give the last trace that was counted in the bucket of this number."""
        return self._examples.get(bucket)


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


class Metrics:
    """All the proxy's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        prometheus_client.ProcessCollector(registry=self.registry)
        prometheus_client.PlatformCollector(registry=self.registry)
        self._ask: Callable[[], Iterable[BreakerReading]] = tuple
        self._readings: tuple[BreakerReading, ...] = ()
        self._ask_cache: Callable[[], int] = int
        self._cache_bytes = 0
        self._upstreams: dict[str, UpstreamMetrics] = {}
        self._errors: Numbers = Counter({(code, "proxy"): 0 for code in catalogue.CODES})
        self._error_durations: dict[str, Durations] = {}
        self._reloads: Numbers = Counter(dict.fromkeys(catalogue.RELOAD_RESULTS, 0))
        self.shared: bool | None = None
        """Whether the other replicas are heard; None where nothing is shared."""
        self.config_rejected_since = 0.0
        """Since when the config file is not what is in force, as Unix time; 0: it is."""
        self.registry.register(_Exposition(self.families))

    def upstream(self, name: str) -> UpstreamMetrics:
        """Give the numbers of an upstream or pool, the same ones each time."""
        if name not in self._upstreams:
            self._upstreams[name] = UpstreamMetrics()
        return self._upstreams[name]

    def remove(self, name: str) -> None:
        """Drop the numbers of an upstream that is no longer there.

        Who still holds its UpstreamMetrics may go on using it; nobody will see.
        """
        self._upstreams.pop(name, None)

    def error(self, code: str, seconds: float) -> None:
        """Count an envelope sent *seconds* after its request came."""
        self._errors[code, "proxy"] += 1
        durations = self._error_durations.get(code)
        if durations is None:
            durations = self._error_durations[code] = Durations(catalogue.ERROR_DURATION)
        durations.observe(seconds)

    def reloaded(self, result: ReloadResult) -> None:
        self._reloads[result] += 1

    def cache_failed(self) -> None:
        """Count a store that could not be read or written; its caller has noticed nothing."""
        self._errors[CacheError.error_code, "proxy"] += 1

    def watch(
        self,
        breakers: Callable[[], Iterable[BreakerReading]],
        cache_bytes: Callable[[], int] = int,
    ) -> None:
        """Ask the breakers, and what the cache takes, at each scrape."""
        self._ask = breakers
        self._ask_cache = cache_bytes

    def render(self, accept: str) -> tuple[bytes, str]:
        """Give the metrics and their content type: OpenMetrics where asked for, else text."""
        self.read_breakers()
        return self.expose(accept)

    def read_breakers(self) -> None:
        """Read the breakers for the next `expose`, in the thread that they live in."""
        self._readings = tuple(self._ask())
        self._cache_bytes = self._ask_cache()

    def expose(self, accept: str) -> tuple[bytes, str]:
        """Do the part of `render` that takes long, in whichever thread."""
        # The library's own choice by Accept raises on `version=abc`.
        if "application/openmetrics-text" in accept:
            text: bytes = openmetrics.generate_latest(self.registry)  # type: ignore[no-untyped-call]
            return text, openmetrics.CONTENT_TYPE_LATEST
        return (
            prometheus_client.generate_latest(self.registry),
            prometheus_client.CONTENT_TYPE_PLAIN_0_0_4,
        )

    def families(self) -> Iterator[Family]:
        """Give every metric of the catalogue in the library's form, as it stands now."""
        families = {metric: _family(metric) for metric in catalogue.ALL}
        for name, upstream in list(self._upstreams.items()):
            for metric, numbers in upstream.read():
                _fill(families[metric], numbers, name)
        _fill(families[catalogue.ERRORS], self._errors)
        for code, durations in list(self._error_durations.items()):
            _fill(families[catalogue.ERROR_DURATION], durations, code)
        _fill(families[catalogue.CONFIG_RELOADS], self._reloads)
        since = Counter({(): self.config_rejected_since})
        _fill(families[catalogue.CONFIG_REJECTED_SINCE], since)
        _fill(families[catalogue.CACHE_BYTES], Counter({(): self._cache_bytes}))
        if self.shared is not None:
            _fill(families[catalogue.SHARED_CONNECTED], Counter({(): int(self.shared)}))
        build = (__version__, platform.python_version())
        _fill(families[catalogue.BUILD_INFO], Counter({build: 1}))
        for reading in self._readings:
            states = Counter({state: int(state == reading.state) for state in State})
            _fill(families[catalogue.BREAKER_STATE], states, reading.upstream)
            for metric, value in (
                (catalogue.BREAKER_FAILURE_RATIO, reading.failure_ratio),
                (catalogue.BREAKER_OPEN_UNTIL, reading.open_until),
                (catalogue.BREAKER_ENFORCING, int(reading.enforcing)),
            ):
                families[metric].add_sample(metric.name, {"upstream": reading.upstream}, value)
        return iter(families.values())


class _Exposition(Collector):
    """What the library asks when it is asked."""

    def __init__(self, families: Callable[[], Iterator[Family]]) -> None:
        self._families = families

    def collect(self) -> Iterator[Family]:
        return self._families()


_FAMILY: dict[str, Callable[..., Family]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}


def _family(metric: Metric) -> Family:
    return _FAMILY[metric.kind](metric.name, metric.help, labels=metric.labels)


def _fill(family: Any, numbers: Numbers | Durations, *first: str) -> None:
    """Put numbers into a family; *first* are the values of its first labels."""
    if isinstance(numbers, Durations):
        buckets, total = numbers.read()
        pointing = [(*bucket, numbers.example(n)) for n, bucket in enumerate(buckets)]
        family.add_metric(first, pointing, total)
        return
    for key, count in list(numbers.items()):
        rest = key if isinstance(key, tuple) else (key,)
        family.add_metric((*first, *map(str, rest)), count)
