"""Limits, end to end: how often an upstream is asked, by how many at a time, and who waits."""

import asyncio
import io
import json
from bisect import bisect_left
from random import Random

import pytest
from e2e.support import call, metric, proxied

from proxy.app import Proxy
from proxy.config.load import load
from proxy.observe import logs
from proxy.testing.script import ask, chunks, hang, ok, status, wait
from proxy.testing.upstream import Upstream

CONFIG = """
version: 1
listen: {{port: 0}}
admin: {{port: 0}}
upstreams:
  up:
    url: "${{UP}}"
    retry: {{max_retries: 0, max_retry_after: 20s}}
    limits: {}
"""
REJECTED = "octollm_proxy_limit_rejections_total"
KEY, OTHER = {"Authorization": "Bearer a"}, {"Authorization": "Bearer b"}


def limited(upstream: Upstream, limits: str, more: str = "", **urls: str):
    text = CONFIG.format(limits) + more
    return proxied(text, up=upstream.url, **urls)


def at(proxy: Proxy, name: str = "up"):
    return proxy.gateway.runtime.upstreams[name]


def assert_nothing_is_held(proxy: Proxy, name: str = "up") -> None:
    upstream, runtime = at(proxy, name), proxy.gateway.runtime
    held = {
        "places": upstream.places.taken if upstream.places else 0,
        "in line": upstream.places.queued if upstream.places else 0,
        "load": upstream.load.count,
        "memory": runtime.memory.used,
        "in flight": runtime.in_flight(),
        "leases": len(upstream.breaker._leases),
    }
    assert held == dict.fromkeys(held, 0)


async def turn() -> None:
    """Let everything that is under way on sockets arrive."""
    await asyncio.sleep(0.001)


async def start(proxy: Proxy, count: int, **more):
    calls = [asyncio.create_task(call(proxy.addresses[""], "/up/x", **more)) for _ in range(count)]
    await turn()
    return calls


@pytest.mark.parametrize("callers", [1, 500])
async def test_no_window_has_more_calls_than_limit_and_burst(callers):
    seen = []
    note = ask(lambda _: seen.append(asyncio.get_running_loop().time()) or ok())
    async with (
        Upstream() as up,
        limited(up, "{rate: {limit: 20, window: 4s, burst: 8}}") as proxy,
    ):
        up.always(note)
        random, loop = Random(callers), asyncio.get_running_loop()
        until = loop.time() + 12
        answers = []

        async def calls() -> None:
            while loop.time() < until:
                answers.append(await call(proxy.addresses[""], "/up/x"))
                await asyncio.sleep(random.expovariate(20 / callers))

        await asyncio.gather(*(calls() for _ in range(callers)))

    most = max(bisect_left(seen, moment + 4) - at for at, moment in enumerate(seen))
    assert most <= 28
    assert 60 <= len(seen) <= 8 + 60 + 1  # the burst, and all that the rate gives in 12 seconds
    assert {answer.status for answer in answers} == {200, 429}


async def test_one_too_many_is_told_limit_window_and_the_time_left():
    async with Upstream() as up, limited(up, "{rate: {limit: 2, window: 60s}}") as proxy:
        up.always(ok())
        for _ in range(2):
            assert (await call(proxy.addresses[""], "/up/x")).status == 200

        told = await call(proxy.addresses[""], "/up/x")

        assert (told.status, told.code) == (429, "RATE_LIMIT_EXCEEDED")
        details = told.json()["details"]
        assert (details["limit"], details["window"]) == (2, 60)
        assert told.json()["retry_after"] == int(told["retry-after"]) == 30
        assert (told["x-octollm-attempts"], told.get("x-should-retry")) == ("0", None)
        assert await metric(proxy, REJECTED, upstream="up", reason="rate") == 1
        assert at(proxy).breaker.failure_ratio == 0

        await asyncio.sleep(30)
        assert (await call(proxy.addresses[""], "/up/x")).status == 200


async def test_each_caller_has_a_rate_of_its_own_and_retries_do_not_count():
    settings = "{rate: {limit: 1, window: 60s, by: caller}}"
    async with Upstream() as up, limited(up, settings) as proxy:
        up.script(status(503, retry_after=0), ok(), ok())
        text = proxy.addresses[""]

        assert (await call(text, "/up/x", headers=KEY)).status == 503
        assert (await call(text, "/up/x", headers=KEY)).status == 429
        assert (await call(text, "/up/x", headers=OTHER)).status == 200
        assert (await call(text, "/up/x")).status == 200  # known by its address
        assert (await call(text, "/up/x")).status == 429


