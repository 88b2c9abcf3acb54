"""The face: an answer from here, one call for all who ask the same, or an older answer."""

import asyncio

import pytest
from cache.answers import Caller, entry, question

from proxy import errors
from proxy.cache.cache import Answered, Cache
from proxy.cache.memory import Memory
from proxy.testing.clock import Clock

JSON = (b"Content-Type", b"application/json")
COOKIE = (b"Set-Cookie", b"a=b")
NO_STORE = (b"Cache-Control", b"no-store")


class Upstream:
    """Answers after a second; *fails* is raised instead, once for each that is there."""

    def __init__(self):
        self.asked = self.running = 0
        self.headers = [JSON, COOKIE]
        self.body = b"told"
        self.fails = []
        self.status = 200

    async def __call__(self, reply):
        self.asked += 1
        self.running += 1
        try:
            await asyncio.sleep(1)
            if self.fails:
                raise self.fails.pop(0)
            reply.start(self.status, self.headers, None)
            await asyncio.sleep(1)
            reply.write(self.body)
            reply.finish()
            return self.status
        finally:
            self.running -= 1


class Second:
    """A second store, as `Redis` is one."""

    def __init__(self, wall):
        self.memory, self.wall, self.closed, self.asked = Memory(10_000), wall, False, 0

    async def get(self, key):
        self.asked += 1
        await asyncio.sleep(0.01)
        return self.memory.get(key)

    def put(self, key, entry):
        self.memory.put(key, entry)

    async def close(self):
        self.closed = True


class World:
    def __init__(self, *, second=False):
        self.wall = Clock(1_800_000_000.0)
        self.upstream = Upstream()
        self.second = Second(self.wall) if second else None
        self.cache = Cache(Memory(10_000), self.second, self.wall)

    async def ask(self, asked=None, caller=None):
        """Do as the gateway does; give how it went, and what the caller was told."""
        caller, asked = caller or Caller(), asked or question()
        served = self.cache.find(asked)
        if served is None:
            served = await self.cache.answer(asked, caller, self.upstream)
        if isinstance(served, Answered):
            assert served.status == caller.status
        else:
            caller.send(served.entry.status, served.head(), served.entry.body)
        return served.result, caller


async def ask_all(world, count, asked=None):
    return await asyncio.gather(*(world.ask(asked) for _ in range(count)))


async def test_a_miss_is_told_as_the_upstream_said_it_and_a_hit_without_what_was_for_one():
    world = World()

    result, caller = await world.ask()
    assert (result, caller.cache, caller.body) == ("miss", b"miss", b"told")
    assert COOKIE in caller.headers

    world.wall.advance(30.7)
    result, caller = await world.ask()
    assert (result, caller.body, caller.whole) == ("hit", b"told", True)
    assert caller.headers == [JSON, (b"Age", b"30"), (b"X-OctoLLM-Cache", b"hit")]
    assert world.upstream.asked == 1


async def test_what_is_not_fresh_any_more_is_asked_anew():
    world = World()
    await world.ask()
    world.wall.advance(60)

    assert (await world.ask())[0] == "miss"
    assert world.upstream.asked == 2


async def test_a_caller_may_want_a_newer_one_than_others_do():
    world = World()
    await world.ask()
    world.wall.advance(30)

    assert (await world.ask(question(accepted_age=31.0)))[0] == "hit"
    assert (await world.ask(question(accepted_age=20.0)))[0] == "miss"
    assert (await world.ask(question(accepted_age=0.0)))[0] == "miss"
    world.wall.advance(59)
    assert (await world.ask())[0] == "hit"
    assert world.upstream.asked == 3


async def test_a_hundred_identical_misses_are_one_call():
    world = World()
    answers = await ask_all(world, 100)

    assert world.upstream.asked == 1
    assert sorted(result for result, _ in answers) == ["coalesced"] * 99 + ["miss"]
    assert {caller.body for _, caller in answers} == {b"told"}
    assert [COOKIE in caller.headers for _, caller in answers].count(True) == 1


