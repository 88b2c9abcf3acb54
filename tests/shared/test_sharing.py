"""Replicas that share through a real Redis, all of them in this process."""

import asyncio
import contextlib
import io
import json
from random import Random

import pytest
from redis.asyncio import Redis as Client
from redis_server import Server, needs_redis

from proxy import errors
from proxy.config import schema
from proxy.config.load import parse
from proxy.observe import logs
from proxy.observe.metrics import Metrics
from proxy.policy.breaker import Breaker, State
from proxy.policy.transitions import Reason
from proxy.shared.news import News, circuit, pack, unpack
from proxy.shared.sharing import Sharing

pytestmark = [needs_redis, pytest.mark.real_time("asyncio", "uvloop")]

FAILED = errors.NetworkError("refused", condition="connect")


def upstreams(*names, **settings):
    """Settings of upstreams whose circuits open at the first failure."""
    text = json.dumps(
        {
            "upstreams": {
                name: {
                    "url": f"http://{name}.example",
                    "breaker": {"failure_threshold": 1, **settings},
                }
                for name in names
            }
        }
    )
    return parse(text, "test.yaml", {}).upstreams


class Replica:
    """The circuits of one process, and what became of them."""

    def __init__(self, url, names=("up",), **settings):
        clock = asyncio.get_running_loop().time
        self.moves = []
        self.metrics = Metrics()
        self.sharing = Sharing(clock, Random(), self.metrics)
        self.settings = schema.Shared(redis=url)
        self.upstreams = upstreams(*names, **settings)
        self.breakers = {
            name: Breaker(name, upstream.breaker, clock, self._tell)
            for name, upstream in self.upstreams.items()
        }

    def _tell(self, moved):
        self.moves.append((moved.to_state, moved.reason))
        self.sharing.tell(moved)

    def follow(self, settings):
        named = [(self.upstreams[name], breaker) for name, breaker in self.breakers.items()]
        self.sharing.follow(settings, named)

    @property
    def breaker(self):
        return self.breakers["up"]

    def call(self, error=None, name="up"):
        with contextlib.suppress(errors.OctoLLMError), self.breakers[name].admit():
            if error is not None:
                raise error

    async def __aenter__(self):
        self.follow(self.settings)
        await until(lambda: self.metrics.shared)
        return self

    async def __aexit__(self, *_):
        await self.sharing.stop()


async def until(holds):
    """Look again until *holds*; what never does is ended by the test's limit."""
    held = holds()
    while not held:
        await asyncio.sleep(0.002)
        held = holds()


async def test_what_one_has_opened_all_have_and_nobody_tells_it_again():
    with Server() as server:
        async with (
            Replica(server.url) as one,
            Replica(server.url) as two,
            Replica(server.url) as three,
            Client.from_url(server.url) as client,
            client.pubsub() as listening,
        ):
            await listening.psubscribe("octollm:*")
            await listening.get_message(timeout=5)
            one.call(FAILED)
            await until(lambda: two.moves and three.moves)
            assert one.moves == [(State.OPEN, Reason.CONSECUTIVE)]
            assert two.moves == three.moves == [(State.OPEN, Reason.PEER)]
            assert 50 < two.breaker.retry_after() <= 60

            three.breaker.release()
            three.call()  # whatever has been told again would have been told before this
            await until(lambda: len(one.moves) == len(two.moves) == 2)
            told = [unpack((await listening.get_message(timeout=5))["data"]) for _ in range(2)]
            assert told[0].by != told[1].by
            assert [news.left > 0 for news in told] == [True, False]
            assert await listening.get_message(timeout=0) is None


async def test_a_good_probe_of_one_lets_the_others_probe():
    with Server() as server:
        async with Replica(server.url) as one, Replica(server.url) as two:
            one.call(FAILED)
            await until(lambda: two.moves)
            one.breaker.release()
            one.call()
            await until(lambda: len(two.moves) == 2)
            two.call()

            assert two.moves[1:] == [
                (State.HALF_OPEN, Reason.PEER),
                (State.CLOSED, Reason.PROBE_SUCCEEDED),
            ]
            async with Client.from_url(server.url) as client:
                assert await client.keys() == []


async def test_who_joins_learns_what_is_open_and_for_how_long():
    with Server() as server:
        async with (
            Replica(server.url, ("up", "else")) as one,
            Client.from_url(server.url) as client,
        ):
            one.call(FAILED)
            [key] = [*await until_keys(client, 1)]
            await client.pexpire(key, 20_000)  # as if 40 seconds had passed
            async with Replica(server.url, ("else", "up")) as late:
                await until(lambda: late.moves)

                assert key.decode() == "octollm:shared:v1:" + circuit(late.upstreams["up"])
                assert 15 < late.breaker.retry_after() <= 20
                assert 40 <= late.breaker.since < 45
                assert late.breakers["else"].state is State.CLOSED


