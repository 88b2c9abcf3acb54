"""When the circuit opens."""

import pytest

from proxy.config.load import parse
from proxy.explain.outage import MOST, brownouts, outage


def upstream(keys):
    config = parse(f"upstreams: {{x: {{url: 'http://a', {keys}}}}}", "f", {})
    return config.upstreams["x"]


def shares(keys):
    return {found.share: found.attempts for found in brownouts(upstream(keys))}


@pytest.mark.parametrize(
    ("keys", "attempts", "calls"),
    [
        ("kind: http", 5, 2),
        ("retry: {max_retries: 0}", 5, 5),
        ("retry: {max_retries: 4}", 5, 1),
        ("retry: {retry_on: []}", 5, 5),
        ("retry: {retry_on: [429]}", 5, 5),
        ("breaker: {failure_threshold: 1}", 1, 1),
        # The share alone: twenty calls in the window, and half of them bad.
        ("breaker: {failure_threshold: 1000}", 20, 5),
        ("breaker: {failure_threshold: 1000, failure_on: [timeout]}", 20, 20),
        # Waits of a minute leave too little in a window of ten seconds.
        (
            "breaker: {failure_threshold: 3000, window: 10s}, timeouts: {total: none}, retry: {base_delay: 60s, jitter: false}",
            None,
            None,
        ),
        ("timeouts: {total: 400ms}", 5, 5),
        ("timeouts: {total: none}", 5, 2),
        ("breaker: {mode: observe}", 5, 2),
        ("breaker: {mode: disabled}", None, None),
        ("breaker: {failure_on: []}", None, None),
    ],
)
def test_a_full_outage_opens_it_after_so_many_attempts_and_calls(keys, attempts, calls):
    found = outage(upstream(keys))

    assert (found.attempts, found.calls) == (attempts, calls)


def test_a_small_budget_leaves_single_attempts():
    found = outage(upstream("retry: {budget: {ratio: 0, min_per_second: 0}}"))

    assert found.calls == 5


def test_the_more_fail_the_sooner_it_opens():
    found = shares("kind: http")

    assert found[0.1] is None
    assert 20 <= found[0.5] < found[0.3] <= MOST


def test_a_share_below_what_fails_opens_it_as_soon_as_there_are_enough_calls():
    found = shares("breaker: {failure_rate: 0.2, min_requests: 50, failure_threshold: 1000}")

    assert 50 <= found[0.5] < 60
    assert found[0.1] is None


@pytest.mark.parametrize("keys", ["breaker: {mode: disabled}", "breaker: {failure_on: []}"])
def test_what_blames_nobody_never_opens_it(keys):
    assert set(shares(keys).values()) == {None}


def test_the_same_config_is_told_the_same():
    assert shares("kind: llm") == shares("kind: llm")
