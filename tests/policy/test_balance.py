from collections import Counter
from random import Random
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import schema
from proxy.policy.balance import LEAST_SHARE, Member, order, share

STRATEGIES = get_args(schema.Strategy)
DRAWS = 4000
CLOSE = 0.04
"""Five standard deviations of a share over that many draws."""

MEMBERS = st.lists(
    st.builds(
        Member,
        target=st.integers(),
        weight=st.floats(0, exclude_min=True, allow_infinity=False),
        in_flight=st.integers(0, 1000),
        recovered=st.none() | st.floats(0, 100),
    ),
    max_size=6,
)


def member(target, weight=1.0, in_flight=0, recovered=None):
    return Member(target, weight, in_flight, recovered)


def shares(members, strategy, ramp=0.0, place=0):
    """How large a part of many orders has each target at *place*."""
    random = Random(7)
    counts = Counter(order(members, strategy, ramp, random)[place] for _ in range(DRAWS))
    return {target: count / DRAWS for target, count in counts.items()}


def close(**parts):
    return pytest.approx(parts, abs=CLOSE)


@given(MEMBERS, st.sampled_from(STRATEGIES), st.floats(0, 100), st.randoms(use_true_random=False))
def test_everybody_is_in_the_order_once(members, strategy, ramp, random):
    ordered = order(members, strategy, ramp, random)

    assert sorted(ordered) == sorted(each.target for each in members)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_member_alone_costs_no_draw(strategy):
    random = Random(1)
    before = random.getstate()

    assert order([member("a", recovered=0.0)], strategy, 30, random) == ["a"]
    assert random.getstate() == before


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_same_randomness_gives_the_same_order(strategy):
    members = [member(number, recovered=number) for number in range(6)]

    assert order(members, strategy, 9, Random(3)) == order(members, strategy, 9, Random(3))


# Priority


@given(MEMBERS, st.randoms(use_true_random=False))
def test_by_priority_the_order_is_the_one_listed(members, random):
    assert order(members, "priority", 0, random) == [each.target for each in members]


def test_a_preferred_member_that_has_just_come_back_is_first_a_tenth_of_the_time():
    members = [member("a", recovered=0.0), member("b"), member("c")]

    assert shares(members, "priority", ramp=30) == close(a=0.1, b=0.9)
    assert shares(members, "priority", ramp=30, place=2) == close(a=0.9, c=0.1)


def test_members_that_all_come_back_together_keep_their_order_among_those_put_off():
    members = [member("a", recovered=15.0), member("b", recovered=15.0)]

    assert shares(members, "priority", ramp=30) == close(a=0.75, b=0.25)


# Weighted


def test_weights_are_shares_of_the_calls():
    members = [member("a", 6), member("b", 3), member("c", 1)]

    assert shares(members, "weighted") == close(a=0.6, b=0.3, c=0.1)


def test_who_is_next_is_drawn_by_weight_among_those_that_are_left():
    members = [member("a", 1e9), member("b", 3), member("c", 1)]

    assert shares(members, "weighted", place=1) == close(b=0.75, c=0.25)


def test_a_member_half_through_its_ramp_counts_half():
    members = [member("a", 2, recovered=15.0), member("b", 1)]

    assert shares(members, "weighted", ramp=30) == close(a=0.5, b=0.5)


# Least in flight


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=6, unique=True))
def test_the_least_busy_is_first_and_the_busiest_last(counts):
    members = [member(count, in_flight=count) for count in counts]

    assert order(members, "least_in_flight", 0, Random(1)) == sorted(counts)


def test_a_member_of_twice_the_weight_may_have_twice_the_calls():
    def first(in_flight):
        members = [member("a", 2, in_flight), member("b", 1, in_flight=4)]
        return order(members, "least_in_flight", 0, Random(1))[0]

    assert (first(8), first(10)) == ("a", "b")


def test_the_equally_busy_take_turns_at_random():
    members = [member(name, in_flight=3) for name in "abc"]

    assert shares(members, "least_in_flight") == close(a=1 / 3, b=1 / 3, c=1 / 3)


def test_a_member_that_has_just_come_back_is_idle_and_yet_not_given_everything():
    members = [member("a", recovered=0.0), member("b", in_flight=8)]

    assert order(members, "least_in_flight", 30, Random(1)) == ["b", "a"]
    assert order(members, "least_in_flight", 0, Random(1)) == ["a", "b"]


# The ramp


@pytest.mark.parametrize(
    ("recovered", "ramp", "part"),
    [
        (None, 30, 1),
        (0, 30, LEAST_SHARE),
        (1, 30, LEAST_SHARE),
        (15, 30, 0.5),
        (30, 30, 1),
        (90, 30, 1),
        (0, 0, 1),
    ],
)
def test_a_share_grows_from_a_tenth_to_the_whole(recovered, ramp, part):
    assert share(recovered, ramp) == part


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_share_never_shrinks(one, other, ramp):
    sooner, later = sorted((one, other))

    assert LEAST_SHARE <= share(sooner, ramp) <= share(later, ramp) <= 1