async def test_what_an_open_circuit_turns_away_does_not_count():
    more = "    breaker: {failure_threshold: 2, timeout: 10s}\n"
    async with Upstream() as up, limited(up, "{rate: {limit: 5, window: 1h}}", more) as proxy:
        up.script(status(500), status(500))
        up.always(ok())
        base = proxy.addresses[""]

        answers = [await call(base, "/up/x") for _ in range(20)]
        assert [answer.status for answer in answers] == [502, 502, *[503] * 18]
        assert {answer.code for answer in answers[2:]} == {"CIRCUIT_OPEN"}
        assert await metric(proxy, "octollm_proxy_breaker_rejections_total") == 18

        await asyncio.sleep(11)
        statuses = [(await call(base, "/up/x")).status for _ in range(4)]
        assert statuses == [200, 200, 200, 429]


async def test_a_flood_of_invented_keys_takes_no_memory_and_frees_nobody_who_owes():
    settings = "{rate: {limit: 1, window: 1h, by: caller}}"
    async with Upstream() as up, limited(up, settings) as proxy:
        up.always(ok())
        rate = at(proxy).rate
        for number in range(9_998):
            rate.take(b"%d" % number)
        statuses = [
            (await call(proxy.addresses[""], "/up/x", headers={"X-Api-Key": str(number)})).status
            for number in range(10)
        ]

        # Two find room; the next is the first stranger, and all others share with it.
        assert statuses == [200, 200, 200, *[429] * 7]
        assert len(rate._free_from) == 10_000


async def test_a_flood_is_one_line_a_second_and_no_callers_key_is_in_it():
    stream = io.BytesIO()
    logs.configure("info", "json", stream)
    try:
        settings = "{rate: {limit: 1, window: 1h, by: caller}, concurrency: 1}"
        async with Upstream() as up, limited(up, settings) as proxy:
            up.always(ok())
            for number in range(30):
                await asyncio.sleep(2 if number == 29 else 0)
                await call(proxy.addresses[""], "/up/x", headers={"X-Api-Key": "sk-canary-0"})
            scraped = await call(proxy.addresses["admin"], "/metrics")
    finally:
        logs.close()

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    counts = [line["count"] for line in lines if line["event"] == "limits.rejecting"]
    assert counts == [1, 27, 1]
    assert [line["status"] for line in lines if line["event"].startswith("request.")] == [200]
    assert b"canary" not in stream.getvalue() + scraped.body


async def test_who_is_turned_away_by_the_rate_goes_to_the_fallback():
    async with Upstream() as up, Upstream() as spare:
        up.always(ok("up"))
        spare.always(ok("spare"))
        text = CONFIG.format("{rate: {limit: 1, window: 60s}}")
        text += "    fallback: [{upstream: spare}]\n  spare: {url: '${SPARE}'}\n"
        async with proxied(text, up=up.url, spare=spare.url) as proxy:
            answers = [await call(proxy.addresses[""], "/up/x") for _ in range(3)]

            assert [answer.body for answer in answers] == [b"up", b"spare", b"spare"]
            moved = await metric(proxy, "octollm_proxy_fallbacks_total", reason="throttled")
            assert moved == 2


async def test_no_more_than_concurrency_are_in_flight_and_the_line_is_served_in_order():
    async with Upstream() as up, limited(up, "{concurrency: 3, queue: {size: 100}}") as proxy:
        up.always(wait(1) + ok())
        tasks = []
        for number in range(9):
            tasks += await start(proxy, 1, headers={"X-Number": str(number)})
        assert at(proxy).places.queued == 6
        assert await metric(proxy, "octollm_proxy_queued", upstream="up") == 6

        answers = await asyncio.gather(*tasks)

        assert {answer.status for answer in answers} == {200}
        assert up.peak == 3
        assert [int(seen.header("x-number")) for seen in up.seen] == list(range(9))
        assert_nothing_is_held(proxy)


async def test_a_stream_keeps_its_place_until_its_last_byte():
    async with Upstream() as up, limited(up, "{concurrency: 1}") as proxy:
        up.always(chunks(b"a", b"b", every=5))
        (first,) = await start(proxy, 1)
        await asyncio.sleep(7)

        full = await call(proxy.addresses[""], "/up/x")
        assert (full.status, full.code) == (503, "CAPACITY_EXCEEDED")
        assert full.json()["details"]["reason"] == "concurrency"
        assert (full["retry-after"], full["x-octollm-attempts"]) == ("1", "0")
        assert full.get("x-should-retry") is None

        assert (await first).whole
        assert_nothing_is_held(proxy)


