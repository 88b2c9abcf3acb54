"""Counting and timing; the door to prometheus-client.

Rule 1: on the path of a request nothing is looked up by label: the children of an upstream are
made with it and kept in its `UpstreamMetrics`.
Rule 2: what can be read when Prometheus asks is read then (the breakers), not kept up to date.
Names, labels and their closed sets are `catalogue`'s.
"""

import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from proxy import __version__
from proxy.observe import catalogue
from proxy.observe.catalogue import (
    AbortPhase,
    LeavePhase,
    Metric,
    Outcome,
    ReloadResult,
)
from proxy.policy.transitions import Reason, State

# The time a series was born doubles the lines of every counter, and nothing here asks for it.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class BreakerReading:
    """A breaker at this moment; *open_until* is Unix time, 0 where it is not open."""

    upstream: str
    state: str
    failure_ratio: float
    open_until: float


class InFlight:
    """How many requests are being served: `with in_flight:` is one of them."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> None:
        self.count += 1

    def __exit__(self, *_: object) -> None:
        self.count -= 1


class UpstreamMetrics:
    """The series of one upstream or pool; every method is cheap enough for every request."""

    def __init__(self, families: "_Families", name: str) -> None:
        self.in_flight = InFlight()
        families.in_flight.labels(name).set_function(lambda: self.in_flight.count)
        self._families = families
        self._name = name
        self._completed: dict[tuple[str, int, str], Counter] = {}
        self._duration = families.request_duration.labels(name)
        self._overhead = families.overhead.labels(name)
        self._first_byte = families.first_byte.labels(name)
        self._rejections = families.breaker_rejections.labels(name)
        self._attempts = {word: families.attempts.labels(name, word) for word in catalogue.OUTCOMES}
        self._retries: dict[Outcome, Counter] = {
            word: families.retries.labels(name, word) for word in catalogue.FAULTS
        }
        self._suppressed: dict[str, Counter] = {
            word: families.retry_suppressed.labels(name, word) for word in catalogue.SUPPRESSIONS
        }
        self._aborts = {
            word: families.stream_aborts.labels(name, word) for word in catalogue.ABORT_PHASES
        }
        self._disconnects = {
            word: families.client_disconnects.labels(name, word) for word in catalogue.LEAVE_PHASES
        }
        for move in catalogue.TRANSITIONS:
            families.breaker_transitions.labels(name, *move)

    def completed(
        self, method: str, status: int, code: str, duration: float, overhead: float
    ) -> None:
        """Count a request that is over; *code* is "" on success, *status* 499 if the caller left.

        *duration* and *overhead* are seconds.
        """
        if method not in catalogue.METHODS:
            method = "other"
        key = method, status, code
        counter = self._completed.get(key)
        if counter is None:
            counter = self._families.requests.labels(self._name, method, str(status), code)
            self._completed[key] = counter
        counter.inc()
        self._duration.observe(duration)
        self._overhead.observe(overhead)

    def attempt(self, outcome: Outcome) -> None:
        """Count an attempt that is over; `catalogue.outcome` finds the word."""
        self._attempts[outcome].inc()

    def retry(self, reason: Outcome) -> None:
        """Count an attempt that is made again, for a reason that is one of `catalogue.FAULTS`."""
        self._retries[reason].inc()

    def retry_suppressed(self, reason: str) -> None:
        """Count a retry not made; *reason* is the retry decision's word for what forbade it."""
        self._suppressed[reason].inc()

    def rejected(self) -> None:
        """Count a call the open breaker kept back."""
        self._rejections.inc()

    def transition(self, from_state: State, to_state: State, reason: Reason) -> None:
        """Count a change of the breaker's state."""
        self._families.breaker_transitions.labels(self._name, from_state, to_state, reason).inc()

    def first_byte(self, seconds: float) -> None:
        self._first_byte.observe(seconds)

    def stream_abort(self, phase: AbortPhase) -> None:
        self._aborts[phase].inc()

    def client_disconnect(self, phase: LeavePhase) -> None:
        self._disconnects[phase].inc()


