import re
import shutil
import subprocess
import timeit
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Counter, Histogram

from proxy import errors
from proxy.observe import catalogue
from proxy.observe.metrics import BreakerReading, Metrics
from proxy.policy.retry import Decision, Verdict
from proxy.policy.transitions import Reason, State

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"


def told(metrics: Metrics) -> dict[str, float]:
    text = metrics.render("")[0].decode()
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {series: float(value) for series, _, value in lines}


def busy() -> Metrics:
    """Metrics after a bit of everything."""
    metrics = Metrics()
    metrics.watch(lambda: [BreakerReading("openai", State.OPEN, 0.75, 1_800_000_000.5)])
    upstream = metrics.upstream("openai")
    upstream.in_flight.__enter__()
    upstream.completed("POST", 200, "", 1.5, 0.0002)
    upstream.completed("POST", 502, "LLM_API_ERROR", 2.5, 0.0002)
    upstream.attempt("success")
    upstream.retry("status_5xx")
    upstream.retry_suppressed("budget")
    upstream.rejected()
    upstream.transition(State.CLOSED, State.OPEN, Reason.CONSECUTIVE)
    upstream.first_byte(0.3)
    upstream.stream_abort("events")
    upstream.client_disconnect("waiting")
    metrics.error("LLM_API_ERROR", 2.5)
    metrics.error("LLM_API_ERROR", 0.5)
    metrics.reloaded("rejected")
    metrics.config_rejected_since = 1_800_000_000.5
    return metrics


def test_each_thing_that_happens_moves_its_own_series():
    series = told(busy())

    assert {
        'octollm_proxy_in_flight{upstream="openai"}': 1,
        'octollm_proxy_requests_total{code="",method="POST",status="200",upstream="openai"}': 1,
        'octollm_proxy_requests_total{code="LLM_API_ERROR",method="POST",status="502",upstream="openai"}': 1,
        'octollm_proxy_request_duration_seconds_sum{upstream="openai"}': 4,
        'octollm_proxy_request_duration_seconds_bucket{le="0.005",upstream="openai"}': 0,
        'octollm_proxy_request_duration_seconds_bucket{le="600.0",upstream="openai"}': 2,
        'octollm_proxy_overhead_seconds_bucket{le="5e-05",upstream="openai"}': 0,
        'octollm_proxy_overhead_seconds_bucket{le="0.00025",upstream="openai"}': 2,
        'octollm_proxy_overhead_seconds_bucket{le="1.0",upstream="openai"}': 2,
        'octollm_proxy_first_byte_seconds_sum{upstream="openai"}': 0.3,
        'octollm_proxy_attempts_total{outcome="success",upstream="openai"}': 1,
        'octollm_proxy_retries_total{reason="status_5xx",upstream="openai"}': 1,
        'octollm_proxy_retry_suppressed_total{reason="budget",upstream="openai"}': 1,
        'octollm_proxy_breaker_rejections_total{upstream="openai"}': 1,
        'octollm_proxy_breaker_transitions_total{from_state="closed",reason="consecutive",to_state="open",upstream="openai"}': 1,
        'octollm_proxy_breaker_state{state="open",upstream="openai"}': 1,
        'octollm_proxy_breaker_state{state="closed",upstream="openai"}': 0,
        'octollm_proxy_breaker_state{state="half_open",upstream="openai"}': 0,
        'octollm_proxy_breaker_failure_ratio{upstream="openai"}': 0.75,
        'octollm_proxy_breaker_open_until_timestamp_seconds{upstream="openai"}': 1_800_000_000.5,
        'octollm_proxy_breaker_enforcing{upstream="openai"}': 1,
        'octollm_proxy_stream_aborts_total{phase="events",upstream="openai"}': 1,
        'octollm_proxy_client_disconnects_total{phase="waiting",upstream="openai"}': 1,
        'octollm_errors_total{component="proxy",error_type="LLM_API_ERROR"}': 2,
        'octollm_error_duration_seconds_sum{error_type="LLM_API_ERROR"}': 3,
        'octollm_proxy_config_reloads_total{result="rejected"}': 1,
        "octollm_proxy_config_rejected_since_timestamp_seconds": 1_800_000_000.5,
    }.items() <= series.items()


def test_what_alerts_watch_is_told_as_zero_before_it_happens():
    metrics = Metrics()
    metrics.upstream("openai")
    series = told(metrics)

    for name in (
        'octollm_proxy_breaker_rejections_total{upstream="openai"}',
        'octollm_proxy_breaker_transitions_total{from_state="closed",reason="failure_rate",to_state="open",upstream="openai"}',
        'octollm_proxy_retry_suppressed_total{reason="budget",upstream="openai"}',
        'octollm_errors_total{component="proxy",error_type="INTERNAL_ERROR"}',
        'octollm_proxy_config_reloads_total{result="rejected"}',
    ):
        assert series[name] == 0


