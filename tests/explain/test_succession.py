"""How long a call stays with the first, where there is another to be asked."""

from random import Random

from explain.explaining import policy
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import schema
from proxy.explain.retrying import failing, failure
from proxy.explain.succession import handover
from proxy.policy.budget import RetryBudget
from proxy.policy.retry import RetryPolicy


def test_waits_end_where_they_would_be_longer_than_fallback_wait():
    found = handover(policy(retry={"fallback_wait": 1.4}))

    # 0.5 to 1 s, then 1 to 2 s: the second never fits.
    assert (found.attempts, found.waits, found.asked) == (2, 1, 1.4)


def test_without_retries_the_next_is_asked_at_once():
    found = handover(policy(retry={"max_retries": 0}, timeouts={"connect": 1, "first_byte": 2}))

    assert (found.attempts, found.waits, found.asked, found.longest) == (1, 0, 0, 3)


def test_after_a_timeout_the_next_is_asked_at_once_whatever_retry_on_says():
    assert handover(policy(retry={"retry_on": ["timeout"]})).attempts == 1


def test_what_cannot_end_before_the_call_does_is_no_handover():
    found = handover(policy(timeouts={"connect": 5, "first_byte": 20, "total": 60}))

    assert (found.longest, found.silent) == (None, 25)


def test_without_a_limit_there_is_none_to_tell():
    found = handover(policy(timeouts={"first_byte": None, "total": None}))

    assert (found.longest, found.silent) == (None, None)


@given(
    st.builds(
        schema.Retry,
        max_retries=st.integers(0, 6),
        base_delay=st.floats(0.01, 3),
        exponential_base=st.floats(1, 3),
        max_delay=st.floats(3, 10),
        jitter=st.booleans(),
        fallback_wait=st.floats(0, 8),
    ),
    st.integers(),
)
def test_no_call_stays_longer_than_is_told(settings, seed):
    told = handover(schema.Policy(retry=settings))
    rules = RetryPolicy(settings, Random(seed))
    budget = RetryBudget(schema.Budget(ratio=0, min_per_second=1000), lambda: 0.0)
    attempts, waited = 0, 0.0

    wait: float | None = 0.0
    while wait is not None:
        attempts += 1
        waited += wait
        left = max(0.0, settings.fallback_wait - waited)
        wait = rules.decide(failure(failing(503), attempts, patience=left), budget).wait

    assert attempts <= told.attempts
    assert waited <= told.waits + 1e-9
