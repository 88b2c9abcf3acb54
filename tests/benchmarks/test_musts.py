"""The promises beside what came out: each figure from rounds that are made up."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "benchmarks"))
import musts
import report
from scenarios import ALL, Sample, Series


def results(**costs: dict[str, Sample]):
    """Scenarios by key, `_` for `-`; contenders by name, each with the same round twice."""
    by_key = {scenario.key: scenario for scenario in ALL}
    return [
        (
            by_key[key.replace("_", "-")],
            [Series(name, [sample] * 2) for name, sample in samples.items()],
        )
        for key, samples in costs.items()
    ]


def measured(what: str, unit: str, run) -> float | None:
    must = next(one for one in musts.ALL if (one.what, one.unit) == (what, unit))
    return must.measured(musts.found(run))


def test_a_promise_is_measured_beside_the_contender_it_names():
    run = results(small_64={"octollm-proxy": Sample(3e-5), "Envoy": Sample(6e-5)})

    assert measured("CPU per request, 64 connections", "times Envoy", run) == pytest.approx(0.5)
    assert measured("the same", "times Caddy", run) is None


def test_the_median_latency_is_compared_and_not_the_cost():
    run = results(
        small_1={"octollm-proxy": Sample(9, p50=0.2), "Envoy": Sample(1, p50=0.4)},
    )

    assert measured("p50 at 1 connection", "times Envoy", run) == pytest.approx(0.5)


def test_a_rejection_is_measured_in_requests_of_envoy():
    run = results(
        small_64={"Envoy": Sample(55e-6)},
        rejection={"octollm-proxy": Sample(40e-6)},
    )

    what = "An open breaker, CPU per rejection"
    assert measured(what, "times Envoy's request", run) == pytest.approx(40 / 55)


def test_growth_is_ours_beside_ours():
    run = results(
        small_64={"octollm-proxy": Sample(2e-5)}, small_1000={"octollm-proxy": Sample(3e-5)}
    )

    what = "CPU per request, 1,000 connections"
    assert measured(what, "times 64 connections", run) == pytest.approx(1.5)


def test_what_an_event_needs_without_a_proxy_is_nobodys():
    what = "Time an event spends in the proxy, p99"
    delays = {"(no proxy)": Sample(0, p99=0.1), "octollm-proxy": Sample(1, p99=0.3)}

    beside = results(events={**delays, "Envoy": Sample(1, p99=0.5)})
    as_fast_as_nothing = results(events={**delays, "Envoy": Sample(1, p99=0.1)})

    assert measured(what, "times Envoy", beside) == pytest.approx(0.5)
    assert measured(what, "times Envoy", as_fast_as_nothing) is None
    assert measured(what, "times Envoy", results(events=delays)) is None


def test_the_page_says_itself_what_is_not_reached():
    run = results(
        small_64={"octollm-proxy": Sample(9e-5), "Envoy": Sample(6e-5)},
        idle={"octollm-proxy": Sample(20.0)},
    )

    text = report.page(run, {}, "about", None)

    assert "| CPU per request, 64 connections | ≤ 1 times Envoy | 1.5 | **no** |" in text
    assert "| the same | ≤ 0.06 times Portkey |  | not measured |" in text
    assert "| Memory of an idle stream | ≤ 30 KiB | 20 | yes |" in text
    assert "Met: 1 of 12." in text


def test_a_contender_that_was_left_out_is_not_measured():
    run = [(ALL[0], [Series("octollm-proxy", [Sample(1e-5)]), Series("Envoy", left_out=True)])]

    assert measured("CPU per request, 64 connections", "times Envoy", run) is None