async def test_a_first_caller_who_leaves_does_not_cost_the_others():
    world, gone = World(), Caller()
    first = asyncio.create_task(world.ask(caller=gone))
    others = [asyncio.create_task(world.ask()) for _ in range(3)]
    await asyncio.sleep(1.5)
    first.cancel()
    gone.left = True

    assert [result for result, _ in await asyncio.gather(*others)] == ["coalesced"] * 3
    assert world.upstream.asked == 1
    assert not gone.started


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [([JSON, NO_STORE], b"told", 200), ([JSON], b"x" * 1001, 200), ([JSON], b"told", 404)],
)
async def test_what_may_not_be_kept_is_asked_for_by_each(headers, body, status):
    world = World()
    world.upstream.headers, world.upstream.body, world.upstream.status = headers, body, status

    answers = await ask_all(world, 3)

    assert world.upstream.asked == 3
    assert [(result, caller.body, caller.cache) for result, caller in answers] == (
        [("miss", body, b"miss")] * 3
    )
    assert len(world.cache.memory) == 0


async def test_a_call_that_answered_nobody_is_nobodys_answer():
    world = World()

    async def silent(_reply):
        world.upstream.asked += 1
        await asyncio.sleep(1)
        return 0

    answers = await asyncio.gather(
        *(world.cache.answer(question(), Caller(), silent) for _ in range(2))
    )

    assert answers == [Answered(0), Answered(0)]
    assert world.upstream.asked == 2


async def test_what_a_fallback_says_can_be_kept_out():
    world = World()

    async def fall_back(reply):
        reply.keep_nothing()
        return await world.upstream(reply)

    caller = Caller()
    assert await world.cache.answer(question(), caller, fall_back) == Answered(200)
    assert caller.body == b"told"
    assert world.cache.find(question()) is None


async def test_a_failure_is_everybodys_and_each_has_its_own_copy():
    world = World()
    world.upstream.fails = [errors.LLMAPIError("openai", 500, condition=500)]

    raised = await asyncio.gather(*(world.ask() for _ in range(3)), return_exceptions=True)

    assert world.upstream.asked == 1
    assert [type(error) for error in raised] == [errors.LLMAPIError] * 3
    assert [error.condition for error in raised] == [500] * 3
    assert len({id(error.details) for error in raised}) == 3
    assert (await world.ask())[0] == "miss"


@pytest.mark.parametrize("own", [errors.TimeoutError("request", 1.0), errors.ValidationError("x")])
async def test_a_failure_that_is_the_first_callers_own_is_not_shared(own):
    world = World()
    world.upstream.fails = [own]

    raised, *answers = await asyncio.gather(
        *(world.ask() for _ in range(3)), return_exceptions=True
    )

    assert raised is own
    assert sorted(result for result, _ in answers) == ["coalesced", "miss"]
    assert world.upstream.asked == 2


async def test_who_waits_for_somebody_elses_call_waits_as_long_as_for_its_own():
    world, now = World(), asyncio.get_running_loop().time()
    patient, impatient = question(until=now + 60.0), question(until=now + 1.5)

    answer, raised = await asyncio.gather(
        world.ask(patient), world.ask(impatient), return_exceptions=True
    )

    assert answer[0] == "miss"
    assert isinstance(raised, errors.TimeoutError)
    assert raised.condition is None
    assert raised.details == {"operation": "the call", "timeout": 1.5}
    assert asyncio.get_running_loop().time() == now + 2.0


async def test_the_first_caller_is_not_hurried_by_us():
    """Its call has the limits of any call, and says better what has passed."""
    world, now = World(), asyncio.get_running_loop().time()

    assert (await world.ask(question(until=now + 1.5)))[0] == "miss"


async def test_a_crash_is_told_to_all():
    world = World()
    world.upstream.fails = [KeyError("bug")]

    raised = await asyncio.gather(*(world.ask() for _ in range(2)), return_exceptions=True)
    assert [type(error) for error in raised] == [KeyError] * 2


# While the upstream fails


