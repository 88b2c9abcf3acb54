"""The shared store, against a real Redis that answers, hangs, dies and comes back."""

import asyncio
import contextlib
import time

import pytest
from cache.answers import Caller, entry, question
from redis.asyncio import Redis as Client
from redis_server import Server, needs_redis

from proxy import errors
from proxy.cache.cache import Answered, Cache
from proxy.cache.memory import Memory
from proxy.cache.redis import PREFIX, Redis
from proxy.testing.clock import Clock

both_loops = pytest.mark.real_time("asyncio", "uvloop")


@contextlib.asynccontextmanager
async def store(url, *, patience=0.05, clock=time.monotonic):
    """Give a store, and the failures it has told of."""
    told = []
    redis = Redis(url, patience, clock=clock, wall=time.time, failed=told.append)
    try:
        yield redis, told
    finally:
        await redis.close()


async def until(happens):
    """Try again until *happens* gives something; what never does is ended by the test's limit."""
    found = None
    while not found:
        await asyncio.sleep(0.005)
        found = await happens()
    return found


@needs_redis
@both_loops
async def test_what_one_process_stores_another_finds_until_it_serves_nobody():
    stored = entry(b"x" * 100_000, born=time.time(), stale=40.0)
    with Server() as server:
        async with (
            store(server.url, patience=5.0) as (one, told),
            store(server.url, patience=5.0) as (other, _),
            Client.from_url(server.url) as client,
        ):
            one.put(b"k", stored)
            assert await until(lambda: other.get(b"k")) == stored
            assert await other.get(b"l") is None

            assert await client.keys() == [PREFIX.encode() + b"k".hex().encode()]
            assert 60 < await client.ttl(PREFIX + b"k".hex()) <= 100
            assert told == []


@needs_redis
@both_loops
async def test_foreign_and_damaged_values_are_misses():
    with Server() as server:
        async with (
            store(server.url, patience=5.0) as (redis, told),
            Client.from_url(server.url) as client,
        ):
            await client.set(PREFIX + b"k".hex(), b"somebody else's")
            assert await redis.get(b"k") is None
            assert told == []

            await client.lpush(PREFIX + b"l".hex(), b"not even a string")
            assert await redis.get(b"l") is None
            assert [error.message for error in told] == ["redis cannot be used: ResponseError"]


@needs_redis
@both_loops
async def test_writes_wait_for_room_in_a_queue_that_has_an_end():
    with Server() as server:
        async with store(server.url, patience=5.0) as (redis, told):
            for number in range(100):
                redis.put(b"%d" % number, entry(born=time.time()))
            assert await until(lambda: redis.get(b"63"))
            assert await redis.get(b"64") is None

            redis.put(b"64", entry(born=time.time()))
            assert await until(lambda: redis.get(b"64"))
            assert told == []


@needs_redis
@both_loops
async def test_a_redis_that_hangs_is_waited_for_no_longer_than_allowed_and_then_left_alone():
    clock = Clock()
    with Server() as server:
        async with store(server.url, clock=clock) as (redis, told):

            async def works():
                clock.advance(2.0)  # a busy machine may have been too slow for it
                redis.put(b"k", entry(born=time.time()))
                return await redis.get(b"k")

            await until(works)
            told.clear()
            server.hang()
            waiting = [asyncio.create_task(redis.get(b"k")) for _ in range(200)]

            assert await asyncio.gather(*waiting) == [None] * 200
            assert 0 < len(told) <= 64 + 1  # who may ask at a time, and the write of before
            assert {type(error) for error in told} == {errors.CacheError}
            told.clear()
            assert await redis.get(b"k") is None
            redis.put(b"l", entry(born=time.time()))
            assert told == []

            server.go_on()
            assert (await until(works)).body == b"told"


@needs_redis
@both_loops
async def test_callers_who_leave_while_it_is_asked_take_no_connection_with_them():
    with Server() as server:
        async with (
            store(server.url, patience=5.0) as (redis, told),
            Client.from_url(server.url) as client,
        ):
            for _ in range(3):
                asking = [asyncio.create_task(redis.get(b"k")) for _ in range(100)]
                for turns, task in enumerate(asking):
                    for _ in range(turns % 7):
                        await asyncio.sleep(0)
                    task.cancel()
                await asyncio.gather(*asking, return_exceptions=True)

            redis.put(b"k", entry(born=time.time()))
            assert await until(lambda: redis.get(b"k"))
            assert told == []
            assert len(await client.client_list()) <= 66


async def test_a_dead_redis_is_told_of_and_then_not_asked_each_time(tmp_path):
    clock = Clock()
    async with store(f"unix://{tmp_path}/nobody", clock=clock) as (redis, told):
        assert [await redis.get(b"k") for _ in range(10)] == [None] * 10
        assert [error.message for error in told] == [
            "redis cannot be used: ConnectionError: no such file or directory"
        ] * 3
        assert isinstance(told[0].__cause__, Exception)

        redis.put(b"k", entry())  # not even tried
        clock.advance(1.0)
        assert await redis.get(b"k") is None
        assert len(told) == 4


async def test_what_waits_to_be_written_is_let_go_when_redis_turns_out_dead(tmp_path):
    async with store(f"unix://{tmp_path}/nobody", clock=Clock()) as (redis, told):
        for number in range(10):
            redis.put(b"%d" % number, entry())

        async def three_were_tried():
            return len(told) == 3

        await until(three_were_tried)
        assert await redis.get(b"k") is None

    assert len(told) == 3


@needs_redis
@both_loops
async def test_a_store_can_be_closed_while_it_writes():
    with Server() as server:
        async with store(server.url, patience=5.0) as (redis, told):
            redis.put(b"k", entry())
            await asyncio.sleep(0)
            await redis.close()
            redis.put(b"k", entry())
            assert await redis.get(b"k") is None
        assert told == []


@needs_redis
@both_loops
async def test_redis_killed_and_restarted_under_load_fails_no_request_and_is_used_again():
    """Twenty callers, each its own questions; the local store is too small to help."""
    with Server() as server:
        async with store(server.url) as (redis, told):
            cache = Cache(Memory(0), redis, time.time)
            load = Load(cache)
            try:
                await load.sees("hit")
                server.kill()
                await load.sees("miss")
                asked, failures = load.asked, len(told)
                await load.goes_on_until(lambda: load.asked > asked + 500)
                assert len(told) - failures < 100  # some that were under way; then probes
                assert told

                server.start()
                await load.sees("hit")
            finally:
                await load.stop()


class Load:
    """Callers who ask one question after the other; each may be in Redis from the time before."""

    def __init__(self, cache):
        self.cache, self.asked, self.results = cache, 0, []
        self._tasks = [asyncio.create_task(self._call(number)) for number in range(20)]

    async def goes_on_until(self, holds):
        while not holds():
            failed = [task.exception() for task in self._tasks if task.done()]
            assert failed == []
            await asyncio.sleep(0.001)

    async def sees(self, result):
        """Go on until everybody is answered so, twenty times in a row."""
        self.results.clear()
        await self.goes_on_until(lambda: self.results[-20:] == [result] * 20)

    async def stop(self):
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def _call(self, number):
        asked = question(key=b"%d" % number)
        while True:
            caller = Caller()
            served = await self.cache.answer(asked, caller, self._fetch)
            assert caller.whole == isinstance(served, Answered)
            self.asked += 1
            self.results.append(served.result)
            await asyncio.sleep(0)

    @staticmethod
    async def _fetch(reply):
        await asyncio.sleep(0.001)
        reply.send(200, [(b"A", b"b")], b"told")
        return 200