def test_a_method_nobody_knows_is_told_as_other():
    metrics = Metrics()
    metrics.upstream("openai").completed("BREW\udc80", 501, "VALIDATION_ERROR", 0.1, 0.1)

    (series,) = (name for name in told(metrics) if name.startswith("octollm_proxy_requests_total"))
    assert 'method="other"' in series


def test_an_upstream_keeps_its_series_until_it_is_removed():
    metrics = Metrics()
    kept = metrics.upstream("openai")
    metrics.upstream("qdrant")
    kept.completed("GET", 200, "", 1, 1)

    assert metrics.upstream("openai") is kept
    metrics.remove("openai")
    metrics.remove("never-there")
    kept.rejected()
    assert 'upstream="openai"' not in metrics.render("")[0].decode()
    assert 'upstream="qdrant"' in metrics.render("")[0].decode()
    assert metrics.upstream("openai") is not kept


def test_breakers_are_read_when_somebody_asks():
    metrics = Metrics()
    readings: list[BreakerReading] = []
    metrics.watch(lambda: readings)
    name = 'octollm_proxy_breaker_open_until_timestamp_seconds{upstream="a"}'

    assert name not in told(metrics)
    readings.append(BreakerReading("a", State.OPEN, 1.0, 12.0))
    assert told(metrics)[name] == 12
    readings[0] = BreakerReading("a", State.CLOSED, 0.0, 0)
    assert told(metrics)[name] == 0


def test_an_open_breaker_that_rejects_nothing_says_so():
    metrics = Metrics()
    metrics.watch(lambda: [BreakerReading("a", State.OPEN, 1.0, 12.0, enforcing=False)])

    series = told(metrics)

    assert series['octollm_proxy_breaker_state{state="open",upstream="a"}'] == 1
    assert series['octollm_proxy_breaker_enforcing{upstream="a"}'] == 0


def test_openmetrics_is_given_to_who_asks_for_it():
    # What Prometheus 3 sends.
    accept = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.5"
    body, content_type = busy().render(accept)

    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


@given(st.one_of(st.text(), st.just("text/plain; version=abc; escaping=no")))
def test_any_accept_gets_metrics(accept):
    body, content_type = METRICS.render(accept)

    assert b"octollm_proxy_build_info" in body
    assert content_type.startswith(("text/plain", "application/openmetrics-text"))


METRICS = Metrics()


def test_the_process_and_the_interpreter_are_told_too():
    series = told(Metrics())

    assert any(name.startswith("process_resident_memory_bytes") for name in series)
    assert any(name.startswith("python_info") for name in series)
    assert not any("_created" in name for name in series)
    (build,) = (name for name in series if name.startswith("octollm_proxy_build_info"))
    assert re.search(r'python="3\.\d+\.\d+.*version="\d+\.\d+\.\d+', build)


def test_every_metric_of_the_catalogue_is_there_and_no_other():
    names = {family.name for family in busy().registry.collect()}
    ours = {name for name in names if name.startswith("octollm")}

    assert ours == {metric.name.removesuffix("_total") for metric in catalogue.ALL}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_own_linter_has_nothing_to_say():
    run = subprocess.run(
        ["promtool", "check", "metrics"],
        input=busy().render("")[0],
        capture_output=True,
        check=False,
    )

    assert (run.returncode, run.stdout, run.stderr) == (0, b"", b"")


def test_the_documentation_has_the_table_of_the_catalogue():
    assert catalogue.table() in DOCS.read_text()


@pytest.mark.parametrize(
    ("end", "word"),
    [
        (204, "success"),
        (304, "success"),
        (404, "status_4xx"),
        (429, "status_429"),
        (529, "status_5xx"),
        (999, "status_5xx"),
        (errors.NetworkError("x", condition="cut"), "cut"),
        (errors.NetworkError("x", condition="connect"), "connect"),
        (errors.LLMAPIError("openai", 503, "x", condition=503), "status_5xx"),
        (errors.TimeoutError("first byte", 5, condition="timeout"), "timeout"),
        (errors.TimeoutError("call", 5), "deadline"),
        (errors.CapacityExceededError("full"), "cancelled"),
    ],
)
def test_the_end_of_an_attempt_has_one_word(end, word):
    assert catalogue.outcome(end) == word
    assert word in catalogue.OUTCOMES


def test_the_words_of_the_retry_decision_are_the_ones_that_are_counted():
    decisions = (Decision(verdict) for verdict in Verdict)
    words = {decision.suppressed for decision in decisions if decision.suppressed is not None}

    assert words == set(catalogue.SUPPRESSIONS)


def test_counting_a_request_is_cheaper_than_the_librarys_own_counters():
    completed = Metrics().upstream("openai").completed
    counter = Counter("a", "a", registry=None)
    duration, overhead = (Histogram(name, name, registry=None) for name in "bc")

    def theirs() -> None:
        counter.inc()
        duration.observe(0.9)
        overhead.observe(0.0001)

    def ours() -> None:
        completed("POST", 200, "", 0.9, 0.0001)

    assert min(timeit.repeat(ours, number=1_000)) < min(timeit.repeat(theirs, number=1_000))
