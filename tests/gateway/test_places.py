"""Places and the line for them, whoever leaves whenever."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy import errors
from proxy.gateway.places import Places
from proxy.policy.deadline import Deadline
from proxy.testing.clock import VirtualLoop

NO_DEADLINE = Deadline(0.0, None)


async def turns(count=3):
    """Let everybody who can go on do so."""
    for _ in range(count):
        await asyncio.sleep(0)


async def stay(places, seconds, served=None, name=None, deadline=NO_DEADLINE):
    """Take a place, say so, and keep it for a while."""
    with await places.take(deadline):
        if served is not None:
            served.append(name)
        await asyncio.sleep(seconds)


def start(coroutine):
    return asyncio.ensure_future(coroutine)


async def test_a_free_place_is_taken_without_a_turn_of_the_loop():
    places = Places(2, 0, 1)
    taking = places.take(NO_DEADLINE)
    with pytest.raises(StopIteration) as done:
        taking.send(None)
    with done.value.value:
        assert places.taken == 1
    assert places.taken == 0


async def test_a_place_comes_back_from_a_call_that_failed():
    places = Places(1, 0, 1)
    with pytest.raises(ZeroDivisionError):
        with await places.take(NO_DEADLINE):
            raise ZeroDivisionError
    assert places.taken == 0


async def test_without_a_queue_one_too_many_is_told_so_at_once():
    places = Places(1, 0, 30)
    with await places.take(NO_DEADLINE):
        with pytest.raises(errors.CapacityExceededError) as caught:
            await places.take(NO_DEADLINE)
    assert caught.value.status == 503
    assert caught.value.sent is False
    assert caught.value.retry_after == 1
    assert caught.value.details == {"reason": "concurrency", "limit": 1}
    assert places.taken == 0


async def test_places_are_given_in_the_order_of_the_line():
    places, served = Places(1, 10, 100), []
    await asyncio.gather(*(stay(places, 1, served, name) for name in range(5)))
    assert served == [0, 1, 2, 3, 4]
    assert (places.taken, places.queued) == (0, 0)


async def test_who_stands_in_line_is_let_in_when_there_is_no_limit_any_more():
    places, served = Places(1, 10, 100), []
    with await places.take(NO_DEADLINE):
        waiting = [start(stay(places, 0, served, name)) for name in range(3)]
        await turns()
        places.abolish()
        await asyncio.gather(*waiting)
    assert served == [0, 1, 2]
    assert (places.taken, places.queued) == (0, 0)


async def test_nobody_gets_past_who_stands_in_line():
    places, served = Places(1, 10, 100), []
    with await places.take(NO_DEADLINE):
        waiting = start(stay(places, 1, served, "first"))
        await turns()
    await stay(places, 1, served, "second")  # the place is free, but not for this one
    await waiting
    assert served == ["first", "second"]


async def test_a_full_line_takes_no_more():
    places = Places(1, 1, 5)
    with await places.take(NO_DEADLINE):
        waiting = start(stay(places, 1))
        await turns()
        assert places.queued == 1
        with pytest.raises(errors.CapacityExceededError) as caught:
            await places.take(NO_DEADLINE)
    assert caught.value.details["reason"] == "concurrency"
    assert caught.value.retry_after == 5
    await waiting


async def test_who_has_stood_in_line_too_long_is_sent_away():
    places, loop = Places(1, 1, 5), asyncio.get_running_loop()
    with await places.take(NO_DEADLINE):
        began = loop.time()
        with pytest.raises(errors.CapacityExceededError) as caught:
            await places.take(Deadline(began, 60))
        assert loop.time() - began == pytest.approx(5)
        assert places.queued == 0
    assert caught.value.details["reason"] == "queue_timeout"
    assert caught.value.sent is False
    assert caught.value.retry_after == 5


async def test_a_deadline_in_line_blames_nobody():
    places, loop = Places(1, 1, 5), asyncio.get_running_loop()
    with await places.take(NO_DEADLINE):
        began = loop.time()
        with pytest.raises(errors.TimeoutError) as caught:
            await places.take(Deadline(began, 2))
        assert loop.time() - began == pytest.approx(2)
    assert (caught.value.condition, caught.value.sent) == (None, False)
    assert caught.value.details["timeout"] == 2
    assert (places.taken, places.queued) == (0, 0)


@pytest.mark.parametrize("deadline", [3.0, 60.0])
async def test_who_gets_a_place_in_time_hears_nothing_of_time(deadline):
    places, loop = Places(1, 1, 5), asyncio.get_running_loop()
    holding = start(stay(places, 2))
    await turns()
    await stay(places, 100, deadline=Deadline(loop.time(), deadline))
    await holding
    assert places.taken == 0


async def test_who_is_served_leaves_no_timer_behind():
    places, loop = Places(1, 1, 3600), asyncio.get_running_loop()
    await asyncio.gather(stay(places, 1), stay(places, 1))
    assert [timer for timer in loop._scheduled if not timer.cancelled()] == []


async def test_who_leaves_the_line_makes_room_in_it_at_once():
    places = Places(1, 1, 100)
    with await places.take(NO_DEADLINE):
        leaving = start(stay(places, 1))
        await turns()
        leaving.cancel()
        await turns(1)
        staying = start(stay(places, 1))
        await turns()
        assert places.queued == 1
    await staying
    assert leaving.cancelled()
    assert places.taken == 0


async def test_who_leaves_in_the_moment_of_being_served_passes_the_place_on():
    places, served = Places(1, 2, 100), []
    with await places.take(NO_DEADLINE):
        leaving = start(stay(places, 1, served, "leaving"))
        next_one = start(stay(places, 1, served, "next"))
        await turns()
    leaving.cancel()
    await next_one
    assert served == ["next"]
    assert places.taken == 0


async def test_who_is_gone_but_does_not_know_yet_is_given_no_place():
    places, served = Places(1, 2, 100), []
    with await places.take(NO_DEADLINE):
        leaving = start(stay(places, 1, served, "leaving"))
        next_one = start(stay(places, 1, served, "next"))
        await turns()
        leaving.cancel()
    await next_one
    assert served == ["next"]
    assert places.taken == 0


# Within the resolution of the loop's clock: what is due so little apart is done in one turn.
@pytest.mark.parametrize("apart", [-1e-10, 1e-10], ids=["just before", "just after"])
@pytest.mark.parametrize("happens", ["leaving", "served"])
async def test_much_can_happen_in_the_moment_of_being_sent_away(happens, apart):
    places, loop, faults = Places(1, 1, 5), asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _, fault: faults.append(fault))
    with await places.take(NO_DEADLINE):
        waiting = start(stay(places, 1))
        due = loop.time() + 5
        if happens == "leaving":
            loop.call_at(due + apart, waiting.cancel)
        else:
            loop.call_at(due + apart, places.resize, 2, 1, 5)
        await asyncio.wait([waiting])
        assert waiting.cancelled() == (happens == "leaving")
        if happens == "served":
            assert (waiting.exception() is None) == (apart < 0)
        assert (places.taken, places.queued) == (1, 0)
    assert places.taken == 0
    assert faults == []


async def test_more_places_are_given_to_the_line_at_once():
    places, served = Places(1, 10, 100), []
    running = [start(stay(places, 1, served, name)) for name in range(4)]
    await turns()
    places.resize(3, 10, 100)
    await turns()
    assert served == [0, 1, 2]
    assert (places.taken, places.queued) == (3, 1)
    await asyncio.gather(*running)


async def test_fewer_places_end_nobody_and_take_nobody_in_before_there_is_room():
    places, served = Places(3, 10, 100), []
    running = [start(stay(places, name + 1, served, name)) for name in range(4)]
    await turns()
    places.resize(1, 0, 100)
    assert (places.taken, places.queued) == (3, 1)
    await asyncio.sleep(2.5)
    assert (places.taken, places.queued) == (1, 1)
    await asyncio.sleep(1)
    assert served == [0, 1, 2, 3]
    with pytest.raises(errors.CapacityExceededError):
        await places.take(NO_DEADLINE)
    await asyncio.gather(*running)
    assert places.taken == 0


# Times in tenths of a second, so that many things happen in one moment.
MOMENTS = st.integers(0, 20)
CALLER = st.tuples(MOMENTS, MOMENTS, st.none() | MOMENTS, st.none() | st.integers(1, 20))


@settings(max_examples=150, deadline=None)
@given(
    concurrency=st.integers(1, 3),
    size=st.integers(0, 4),
    timeout=st.integers(1, 10),
    callers=st.lists(CALLER, max_size=12),
    resizes=st.lists(st.tuples(MOMENTS, st.integers(1, 4), st.integers(0, 4)), max_size=3),
)
def test_no_place_is_lost_whoever_leaves_whenever(concurrency, size, timeout, callers, resizes):
    async def run():
        loop, faults = asyncio.get_running_loop(), []
        loop.set_exception_handler(lambda _, fault: faults.append(fault))
        places = Places(concurrency, size, timeout / 10)
        inside, widest = 0, max(concurrency, *(to for _, to, _ in resizes), 1)

        async def call(arrives, stays, total):
            nonlocal inside
            await asyncio.sleep(arrives / 10)
            deadline = Deadline(loop.time(), total and total / 10)
            with await places.take(deadline):
                inside += 1
                try:
                    assert inside <= places.taken <= widest
                    await asyncio.sleep(stays / 10)
                finally:
                    inside -= 1

        tasks = []
        for arrives, stays, leaves, total in callers:
            task = asyncio.ensure_future(call(arrives, stays, total))
            if leaves is not None:
                loop.call_later(leaves / 10, task.cancel)
            tasks.append(task)
        for moment, to, line in resizes:
            loop.call_later(moment / 10, places.resize, to, line, timeout / 10)
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(10)

        ways = (asyncio.CancelledError, errors.CapacityExceededError, errors.TimeoutError)
        assert [end for end in ends if end is not None and not isinstance(end, ways)] == []
        assert (places.taken, places.queued, faults) == (0, 0, [])

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(run())


@pytest.mark.parametrize("step", range(12))
async def test_a_cancellation_at_any_step_loses_no_place(step):
    places = Places(1, 4, 100)
    holding = start(stay(places, 0))
    leaving = start(stay(places, 0))
    staying = start(stay(places, 0))
    await turns(step)
    leaving.cancel()
    await asyncio.wait([holding, leaving, staying])
    assert staying.exception() is None
    assert (places.taken, places.queued) == (0, 0)


@pytest.mark.real_time("asyncio", "uvloop")
async def test_five_hundred_callers_pass_through_twenty_places_on_either_loop():
    places, served = Places(20, 500, 60), []
    await asyncio.gather(*(stay(places, 0, served, name) for name in range(500)))
    assert served == list(range(500))
    assert (places.taken, places.queued) == (0, 0)