async def until_keys(client, count):
    keys = []
    while len(keys) != count:
        keys = await client.keys()
    return keys


async def test_an_upstream_of_another_address_is_another_circuit():
    with Server() as server:
        async with Replica(server.url, ("up", "b")) as one, Replica(server.url, ("b",)) as other:
            moved = other.upstreams["b"].model_copy(update={"name": "up"})
            other.upstreams["up"], other.breakers["up"] = moved, other.breakers["b"]
            del other.breakers["b"]
            other.follow(other.settings)
            one.call(FAILED)
            one.call(FAILED, "b")
            async with Client.from_url(server.url) as client:
                await until_keys(client, 2)

            assert other.moves == []


async def test_databases_of_one_server_do_not_hear_each_other():
    with Server() as server:
        async with Replica(server.url) as one, Replica(f"{server.url}?db=1") as other:
            async with Client.from_url(server.url) as client, client.pubsub() as everything:
                await everything.psubscribe("*")
                await everything.get_message(timeout=5)
                one.call(FAILED)
                heard = await everything.get_message(timeout=5)

            assert heard["channel"] == b"octollm:shared:v1:0:news"
            assert other.moves == []


async def test_what_an_operator_says_is_for_one_replica():
    with Server() as server:
        async with Replica(server.url, ("up", "b")) as one, Replica(server.url, ("up", "b")) as two:
            one.breaker.force_open(60)
            one.breaker.release()
            one.breaker.reset()
            one.call(FAILED)
            one.breaker.force_open(60)  # before anybody was told
            one.call(FAILED, "b")
            await until(lambda: two.breakers["b"].state is State.OPEN)

            assert two.breaker.state is State.CLOSED


async def test_what_was_heard_before_ones_own_finding_was_told_is_not_told_as_ones_own():
    with Server() as server:
        async with Replica(server.url, ("up", "b")) as one, Replica(server.url, ("up", "b")) as two:
            one.call(FAILED)
            one.breaker.release()
            one.call()
            one.breaker.hear_open(60.0, -1.0)  # later, by a clock however coarse
            one.call(FAILED, "b")
            await until(lambda: two.moves)

            assert one.breaker.state is State.OPEN
            assert two.breaker.state is State.CLOSED


async def test_who_only_observes_tells_nobody():
    with Server() as server:
        async with Replica(server.url, ("up", "b")) as one, Replica(server.url, ("up", "b")) as two:
            one.breaker.set_mode("observe")
            one.call(FAILED)
            one.call(FAILED, "b")
            await until(lambda: two.moves)

            assert one.breaker.state is State.OPEN
            assert two.breaker.state is State.CLOSED


async def test_who_only_observes_by_now_does_not_tell_what_was_found_out_in_earnest():
    with Server() as server:
        async with Replica(server.url, ("up", "b")) as one, Replica(server.url, ("up", "b")) as two:
            one.call(FAILED)
            one.breaker.set_mode("observe")  # before anybody was told
            one.call(FAILED, "b")
            await until(lambda: two.moves)

            assert two.breaker.state is State.CLOSED


async def test_what_is_over_before_it_can_be_told_is_no_news():
    with Server() as server:
        names = ("up", "b")
        async with Replica(server.url, names) as one, Replica(server.url, names) as two:
            one.call(FAILED)
            one.breaker.release()
            one.call(FAILED, "b")
            await until(lambda: two.moves)

            assert two.breaker.state is State.CLOSED


async def test_redis_killed_leaves_each_alone_and_back_again_brings_them_together():
    stream = io.BytesIO()
    logs.configure("info", "json", stream)
    with Server() as server:
        async with Replica(server.url, ("up", "b")) as one, Replica(server.url, ("up", "b")) as two:
            server.kill()
            await until(lambda: one.metrics.shared is two.metrics.shared is False)
            one.call(FAILED)
            assert one.breaker.state is State.OPEN
            assert two.breaker.state is State.CLOSED

            server.start()
            await until(lambda: one.metrics.shared and two.metrics.shared)
            await until(lambda: two.breaker.state is State.OPEN)
            two.call(FAILED, "b")
            await until(lambda: one.breakers["b"].state is State.OPEN)

    logs.close()
    told = [json.loads(line)["event"] for line in stream.getvalue().splitlines()]
    assert told.count("shared.lost") == 2
    assert told.count("shared.connected") == 4


