"""What Prometheus reads; the door to prometheus-client.

Rule: it is made when somebody asks, from the plain numbers of `counting`, and from the breakers.
Names, labels and their closed sets are `catalogue`'s.
"""

import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from math import inf
from typing import Any

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
from proxy.observe.catalogue import Metric, ReloadResult
from proxy.observe.counting import Durations, Numbers, UpstreamMetrics
from proxy.policy.transitions import State


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
        family.add_metric(first, list(_buckets(numbers)), numbers.total)
        return
    for key, count in list(numbers.items()):
        rest = key if isinstance(key, tuple) else (key,)
        family.add_metric((*first, *map(str, rest)), count)


def _buckets(durations: Durations) -> Iterator[tuple[str, float, Exemplar | None]]:
    """Give how many took at most so long, for each bound, and an example for its bucket."""
    examples = dict(durations.examples)  # as they stand now: others may add to them
    for bucket, below in enumerate(accumulate(durations.counts)):
        bound = durations.bounds[bucket] if bucket < len(durations.bounds) else inf
        le = prometheus_client.utils.floatToGoString(bound)  # type: ignore[no-untyped-call]
        exemplar = None
        if bucket in examples:
            seconds, example = examples[bucket]
            exemplar = Exemplar({"trace_id": example.trace_id}, seconds, example.at)
        yield le, float(below), exemplar
