"""Several attempts at one answer: one winner, and nobody left."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.gateway.race import Race
from proxy.testing.clock import VirtualLoop


class Track:
    """Runners that say when they began and how they ended."""

    def __init__(self):
        self.race = Race()
        self.began = {}
        self.ended = {}
        self._loop = asyncio.get_running_loop()
        self._start = self._loop.time()

    def now(self):
        return round(self._loop.time() - self._start, 3)

    async def runner(self, name, head, body=0.0, fails=False):
        self.began[name] = self.now()
        try:
            await asyncio.sleep(head)
            if not fails:
                self.race.won()
                await asyncio.sleep(body)
        except asyncio.CancelledError:
            self.ended[name] = "cancelled"
            raise
        self.ended[name] = "failed" if fails else "won"
        if fails:
            raise ValueError(name)
        return name

    async def run(self, first, *others, delay=1.0):
        waiting = list(others)

        def another():
            return waiting.pop(0) if waiting else None

        try:
            return await self.race.run(first, another, delay)
        finally:
            for runner in waiting:
                runner.close()


async def test_who_answers_in_time_runs_alone():
    track = Track()

    assert await track.run(track.runner(0, 0.9, body=5), track.runner(1, 0)) == 0
    assert track.began == {0: 0}


async def test_after_the_delay_another_starts_and_the_first_good_head_wins():
    track = Track()

    assert await track.run(track.runner(0, 10), track.runner(1, 0.5, body=3)) == 1
    assert track.began == {0: 0, 1: 1}
    assert track.ended == {0: "cancelled", 1: "won"}
    assert track.now() == 4.5


async def test_the_first_can_still_win():
    track = Track()

    assert await track.run(track.runner(0, 1.5), track.runner(1, 10)) == 0
    assert track.ended == {0: "won", 1: "cancelled"}


async def test_each_further_one_starts_a_delay_after_the_one_before_until_there_are_no_more():
    track = Track()

    won = await track.run(*(track.runner(n, 10) for n in range(3)))

    assert won == 0
    assert track.began == {0: 0, 1: 1, 2: 2}
    assert track.now() == 10


async def test_a_first_that_fails_at_once_is_nobodys_race():
    track = Track()

    with pytest.raises(ValueError, match="0"):
        await track.run(track.runner(0, 0.5, fails=True), track.runner(1, 0))

    assert track.began == {0: 0}


async def test_a_bad_answer_does_not_win():
    track = Track()

    assert await track.run(track.runner(0, 3), track.runner(1, 0.1, fails=True)) == 0
    assert track.ended == {0: "won", 1: "failed"}


async def test_who_is_left_goes_on_when_the_first_has_failed():
    track = Track()

    assert await track.run(track.runner(0, 1.5, fails=True), track.runner(1, 3)) == 1
    assert track.now() == 4


async def test_a_silent_second_is_not_the_last_word_while_there_may_be_a_third():
    track = Track()

    won = await track.run(
        track.runner(0, 1.5, fails=True), track.runner(1, 60), track.runner(2, 0.1)
    )

    assert won == 2


async def test_where_all_fail_it_is_the_first_ones_error():
    track = Track()

    with pytest.raises(ValueError, match="0"):
        await track.run(track.runner(0, 3, fails=True), track.runner(1, 0.1, fails=True))


async def test_a_winner_that_fails_afterwards_is_the_end_of_it():
    track = Track()

    async def broken():
        track.race.won()
        raise ValueError("cut")

    with pytest.raises(ValueError, match="cut"):
        await track.run(track.runner(0, 10), broken())

    assert track.ended == {0: "cancelled"}


async def test_who_comes_second_at_the_same_moment_is_cancelled():
    track = Track()

    assert await track.run(track.runner(0, 2), track.runner(1, 1)) in {0, 1}
    assert sorted(track.ended.values()) == ["cancelled", "won"]


async def test_one_that_does_not_hear_it_has_lost_is_told_when_it_comes_in():
    track = Track()

    async def deaf():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            track.race.won()
            return -1

    assert await track.run(track.runner(0, 1.5), deaf()) == 0


async def test_a_caller_who_leaves_ends_them_all():
    track = Track()
    call = asyncio.ensure_future(track.run(track.runner(0, 10), track.runner(1, 10)))
    await asyncio.sleep(2)

    call.cancel()

    with pytest.raises(asyncio.CancelledError):
        await call
    assert track.ended == {0: "cancelled", 1: "cancelled"}


async def test_only_the_first_leads():
    race = Race()
    led = []

    async def runner(seconds):
        led.append(race.leads())
        await asyncio.sleep(seconds)
        race.won()
        return 1

    others = [runner(1)]
    await race.run(runner(9), lambda: others.pop() if others else None, 1)

    assert led == [True, False]


RUNNERS = st.lists(
    st.tuples(st.integers(0, 8), st.integers(0, 4), st.booleans()), min_size=1, max_size=5
)


@given(RUNNERS, st.integers(1, 4), st.none() | st.integers(0, 12))
def test_there_is_one_winner_or_none_and_nothing_is_left(runners, delay, leaves):
    unheard = []

    async def play():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: unheard.append(context))
        track = Track()
        first, *others = (
            track.runner(n, head / 2, body, fails) for n, (head, body, fails) in enumerate(runners)
        )
        call = asyncio.ensure_future(track.run(first, *others, delay=delay / 2))
        if leaves is not None:
            loop.call_later(leaves / 2, call.cancel)
        (result,) = await asyncio.gather(call, return_exceptions=True)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return track, result

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        track, result = runner.run(play())

    assert not unheard
    assert track.began.keys() == track.ended.keys()
    winners = [name for name, end in track.ended.items() if end == "won"]
    if isinstance(result, int):
        assert winners == [result]
    elif isinstance(result, ValueError):
        assert (winners, str(result)) == ([], "0")
    else:
        assert leaves is not None
