"""How many calls get through, at any time and from however many callers."""

import asyncio
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.rate import Rate
from proxy.testing.clock import Clock

ME = b"me"


def taken(rate, key=ME, wanted=10_000):
    """How many of so many calls at once get through."""
    return sum(rate.take(key) == 0 for _ in range(wanted))


def most_in_a_window(times, window):
    """The most of these times that lie within a window, both of its ends included."""
    first = most = 0
    for last, time in enumerate(times):
        while time - times[first] > window:
            first += 1
        most = max(most, last - first + 1)
    return most


def test_who_was_quiet_may_make_all_its_calls_at_once():
    clock = Clock()
    rate = Rate(100, 60, clock)
    assert taken(rate) == 100
    clock.advance(60)
    assert taken(rate) == 100


def test_then_calls_come_back_one_by_one():
    clock = Clock()
    rate = Rate(100, 60, clock)
    taken(rate)
    clock.advance(0.59)
    assert taken(rate) == 0
    clock.advance(0.02)
    assert taken(rate) == 1
    clock.advance(6)
    assert taken(rate) == 10


def test_quiet_is_not_saved_up_beyond_the_burst():
    clock = Clock()
    rate = Rate(100, 60, clock, burst=5)
    clock.advance(3600)
    assert taken(rate) == 5


def test_who_is_refused_learns_when_to_come_back():
    clock = Clock()
    rate = Rate(10, 1, clock)
    taken(rate)
    wait = rate.take(ME)
    assert wait == pytest.approx(0.1)
    clock.advance(wait)
    assert rate.take(ME) == 0


def test_a_refused_call_costs_nothing():
    rate = Rate(10, 1, Clock())
    taken(rate)
    assert {rate.take(ME) for _ in range(100)} == {rate.take(ME)}


def test_each_key_has_calls_of_its_own():
    rate = Rate(3, 1, Clock())
    assert taken(rate, b"one") == 3
    assert taken(rate, b"two") == 3


@given(
    uptime=st.floats(0, 1e7),
    limit=st.integers(1, 200),
    window=st.sampled_from([0.3, 1, 10, 60, 3600]),
)
def test_rounding_costs_no_call(uptime, limit, window):
    clock = Clock(uptime)
    rate = Rate(limit, window, clock)
    assert taken(rate, wanted=limit + 10) == limit
    for _ in range(10):
        clock.advance(rate.take(ME))
        assert rate.take(ME) == 0


@given(
    limit=st.integers(1, 20),
    burst=st.none() | st.integers(1, 30),
    window=st.floats(0.1, 100),
    arrivals=st.lists(st.tuples(st.floats(0, 0.5), st.integers(1, 10)), max_size=60),
)
def test_no_window_has_more_than_the_limit_and_the_burst(limit, burst, window, arrivals):
    clock = Clock()
    rate = Rate(limit, window, clock, burst=burst)
    times = []
    for share, crowd in arrivals:
        clock.advance(share * window)
        times += [clock()] * taken(rate, wanted=crowd)
    assert most_in_a_window(times, window) <= limit + (burst or limit)


@given(
    limit=st.integers(1, 20),
    window=st.floats(0.1, 100),
    pauses=st.lists(st.floats(1.001, 3), max_size=50),
)
def test_who_keeps_to_the_rate_is_never_refused(limit, window, pauses):
    clock = Clock()
    rate = Rate(limit, window, clock, burst=1)
    for pause in pauses:
        clock.advance(pause * window / limit)
        assert rate.take(ME) == 0


@given(
    limit=st.integers(1, 5),
    burst=st.integers(1, 5),
    arrivals=st.lists(st.tuples(st.floats(0, 0.3), st.integers(0, 30)), max_size=200),
)
def test_nobody_gains_by_being_forgotten(limit, burst, arrivals):
    clock = Clock()
    rate = Rate(limit, 1, clock, burst=burst, max_keys=2)
    times = defaultdict(list)
    for pause, key in arrivals:
        clock.advance(pause)
        if rate.take(key % 4) == 0:
            times[key % 4].append(clock())
    assert all(most_in_a_window(each, 1) <= limit + burst for each in times.values())


@pytest.mark.parametrize("callers", [1, 500])
async def test_callers_who_come_back_when_told_get_the_rate_and_no_more(callers):
    loop = asyncio.get_running_loop()
    rate = Rate(20, 10, loop.time)
    times = []
    end = loop.time() + 100

    async def call():
        while loop.time() < end:
            wait = rate.take(ME)
            if wait == 0:
                times.append(loop.time())
            await asyncio.sleep(wait)

    await asyncio.gather(*(call() for _ in range(callers)))

    assert most_in_a_window(times, 10) <= 40
    assert 218 <= len(times) <= 221  # the burst, and two a second


def test_a_hundred_thousand_keys_are_served_in_bounded_memory():
    clock = Clock()
    rate = Rate(100, 60, clock, max_keys=1_000)
    hot = taken(rate, b"hot")
    for number in range(100_000):
        assert rate.take(number) == 0
        clock.advance(0.01)  # so that a step passes in sixty calls
        hot += taken(rate, b"hot", wanted=1)
    assert len(rate._free_from) <= 1_000
    assert hot == pytest.approx(100 + 1_000 * 100 / 60, abs=2)


def test_while_all_that_are_known_owe_the_others_share_what_one_may():
    clock = Clock()
    rate = Rate(3, 1, clock, max_keys=10)
    assert all(taken(rate, known, wanted=3) == 3 for known in range(10))
    assert sum(rate.take(stranger) == 0 for stranger in range(10, 1_000)) == 3
    clock.advance(0.4)
    assert sum(rate.take(stranger) == 0 for stranger in range(10, 1_000)) == 1
    assert taken(rate, 0) == 1


def test_a_stranger_that_becomes_known_owes_what_strangers_owed():
    clock = Clock()
    rate = Rate(3, 1, clock, max_keys=1)
    rate.take(b"known")
    assert taken(rate) == 3  # as a stranger
    clock.advance(0.4)
    assert taken(rate) == 1  # in its own name: the known one owes nothing any more
    clock.advance(10)
    assert taken(rate) == 3