class Metrics:
    """All the proxy's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        prometheus_client.ProcessCollector(registry=self.registry)
        prometheus_client.PlatformCollector(registry=self.registry)
        self._families = _Families(self.registry)
        self._breakers = _Breakers()
        self.registry.register(self._breakers)
        self._upstreams: dict[str, UpstreamMetrics] = {}
        self._errors = {
            code: self._families.errors.labels(code, "proxy") for code in catalogue.CODES
        }
        self._error_durations: dict[str, Histogram] = {}
        self._reloads = {
            result: self._families.config_reloads.labels(result)
            for result in catalogue.RELOAD_RESULTS
        }
        build = self._families.build_info.labels(__version__, platform.python_version())
        build.set(1)

    def upstream(self, name: str) -> UpstreamMetrics:
        """Give the series of an upstream or pool, the same ones each time."""
        if name not in self._upstreams:
            self._upstreams[name] = UpstreamMetrics(self._families, name)
        return self._upstreams[name]

    def remove(self, name: str) -> None:
        """Drop the series of an upstream that is no longer there.

        Who still holds its UpstreamMetrics may go on using it; nobody will see.
        """
        if self._upstreams.pop(name, None) is not None:
            for family in self._families.per_upstream:
                family.remove_by_labels({"upstream": name})

    def error(self, code: str, seconds: float) -> None:
        """Count an envelope sent *seconds* after its request came."""
        durations = self._error_durations.get(code)
        if durations is None:
            durations = self._families.error_duration.labels(code)
            self._error_durations[code] = durations
        self._errors[code].inc()
        durations.observe(seconds)

    def reloaded(self, result: ReloadResult) -> None:
        self._reloads[result].inc()

    def watch(self, breakers: Callable[[], Iterable[BreakerReading]]) -> None:
        """Ask *breakers* for their gauges at each scrape."""
        self._breakers.ask = breakers

    def render(self, accept: str) -> tuple[bytes, str]:
        """Give the metrics and their content type: OpenMetrics where asked for, else text."""
        self.read_breakers()
        return self.expose(accept)

    def read_breakers(self) -> None:
        """Read the breakers for the next `expose`, in the thread that they live in."""
        self._breakers.readings = tuple(self._breakers.ask())

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


class _Families:
    """Each metric of the catalogue but the breakers' gauges, once, in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(metric: Metric) -> Counter:
            return Counter(metric.name, metric.help, metric.labels, registry=registry)

        def gauge(metric: Metric) -> Gauge:
            return Gauge(metric.name, metric.help, metric.labels, registry=registry)

        def histogram(metric: Metric) -> Histogram:
            return Histogram(
                metric.name, metric.help, metric.labels, buckets=metric.buckets, registry=registry
            )

        self.requests = counter(catalogue.REQUESTS)
        self.request_duration = histogram(catalogue.REQUEST_DURATION)
        self.first_byte = histogram(catalogue.FIRST_BYTE)
        self.overhead = histogram(catalogue.OVERHEAD)
        self.in_flight = gauge(catalogue.IN_FLIGHT)
        self.attempts = counter(catalogue.ATTEMPTS)
        self.retries = counter(catalogue.RETRIES)
        self.retry_suppressed = counter(catalogue.RETRY_SUPPRESSED)
        self.breaker_transitions = counter(catalogue.BREAKER_TRANSITIONS)
        self.breaker_rejections = counter(catalogue.BREAKER_REJECTIONS)
        self.stream_aborts = counter(catalogue.STREAM_ABORTS)
        self.client_disconnects = counter(catalogue.CLIENT_DISCONNECTS)
        self.per_upstream = tuple(vars(self).values())

        self.errors = counter(catalogue.ERRORS)
        self.error_duration = histogram(catalogue.ERROR_DURATION)
        self.config_reloads = counter(catalogue.CONFIG_RELOADS)
        self.build_info = gauge(catalogue.BUILD_INFO)


class _Breakers(Collector):
    """The breakers' gauges, computed when somebody asks."""

    def __init__(self) -> None:
        self.ask: Callable[[], Iterable[BreakerReading]] = tuple
        self.readings: tuple[BreakerReading, ...] = ()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        states, ratios, until = gauges = [
            GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
            for metric in catalogue.BREAKER
        ]
        for reading in self.readings:
            for state in State:
                states.add_metric((reading.upstream, state), float(state == reading.state))
            ratios.add_metric((reading.upstream,), reading.failure_ratio)
            until.add_metric((reading.upstream,), reading.open_until)
        return iter(gauges)