@pytest.mark.parametrize(
    "outage",
    [
        errors.NetworkError("refused", condition="connect"),
        errors.TimeoutError("first byte", 1.0, condition="timeout"),
        errors.LLMAPIError("openai", 503, condition=503),
        errors.CircuitOpenError("openai", 3.0),
    ],
)
async def test_an_older_answer_is_better_than_a_failure(outage):
    world, asked = World(), question(stale_if_error=100.0)
    await world.ask(asked)
    world.wall.advance(159)
    world.upstream.fails = [outage, outage]

    answers = await ask_all(world, 2, asked)

    assert [result for result, _ in answers] == ["stale"] * 2
    assert answers[0][1].headers[-2:] == [(b"Age", b"159"), (b"X-OctoLLM-Cache", b"stale")]
    assert world.upstream.asked == 2

    world.wall.advance(1)
    world.upstream.fails = [outage]
    with pytest.raises(type(outage)):
        await world.ask(asked)


@pytest.mark.parametrize(
    "answer",
    [
        errors.LLMAPIError("openai", 404, condition=404),
        errors.RateLimitError(1, 1, condition=429),
        errors.ValidationError("x", condition=400),
        errors.CapacityExceededError("full"),
    ],
)
async def test_a_refusal_is_not_answered_with_what_was(answer):
    world, asked = World(), question(stale_if_error=100.0)
    await world.ask(asked)
    world.wall.advance(70)
    world.upstream.fails = [answer]

    with pytest.raises(type(answer)):
        await world.ask(asked)


async def test_who_wants_no_older_answer_gets_the_failure():
    world, asked = World(), question(stale_if_error=100.0)
    await world.ask(asked)
    world.wall.advance(70)
    world.upstream.fails = [errors.NetworkError("x", condition="connect")]

    with pytest.raises(errors.NetworkError):
        await world.ask(question(accepted_age=60.0, stale_if_error=100.0))


async def test_an_answer_that_has_begun_is_not_begun_again():
    world, asked = World(), question(stale_if_error=100.0)
    await world.ask(asked)
    world.wall.advance(70)

    async def breaks_off(reply):
        reply.start(200, [JSON, NO_STORE], 4)
        raise errors.NetworkError("cut short", condition="cut")

    with pytest.raises(errors.NetworkError):
        await world.cache.answer(asked, Caller(), breaks_off)


# The second store


async def test_what_another_process_has_stored_is_a_hit_for_all_who_wait():
    world = World(second=True)
    world.second.put(b"k", entry(b"theirs", born=world.wall()))

    answers = await ask_all(world, 3)

    assert sorted(result for result, _ in answers) == ["coalesced", "coalesced", "hit"]
    assert {caller.body for _, caller in answers} == {b"theirs"}
    assert (world.upstream.asked, world.second.asked) == (0, 1)
    assert (await world.ask())[0] == "hit"
    assert world.second.asked == 1


async def test_an_answer_goes_to_both_stores():
    world = World(second=True)
    await world.ask()

    assert world.second.memory.get(b"k") == world.cache.memory.get(b"k")
    assert len(world.second.memory) == 1


async def test_what_another_process_has_may_be_old_and_still_help_in_an_outage():
    world, asked = World(second=True), question(stale_if_error=100.0)
    world.second.put(b"k", entry(b"theirs", born=world.wall() - 70, stale=100.0))
    world.upstream.fails = [errors.NetworkError("x", condition="connect")]

    result, caller = await world.ask(asked)
    assert (result, caller.body) == ("stale", b"theirs")
    assert (await world.ask(asked))[0] == "miss"


async def test_an_older_answer_of_theirs_does_not_take_the_place_of_ours():
    world, asked = World(second=True), question(stale_if_error=100.0)
    await world.ask(asked)
    world.second.put(b"k", entry(b"theirs", born=world.wall() - 70, stale=100.0))
    world.wall.advance(70)
    world.upstream.fails = [errors.NetworkError("x", condition="connect")]

    result, caller = await world.ask(asked)
    assert (result, caller.body) == ("stale", b"told")


async def test_who_wants_a_new_answer_does_not_wait_for_a_store():
    world = World(second=True)
    await world.ask(question(accepted_age=0.0))

    assert world.second.asked == 0


@pytest.mark.parametrize("second", [False, True])
async def test_it_closes_what_it_was_given(second):
    world = World(second=second)
    await world.cache.close()

    assert world.second is None or world.second.closed
