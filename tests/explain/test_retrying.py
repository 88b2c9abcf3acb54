"""What one call can turn into."""

from random import Random

import pytest
from explain.explaining import policy
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import schema
from proxy.explain.retrying import Span, failing, failure, retrying
from proxy.policy.budget import RetryBudget
from proxy.policy.retry import RetryPolicy


def waits(found):
    return [(attempt.wait.least, attempt.wait.most) for attempt in found.attempts[1:]]


def begins(found):
    return [(attempt.begins.least, attempt.begins.most) for attempt in found.attempts]


def test_the_standard_waits_are_one_two_and_four_seconds_or_down_to_half_of_that():
    found = retrying(policy())

    assert waits(found) == [(0.5, 1), (1, 2), (2, 4)]
    assert begins(found) == [(0, 0), (0.5, 1), (1.5, 3), (3.5, 7)]


def test_without_jitter_each_wait_is_one_length():
    found = retrying(policy(retry={"jitter": False, "max_retries": 2}))

    assert [attempt.wait for attempt in found.attempts] == [Span(0, 0), Span(1, 1), Span(2, 2)]


RETRIES = st.builds(
    schema.Retry,
    max_retries=st.integers(0, 8),
    base_delay=st.floats(0, 5),
    exponential_base=st.floats(1, 3),
    max_delay=st.floats(5, 20),
    jitter=st.booleans(),
)


@given(RETRIES, st.integers())
def test_no_dice_give_a_wait_outside_the_one_that_is_told(retry, seed):
    budget = RetryBudget(schema.Budget(ratio=0, min_per_second=100), lambda: 0.0)
    policy_ = RetryPolicy(retry, Random(seed))
    found = retrying(schema.Policy(retry=retry, timeouts=schema.Timeouts(total="none")))

    assert len(found.attempts) == retry.max_retries + 1
    for attempt in found.attempts[1:]:
        wait = policy_.decide(failure(failing(503), attempt.number - 1), budget).wait
        assert attempt.wait.least <= wait <= attempt.wait.most


def test_with_nothing_to_retry_on_there_is_one_attempt():
    assert len(retrying(policy(retry={"retry_on": []})).attempts) == 1


def test_a_word_alone_is_retried_as_a_status_is():
    assert len(retrying(policy(retry={"retry_on": ["timeout"]})).attempts) == 4


def test_what_does_not_fit_into_total_is_counted_apart():
    found = retrying(policy({"total": "4s"}, {"max_retries": 5}))

    assert begins(found) == [(0, 0), (0.5, 1), (1.5, 3), (3.5, 4)]
    assert found.too_late == 2


def test_total_is_the_longest_wait_and_a_stream_may_take_its_first_event_on_top():
    found = retrying(policy({"total": "40s", "first_event": "20s"}))

    assert (found.longest_wait, found.longest_wait_for_event) == (40, 60)


def test_a_verified_stream_waits_no_longer_than_any_answer():
    found = retrying(policy({"total": "40s"}, stream={"mode": "verified"}))

    assert found.longest_wait_for_event == 40


def test_without_total_attempts_and_waits_add_up_with_the_longest_an_upstream_may_ask_for():
    timeouts = {"total": "none", "connect": "5s", "first_byte": "10s"}
    found = retrying(policy(timeouts, {"max_retries": 2, "max_retry_after": "10s"}))

    assert found.longest_attempt == 15
    assert found.longest_wait == 3 * 15 + 2 * 12


@pytest.mark.parametrize("missing", ["connect", "first_byte"])
def test_without_any_limit_there_is_no_longest_wait(missing):
    found = retrying(policy({"total": "none", missing: "none"}))

    assert (found.longest_attempt, found.longest_wait, found.longest_wait_for_event) == (None,) * 3


def test_a_stream_whose_first_event_has_no_limit_may_be_waited_for_without_end():
    assert retrying(policy({"first_event": "none"})).longest_wait_for_event is None