async def test_who_waits_too_long_is_told_so_and_who_has_no_time_is_timed_out():
    settings = "{concurrency: 1, queue: {size: 2, timeout: 4s}}"
    async with Upstream() as up, limited(up, settings) as proxy:
        up.always(hang())
        (busy,) = await start(proxy, 1)
        (patient,) = await start(proxy, 1)
        (hurried,) = await start(proxy, 1, headers={"X-OctoLLM-Timeout": "2s"})
        (refused,) = await start(proxy, 1)

        assert (await refused).json()["details"]["reason"] == "concurrency"
        assert (await hurried).code == "TIMEOUT_ERROR"
        late = await patient
        assert (late.code, late.json()["details"]["reason"]) == (
            "CAPACITY_EXCEEDED",
            "queue_timeout",
        )
        assert late["retry-after"] == "4"
        assert await metric(proxy, REJECTED, reason="queue_timeout") == 1
        assert up.requests == 1
        assert at(proxy).breaker.failure_ratio == 0
        busy.cancel()


async def test_callers_who_leave_give_their_places_in_line_to_others_at_once():
    async with Upstream() as up, limited(up, "{concurrency: 1, queue: {size: 50}}") as proxy:
        up.always(wait(2) + ok())
        (first,) = await start(proxy, 1)
        line = await start(proxy, 50)
        assert at(proxy).places.queued == 50
        assert (await call(proxy.addresses[""], "/up/x")).status == 503

        for one in line:
            one.cancel()
        await asyncio.gather(*line, return_exceptions=True)
        await turn()
        assert at(proxy).places.queued == 0

        (last,) = await start(proxy, 1)
        assert (await last).status == (await first).status == 200
        assert up.requests == 2
        assert_nothing_is_held(proxy)


async def test_nobody_waits_in_line_for_an_open_circuit():
    more = "    breaker: {failure_threshold: 2}\n"
    settings = "{concurrency: 1, queue: {size: 9, timeout: 30s}}"
    async with Upstream() as up, limited(up, settings, more) as proxy:
        up.always(wait(1) + status(500))
        first, second, third = await start(proxy, 3)

        assert (await first).status == (await second).status == 502
        assert (await third).code == "CIRCUIT_OPEN"
        assert (await call(proxy.addresses[""], "/up/x")).code == "CIRCUIT_OPEN"
        assert_nothing_is_held(proxy)


async def test_a_429_holds_back_all_who_have_the_same_key_and_nobody_else():
    async with Upstream() as up, limited(up, "{throttle: true}") as proxy:
        up.script(status(429, retry_after=10))
        up.always(ok())
        loop, base = asyncio.get_running_loop(), proxy.addresses[""]
        assert (await call(base, "/up/x", headers=KEY)).status == 429

        began = loop.time()
        assert (await call(base, "/up/x", headers=OTHER)).status == 200
        assert loop.time() - began < 1
        waited = await call(base, "/up/x", headers=KEY)
        assert waited.status == 200
        assert 9 < loop.time() - began < 13
        assert up.requests == 3


async def test_who_has_no_time_to_wait_for_the_gate_is_told_the_time_left():
    async with Upstream() as up, limited(up, "{throttle: true}") as proxy:
        up.script(status(429, retry_after=10))
        base = proxy.addresses[""]
        await call(base, "/up/x", headers=KEY)

        told = await call(base, "/up/x", headers={**KEY, "X-OctoLLM-Timeout": "3s"})

        assert (told.status, told.code) == (429, "RATE_LIMIT_EXCEEDED")
        assert 9 <= int(told["retry-after"]) <= 10
        assert up.requests == 1
        assert await metric(proxy, REJECTED, reason="throttle") == 1


async def test_who_stood_in_line_while_the_gate_was_shut_leaves_the_upstream_alone_too():
    settings = "{concurrency: 1, queue: {size: 9, timeout: 30s}}"
    async with Upstream() as up, limited(up, settings) as proxy:
        up.script(wait(1) + status(429, retry_after=10))
        up.always(ok())
        seen = []
        up.always(ask(lambda _: seen.append(asyncio.get_running_loop().time()) or ok()))
        began = asyncio.get_running_loop().time()
        (first,) = await start(proxy, 1, headers=KEY)
        same = await start(proxy, 3, headers=KEY)
        (other,) = await start(proxy, 1, headers=OTHER)

        assert (await first).status == 429
        assert (await other).status == 200
        assert asyncio.get_running_loop().time() - began < 2  # past those who wait for the gate
        assert {answer.status for answer in await asyncio.gather(*same)} == {200}
        assert len([moment for moment in seen if moment - began < 10]) == 1
        assert_nothing_is_held(proxy)