async def test_a_redis_that_is_tried_again_and_again_is_told_of_once(tmp_path):
    tries = []

    async def slam(_, writer):
        tries.append(writer)
        writer.close()

    stream = io.BytesIO()
    logs.configure("info", "json", stream)
    async with await asyncio.start_unix_server(slam, tmp_path / "redis"):
        alone = Replica(f"unix://{tmp_path}/redis")
        alone.follow(alone.settings)
        await until(lambda: len(tries) > 2)
        await alone.sharing.stop()
    logs.close()

    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(event["event"], event["error"]) for event in told] == [
        ("shared.lost", "ConnectionError")
    ]


async def test_it_is_told_again_when_it_is_lost_for_another_reason():
    stream = io.BytesIO()
    logs.configure("info", "json", stream)
    with Server() as server:
        server.kill()
        alone = Replica(server.url)
        alone.follow(alone.settings)
        await until(lambda: b"shared.lost" in stream.getvalue())
        server.start()
        async with Client.from_url(server.url) as client:
            await client.config_set("requirepass", "hunter2")
            await until(lambda: stream.getvalue().count(b"shared.lost") == 2)
        await alone.sharing.stop()
    logs.close()

    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["error"] for line in told if line["event"] == "shared.lost"] == [
        "ConnectionError: connection refused",
        "AuthenticationError",
    ]


async def test_a_redis_that_hangs_is_noticed_and_heard_again_afterwards():
    with Server() as server:
        async with Replica(server.url) as one, Replica(server.url) as two:
            server.hang()
            await until(lambda: one.metrics.shared is two.metrics.shared is False)
            server.go_on()
            await until(lambda: one.metrics.shared and two.metrics.shared)
            one.call(FAILED)
            await until(lambda: two.moves)


async def test_silence_alone_is_no_loss():
    with Server() as server:
        async with Replica(server.url) as one, Client.from_url(server.url) as client:

            async def pings():
                return (await client.info("commandstats")).get("cmdstat_ping", {}).get("calls", 0)

            count = 0
            while count < 2:
                await asyncio.sleep(0.05)
                count = await pings()

            assert one.metrics.shared is True


async def test_who_has_found_the_upstream_well_is_not_told_otherwise_by_what_is_old():
    with Server() as server:
        async with Replica(server.url, ("up", "b")) as one, Replica(server.url, ("up", "b")) as two:
            one.call(FAILED)
            await until(lambda: two.moves)
            server.kill()
            await until(lambda: one.metrics.shared is two.metrics.shared is False)
            two.breaker.release()
            two.call()
            server.start()  # one tells again that it is open, and two knows better
            await until(lambda: one.metrics.shared and two.metrics.shared)
            one.call(FAILED, "b")
            await until(lambda: two.breakers["b"].state is State.OPEN)

            assert two.breaker.state is State.CLOSED


async def test_what_others_write_there_is_passed_over():
    with Server() as server:
        async with Client.from_url(server.url) as client:
            key = "octollm:shared:v1:" + circuit(upstreams("up")["up"])
            await client.set(key, b"somebody else's")
            await client.set(
                "octollm:shared:v1:" + circuit(upstreams("b")["b"]),
                pack(News("x", circuit(upstreams("b")["b"]), 60.0, 0.0)),
            )  # for ever, and so by nobody who means it
            async with Replica(server.url, ("up", "b", "c")) as one:
                for data in (
                    b"no news",
                    pack(News("x", "a stranger's", 60.0, 0.0)),
                    pack(News("x", circuit(one.upstreams["c"]), 60.0, 0.0)),
                ):
                    await client.publish("octollm:shared:v1:0:news", data)
                await until(lambda: one.moves)

                assert one.breaker.state is one.breakers["b"].state is State.CLOSED


async def test_an_upstream_that_a_reload_brings_is_learned_and_one_that_it_takes_is_forgotten():
    with Server() as server:
        async with Replica(server.url, ("up", "b")) as one, Replica(server.url, ("up", "b")) as two:
            gone = two.breakers.pop("b")
            two.follow(two.settings)
            one.call(FAILED, "b")
            one.call(FAILED)
            await until(lambda: two.moves)
            with contextlib.suppress(errors.OctoLLMError), gone.admit():
                raise FAILED
            two.breakers["b"] = Breaker("b", two.upstreams["b"].breaker, gone._clock)
            two.follow(two.settings)
            await until(lambda: two.breakers["b"].state is State.OPEN)


async def test_sharing_can_be_switched_on_and_off_and_moved():
    with Server() as here, Server() as there:
        async with Replica(here.url) as one, Replica(there.url) as two:
            one.follow(None)
            assert one.metrics.shared is None
            one.call(FAILED)
            one.breaker.reset()

            one.follow(two.settings)
            await until(lambda: one.metrics.shared)
            one.call(FAILED)
            await until(lambda: two.moves)
            await one.sharing.stop()
            await one.sharing.stop()
            assert one.metrics.shared is None
