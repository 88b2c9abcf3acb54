import asyncio
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import errors
from proxy.config import schema
from proxy.policy.budget import RetryBudget
from proxy.policy.retry import Failure, RetryPolicy, Verdict
from proxy.testing.clock import Clock


def plenty():
    return RetryBudget(schema.Budget(min_per_second=1000), Clock())


def failure(error=None, **facts):
    return Failure(
        error=error or errors.LLMAPIError("openai", 500, condition=500),
        **{
            "attempts": 1,
            "body_whole": True,
            "may_repeat": True,
            "would_admit": True,
            **facts,
        },
    )


def decide(given=None, budget=None, seed=1, **settings):
    policy = RetryPolicy(schema.Retry(**settings), Random(seed))
    return policy.decide(given or failure(), budget or plenty())


class BadCertificate(errors.NetworkError):
    def __init__(self):
        super().__init__("bad certificate", condition="connect", sent=False)
        self.retryable = False


@pytest.mark.parametrize(
    ("attempts", "wait"), [(1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (6, 32.0), (7, 60.0), (99, 60.0)]
)
def test_without_jitter_the_wait_is_the_formula(attempts, wait):
    decision = decide(failure(attempts=attempts), max_retries=100, jitter=False)
    assert (decision.verdict, decision.wait) == (Verdict.RETRY, wait)


@given(
    attempts=st.integers(1, 100),
    base=st.floats(0.001, 30),
    longest=st.floats(30, 120),
    power=st.floats(1, 10),
    seed=st.integers(),
)
def test_with_jitter_the_wait_lies_between_half_of_the_formula_and_all_of_it(
    attempts, base, longest, power, seed
):
    formula = min(base * power ** (attempts - 1), longest)
    decision = decide(
        failure(attempts=attempts),
        seed=seed,
        max_retries=100,
        base_delay=base,
        max_delay=longest,
        exponential_base=power,
    )
    assert decision.verdict is Verdict.RETRY
    assert 0.5 * formula * 0.999 <= decision.wait <= formula * 1.001


@given(asked=st.floats(0, 60), attempts=st.integers(1, 4), seed=st.integers())
def test_a_wait_is_never_shorter_than_what_the_upstream_asks_for(asked, attempts, seed):
    decision = decide(failure(asked=asked, attempts=attempts), seed=seed, max_retries=4)
    assert decision.verdict is Verdict.RETRY
    assert asked <= decision.wait <= max(asked * 1.2, 2.0 ** (attempts - 1))


def test_callers_who_were_asked_to_wait_do_not_come_back_as_one():
    waits = {decide(failure(asked=10.0), seed=seed, jitter=False).wait for seed in range(20)}
    assert len(waits) == 20


def test_the_last_attempt_is_the_last():
    assert decide(failure(attempts=3)).verdict is Verdict.RETRY
    assert decide(failure(attempts=4)).verdict is Verdict.EXHAUSTED
    assert decide(failure(attempts=1), max_retries=0).verdict is Verdict.EXHAUSTED


LISTED = frozenset({"connect", "timeout", 409, 500})


@pytest.mark.parametrize(
    ("error", "should_retry", "retried"),
    [
        (errors.NetworkError("refused", condition="connect"), None, True),
        (errors.NetworkError("reset", condition="reset"), None, False),
        (errors.TimeoutError("first byte", 30, condition="timeout"), None, True),
        (errors.TimeoutError("the request", 60), None, False),
        (errors.LLMAPIError("openai", 500, condition=500), None, True),
        (errors.LLMAPIError("openai", 503, condition=503), None, False),
        (errors.ValidationError("conflict", condition=409), None, True),
        (errors.ValidationError("malformed", condition=400), None, False),
        (errors.ValidationError("ours"), None, False),
        (errors.ValidationError("ours"), True, False),
        (errors.CapacityExceededError("full"), None, False),
        (errors.CircuitOpenError("openai", 1.0), None, False),
        (BadCertificate(), None, False),
        (BadCertificate(), True, False),
        (errors.LLMAPIError("openai", 500, condition=500), False, False),
        (errors.LLMAPIError("openai", 503, condition=503), True, True),
        (errors.ValidationError("malformed", condition=400), True, True),
        # A word that only a class which is retried by nature can answer to.
        (errors.ValidationError("strange", condition="connect"), None, False),
    ],
)
def test_what_is_retried_is_what_the_user_lists_and_nobody_forbids(error, should_retry, retried):
    decision = decide(failure(error, should_retry=should_retry), retry_on=LISTED)
    assert decision.verdict is (Verdict.RETRY if retried else Verdict.NOT_RETRYABLE)
    assert decision.suppressed is None
    assert (decision.wait is not None) == retried


def test_an_invitation_to_retry_lasts_no_longer_than_our_own_retries():
    decision = decide(failure(attempts=4, should_retry=True))
    assert decision.verdict is Verdict.EXHAUSTED


def test_a_cancellation_is_never_retried():
    decision = decide(failure(asyncio.CancelledError(), should_retry=True))
    assert decision.verdict is Verdict.NOT_RETRYABLE


@pytest.mark.parametrize(
    ("facts", "verdict"),
    [
        ({"asked": 61.0}, Verdict.DECLINED),
        ({"asked": 60.0}, Verdict.RETRY),
        ({"asked": 10.0, "remaining": 10.0}, Verdict.DECLINED),
        ({"asked": 10.0, "remaining": 9.0}, Verdict.DECLINED),
        ({"asked": 10.0, "remaining": 12.5}, Verdict.RETRY),
        ({"remaining": 1.0}, Verdict.DEADLINE),
        ({"remaining": 1.1}, Verdict.RETRY),
        ({"remaining": 0.0}, Verdict.DEADLINE),
        ({"asked": 0.1, "remaining": 0.5}, Verdict.DEADLINE),
        ({"may_repeat": False}, Verdict.METHOD),
        ({"body_whole": False}, Verdict.BODY),
        ({"would_admit": False}, Verdict.BREAKER),
    ],
)
def test_each_thing_that_stands_against_a_retry_has_its_name(facts, verdict):
    decision = decide(failure(**facts), jitter=False)
    assert decision.verdict is verdict
    named = verdict not in (Verdict.RETRY, Verdict.DECLINED)
    assert decision.suppressed == (verdict.value if named else None)


def test_what_was_certainly_not_sent_may_be_sent_whatever_it_is():
    refused = errors.NetworkError("refused", condition="connect", sent=False)
    assert decide(failure(refused, may_repeat=False, body_whole=False)).verdict is Verdict.RETRY


def test_an_empty_budget_ends_the_retries():
    budget = RetryBudget(schema.Budget(ratio=0.2, min_per_second=0), Clock())
    for _ in range(5):
        budget.deposit()
    assert decide(budget=budget).verdict is Verdict.RETRY
    decision = decide(budget=budget)
    assert (decision.verdict, decision.suppressed) == (Verdict.BUDGET, "budget")


@pytest.mark.parametrize(
    "facts",
    [
        {"attempts": 4},
        {"should_retry": False},
        {"asked": 99.0},
        {"remaining": 0.1},
        {"would_admit": False},
        {"may_repeat": False},
        {"body_whole": False},
    ],
)
def test_a_retry_that_is_not_made_costs_no_token(facts):
    budget = plenty()
    before = budget.left
    decide(failure(**facts), budget=budget)
    assert budget.left == before


def test_one_policy_serves_many_requests_at_once():
    policy = RetryPolicy(schema.Retry(max_retries=3, jitter=False), Random(1))
    budget = plenty()
    waits = [
        [policy.decide(failure(attempts=attempts), budget).wait for _ in range(10)]
        for attempts in (1, 2, 3)
    ]
    assert waits == [[1.0] * 10, [2.0] * 10, [4.0] * 10]


def test_what_was_only_a_stale_connection_is_repeated_at_once_by_the_same_rules():
    stale = errors.NetworkError("ended", condition="reset")

    assert decide(failure(stale, at_once=True)).wait == 0
    assert decide(failure(stale, at_once=True, may_repeat=False)).suppressed == "method"


# Where another upstream could be asked


SILENT = errors.TimeoutError("first byte", 30, condition="timeout")
LATE = errors.TimeoutError("connecting", 5, condition="connect", sent=False)
SAID_LATE = errors.TimeoutError("they", 1, condition=504)


@pytest.mark.parametrize(
    ("error", "facts", "verdict"),
    [
        (None, {"patience": 1.0}, Verdict.RETRY),
        (None, {"patience": 0.9}, Verdict.ELSEWHERE),
        (None, {"patience": None}, Verdict.RETRY),
        (None, {"patience": 0.0, "at_once": True}, Verdict.RETRY),
        (None, {"patience": 3.0, "asked": 30.0}, Verdict.ELSEWHERE),
        (None, {"patience": 3.0, "asked": 61.0}, Verdict.ELSEWHERE),
        (None, {"patience": 3.0, "asked": 2.0}, Verdict.RETRY),
        (SILENT, {"patience": 99.0}, Verdict.ELSEWHERE),
        (SILENT, {}, Verdict.RETRY),
        (LATE, {"patience": 99.0}, Verdict.ELSEWHERE),
        (SAID_LATE, {"patience": 99.0}, Verdict.RETRY),
        # What forbids a retry anyway is named first; what only delays one is not.
        (None, {"patience": 0.0, "attempts": 4}, Verdict.EXHAUSTED),
        (None, {"patience": 0.0, "may_repeat": False}, Verdict.METHOD),
        (None, {"patience": 0.0, "remaining": 0.5}, Verdict.ELSEWHERE),
    ],
)
def test_a_wait_that_patience_does_not_cover_sends_the_call_elsewhere(error, facts, verdict):
    retry_on = frozenset({"connect", "timeout", 500, 504})
    decision = decide(failure(error, **facts), retry_on=retry_on, jitter=False)
    assert decision.verdict is verdict
    if verdict is Verdict.ELSEWHERE:
        assert (decision.wait, decision.suppressed) == (None, None)


def test_going_elsewhere_costs_no_token():
    budget = plenty()
    before = budget.left
    decide(failure(patience=0.0), budget=budget, jitter=False)
    assert budget.left == before