async def test_without_throttle_a_429_concerns_the_call_that_got_it():
    async with Upstream() as up, limited(up, "{throttle: false}") as proxy:
        up.script(status(429, retry_after=10), ok())
        base, loop = proxy.addresses[""], asyncio.get_running_loop()
        assert (await call(base, "/up/x", headers=KEY)).status == 429
        began = loop.time()
        assert (await call(base, "/up/x", headers=KEY)).status == 200
        assert loop.time() - began < 1


LIMITS = [
    "{concurrency: 2, queue: {size: 4, timeout: 3s}, rate: {limit: 40, window: 1s}}",
    "{concurrency: 2, queue: {size: 4, timeout: 3s}}\n    hedge: {delay: 300ms}",
    "{concurrency: 2, queue: {size: 8}}\n    cache: {ttl: 1s}",
    "{concurrency: 2, queue: {size: 8}}\n    guard: {pii: redact}",
    "{concurrency: 2}\n    breaker: {timeout: 1s}\n    fallback: [{upstream: spare}]",
]


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("seed", range(3))
async def test_callers_who_leave_at_any_moment_take_nothing_with_them(limits, seed):
    random = Random(seed)
    answers = [
        ok("x"), wait(0.4) + ok("x"), chunks(b"a", b"b", b"c", every=0.2), status(503),
        status(429, retry_after=1), wait(1) + status(500), hang(),
    ]  # fmt: skip
    async with Upstream() as up, Upstream() as spare:
        up.always(ask(lambda _: random.choice(answers)))
        spare.always(wait(0.2) + ok())
        text = CONFIG.format(limits) + "  spare: {url: '${SPARE}', limits: {concurrency: 1}}\n"
        text = text.replace("max_retries: 0", "max_retries: 2, base_delay: 200ms")
        async with proxied(text, up=up.url, spare=spare.url) as proxy:
            base = proxy.addresses[""]

            async def one() -> None:
                await asyncio.sleep(random.uniform(0, 10))
                about = {"Content-Type": "application/json"}
                body = b'{"input": "mail bob@example.com"}' if random.random() < 0.5 else None
                method = "GET" if body is None else random.choice(("PUT", "POST"))
                asked = call(base, f"/up/{random.randrange(3)}", method, body, about)
                await asyncio.wait_for(asked, random.choice((0, 0.1, 0.3, 0.8, 2)))

            await asyncio.gather(*(one() for _ in range(60)), return_exceptions=True)
            await turn()

            assert_nothing_is_held(proxy)
            assert_nothing_is_held(proxy, "spare")
            up.always(ok("well"))
            await asyncio.sleep(120)  # until its gate and its circuit let somebody through again
            assert (await call(base, "/up/last", "PUT", b"{}")).status == 200


@pytest.mark.parametrize(
    ("limits", "served"),
    [
        ("{concurrency: 3, queue: {size: 9}}", 3),  # two more are let in
        ("{concurrency: 1, queue: {size: 9, timeout: 60s}}", 1),
        ("{concurrency: 1}", 1),  # nobody new may line up; who did stays
        ("{concurrency: 1, queue: {size: 9}, rate: {limit: 1, window: 60s}}", 1),
    ],
)
async def test_a_reload_keeps_who_is_in_flight_and_in_line_and_the_connections(
    tmp_path, limits, served
):
    file = tmp_path / "proxy.yaml"
    async with Upstream() as up:

        def text(limits: str) -> str:
            return CONFIG.replace("${{UP}}", up.url).format(limits)

        file.write_text(text("{concurrency: 1, queue: {size: 9, timeout: 30s}}"))
        proxy = Proxy(load(file), file)
        await proxy.start()
        up.always(wait(5) + ok())
        calls = await start(proxy, 3)
        before = at(proxy)

        file.write_text(text(limits))
        await proxy.reload()
        await turn()

        assert at(proxy) is not before
        assert at(proxy).client is before.client
        assert up.in_flight == served
        assert at(proxy).places.queued == 3 - served
        assert {(await one).status for one in calls} == {200}
        assert_nothing_is_held(proxy)
        await proxy.stop()
