from hypothesis import given
from hypothesis import strategies as st

from proxy.config import schema
from proxy.policy.budget import RetryBudget
from proxy.testing.clock import Clock


def budget(clock, ratio=0.2, min_per_second=0.0):
    return RetryBudget(schema.Budget(ratio=ratio, min_per_second=min_per_second), clock)


def taken(of, wanted=1000):
    return sum(of.withdraw() for _ in range(wanted))


def test_retries_are_a_share_of_requests():
    clock = Clock()
    retries = budget(clock)
    for _ in range(100):
        retries.deposit()
    assert taken(retries) == 20


def test_an_upstream_without_traffic_can_still_be_retried():
    assert taken(budget(Clock(), min_per_second=3)) == 30


def test_nothing_is_left_where_nothing_is_granted():
    assert taken(budget(Clock(), ratio=0)) == 0


def test_requests_and_retries_of_long_ago_are_forgotten():
    clock = Clock()
    retries = budget(clock)
    for _ in range(100):
        retries.deposit()
    clock.advance(11)
    assert not retries.withdraw()
    for _ in range(10):
        retries.deposit()
    assert taken(retries) == 2


def test_what_is_left_is_what_can_be_taken():
    retries = budget(Clock(), min_per_second=1)
    assert retries.left == 10
    assert taken(retries, 4) == 4
    assert retries.left == 6


def test_what_is_left_is_never_less_than_nothing():
    clock = Clock()
    retries = budget(clock)
    for _ in range(10):
        retries.deposit()
    clock.advance(8)
    assert taken(retries) == 2
    clock.advance(5)  # the requests are forgotten, their retries are not
    assert retries.left == 0


@given(
    ratio=st.floats(0, 2),
    floor=st.floats(0, 5),
    steps=st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=200),
)
def test_no_retry_is_granted_above_the_share(ratio, floor, steps):
    clock = Clock()
    retries = budget(clock, ratio, floor)
    requests, granted = [], []
    for step, is_request in steps:
        clock.advance(step)
        if is_request:
            retries.deposit()
            requests.append(clock())
        elif retries.withdraw():
            granted.append(clock())
            recent = sum(at > clock() - 9.8 for at in granted)
            of = sum(at > clock() - 10.001 for at in requests)
            assert recent <= ratio * of + floor * 10 + 1e-9
