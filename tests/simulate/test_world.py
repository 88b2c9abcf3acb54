from collections import Counter
from itertools import pairwise
from random import Random

import pytest
from simulate.support import told

from proxy.simulate import world
from proxy.simulate.figures import quantile


def met(text, at=0.0, times=4000):
    chance, scenario = Random(7), told("duration: 1m\n" + text)
    return [world.fate(scenario, at, chance) for _ in range(times)]


def test_callers_come_in_order_and_as_often_as_the_rate_says():
    scenario = told("duration: 200s\narrivals: [{at: 0s, rate: 30}, {at: 100s, rate: 3}]\n")

    moments = list(world.arrivals(scenario, Random(7)))

    early = sum(at < 100 for at in moments)
    assert all(one < other for one, other in pairwise(moments))
    assert early == pytest.approx(3000, rel=0.1)
    assert len(moments) - early == pytest.approx(300, rel=0.2)


@pytest.mark.parametrize("steps", ["[]", "[{rate: 0}]"])
def test_nobody_comes_at_a_rate_of_nothing(steps):
    scenario = told(f"duration: 1m\narrivals: {steps}\n")

    assert not list(world.arrivals(scenario, Random(7)))


def test_good_answers_are_as_fast_as_their_two_points_say():
    seconds = sorted(fate.seconds for fate in met("latency: {p50: 2s, p99: 10s}\n", times=20_000))

    assert quantile(seconds, 50) == pytest.approx(2, rel=0.1)
    assert quantile(seconds, 99) == pytest.approx(10, rel=0.1)


def test_a_failure_is_met_by_its_share_and_only_in_its_time():
    text = 'failures: [{at: 10s, lasts: 5s, kind: "429", share: 0.25, retry_after: 3s}]\n'

    kinds = Counter((fate.kind, fate.retry_after) for fate in met(text, at=10.0))

    assert kinds["429", 3.0] == pytest.approx(1000, rel=0.1)
    assert kinds[None, None] == pytest.approx(3000, rel=0.1)
    assert {fate.kind for at in (9.9, 15.0) for fate in met(text, at)} == {None}


def test_slow_makes_everything_slower_even_failing():
    text = "latency: {p50: 1s, p99: 1s}\nfailures:\n- {at: 0s, lasts: 1m, kind: slow, factor: 4}\n"
    failing = '- {at: 0s, lasts: 1m, kind: "503"}\n'

    assert {fate.seconds for fate in met(text)} == {4.0}
    assert {fate.seconds for fate in met(text + failing)} == {4 * world.FAILING_SECONDS}


@pytest.mark.parametrize(("kind", "seconds"), [("refused", 0), ("hang", 0), ("cut", 1)])
def test_other_failures_are_met_when_they_can_be_noticed(kind, seconds):
    text = f"latency: {{p50: 1s, p99: 1s}}\nfailures: [{{at: 0s, lasts: 1m, kind: {kind}}}]\n"

    assert set(met(text)) == {world.Fate(kind, seconds)}
