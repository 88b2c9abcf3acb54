"""A second attempt beside a slow first one, as a caller and the upstreams see it."""

import asyncio
import json

import pytest
from e2e.support import call, connect, metric, proxied, request

from proxy.app import Proxy
from proxy.testing import script
from proxy.testing.script import hang, ok, status, wait
from proxy.testing.upstream import Upstream

CONFIG = """
version: 1
listen: {{port: 0}}
admin: {{port: 0}}
upstreams:
  up: {{url: "${{UP}}", {}}}
"""
HEDGED = "hedge: {delay: 300ms}, retry: {jitter: false}"
SEARCH = "/up/collections/c/points/search"

POOL = """
version: 1
listen: {port: 0}
admin: {port: 0}
defaults: {hedge: {delay: 300ms, max: 2}}
upstreams:
  one: {url: "${ONE}"}
  two: {url: "${TWO}"}
  three: {url: "${THREE}"}
pools:
  all: {members: [one, two, three]}
"""


def hedged(upstream: Upstream, settings: str = HEDGED):
    return proxied(CONFIG.format(settings), up=upstream.url)


def clock(proxy: Proxy) -> float:
    return proxy.gateway.runtime.around.clock()


async def hedges(proxy: Proxy, name: str = "up") -> dict[str, float]:
    return {
        result: await metric(proxy, "octollm_proxy_hedges_total", upstream=name, result=result)
        for result in ("won", "lost")
    }


async def attempts(proxy: Proxy, name: str = "up") -> dict[str, float]:
    counts = {
        outcome: await metric(proxy, "octollm_proxy_attempts_total", upstream=name, outcome=outcome)
        for outcome in ("success", "cancelled", "status_5xx", "timeout")
    }
    return {outcome: count for outcome, count in counts.items() if count}


async def all_over(upstream: Upstream) -> None:
    """Wait until no exchange goes on there."""
    for seen in upstream.seen:
        await seen.over.wait()


async def test_a_slow_first_attempt_is_joined_by_a_second_and_the_first_good_head_wins():
    async with Upstream() as upstream, hedged(upstream) as proxy:
        upstream.script(hang(), ok("second"))
        began = clock(proxy)

        answer = await call(proxy.addresses[""], "/up/x")

        assert (answer.status, answer.body) == (200, b"second")
        assert answer["x-octollm-attempts"] == "2"
        assert clock(proxy) - began == pytest.approx(0.3, abs=0.1)
        assert upstream.seen[1].at - upstream.seen[0].at == pytest.approx(0.3, abs=0.05)
        assert await hedges(proxy) == {"won": 1, "lost": 0}


async def test_the_loser_is_gone_at_once_and_no_breaker_hears_of_it():
    async with Upstream() as upstream, hedged(upstream) as proxy:
        upstream.script(*[hang(), ok()] * 6)

        for _ in range(6):
            await call(proxy.addresses[""], "/up/x")
        await all_over(upstream)

        losers = [seen for seen in upstream.seen if seen.left_at is not None]
        assert [seen.left_at - seen.at for seen in losers] == [pytest.approx(0.3, abs=0.1)] * 6
        assert await attempts(proxy) == {"success": 6, "cancelled": 6}
        assert proxy.gateway.runtime.upstreams["up"].breaker.failure_ratio == 0
        assert proxy.gateway.runtime.upstreams["up"].load.count == 0


async def test_the_first_can_still_win():
    async with Upstream() as upstream, hedged(upstream) as proxy:
        upstream.script(wait(0.5) + ok("first"), hang())

        answer = await call(proxy.addresses[""], "/up/x")

        assert answer.body == b"first"
        assert await hedges(proxy) == {"won": 0, "lost": 1}
        assert await attempts(proxy) == {"success": 1, "cancelled": 1}


async def test_who_is_answered_in_time_is_asked_once():
    async with Upstream() as upstream, hedged(upstream) as proxy:
        upstream.always(wait(0.2) + ok())

        await call(proxy.addresses[""], "/up/x")

        assert upstream.requests == 1
        assert await hedges(proxy) == {"won": 0, "lost": 0}


async def test_a_head_in_time_is_enough_however_long_the_body_takes():
    async with Upstream() as upstream, hedged(upstream) as proxy:
        upstream.always(script.drip(b"slowly", every=1))

        assert (await call(proxy.addresses[""], "/up/x")).body == b"slowly"
        assert upstream.requests == 1


async def test_a_failure_before_the_delay_is_a_retry_and_no_hedge():
    async with Upstream() as upstream, hedged(upstream) as proxy:
        upstream.script(status(503), ok())

        answer = await call(proxy.addresses[""], "/up/x")

        assert (answer.status, upstream.requests) == (200, 2)
        assert upstream.seen[1].at - upstream.seen[0].at == pytest.approx(1, abs=0.1)
        assert await metric(proxy, "octollm_proxy_retries_total", upstream="up") == 1


async def test_a_bad_answer_of_the_second_does_not_win():
    async with Upstream() as upstream, hedged(upstream) as proxy:
        upstream.script(wait(2) + ok("first"), status(503))

        answer = await call(proxy.addresses[""], "/up/x")

        assert (answer.status, answer.body) == (200, b"first")
        assert await attempts(proxy) == {"success": 1, "status_5xx": 1}


async def test_where_both_fail_the_first_ones_error_counts_and_a_retry_follows():
    async with Upstream() as upstream, hedged(upstream) as proxy:
        upstream.script(wait(0.5) + status(503), wait(0.4) + status(500), ok("at last"))

        answer = await call(proxy.addresses[""], "/up/x")

        assert (answer.status, answer["x-octollm-attempts"]) == (200, "3")
        assert await metric(proxy, "octollm_proxy_retries_total", upstream="up") == 1
        assert await hedges(proxy) == {"won": 0, "lost": 0}


async def test_where_both_fail_the_caller_is_told_all_of_the_first_and_nothing_of_the_second():
    settings = "hedge: {delay: 300ms}, rewrite_client_errors: false, retry: {max_retries: 0}"
    async with Upstream() as upstream, hedged(upstream, settings) as proxy:
        upstream.script(
            wait(0.5) + status(429, "first", x_ratelimit_limit="1", retry_after=7),
            wait(0.4) + status(408, "second", x_should_retry="true"),
        )

        answer = await call(proxy.addresses[""], "/up/x")

        assert (answer.status, answer.body) == (429, b"first")
        assert answer["x-ratelimit-limit"] == "1"
        assert answer["retry-after"] == "7"


async def test_a_callers_fault_is_answered_at_once():
    async with Upstream() as upstream, hedged(upstream) as proxy:
        upstream.script(wait(0.5) + status(404), hang())
        began = clock(proxy)

        answer = await call(proxy.addresses[""], "/up/x")

        assert answer.status == 404
        assert clock(proxy) - began < 1
        await all_over(upstream)


async def test_a_bad_answer_of_the_second_does_not_win_where_bad_answers_pass():
    settings = "hedge: {delay: 300ms}, rewrite_client_errors: false"
    async with Upstream() as upstream, hedged(upstream, settings) as proxy:
        upstream.script(wait(2) + ok("first"), status(404))

        assert (await call(proxy.addresses[""], "/up/x")).body == b"first"


async def test_a_callers_fault_that_passes_is_answered_at_once():
    settings = "hedge: {delay: 300ms}, rewrite_client_errors: false"
    async with Upstream() as upstream, hedged(upstream, settings) as proxy:
        upstream.script(wait(0.5) + status(404, "first"), hang())

        assert (await call(proxy.addresses[""], "/up/x")).body == b"first"
        assert await hedges(proxy) == {"won": 0, "lost": 1}


async def test_only_so_many_run_beside_the_first():
    async with Upstream() as upstream, hedged(upstream, "hedge: {delay: 100ms, max: 2}") as proxy:
        upstream.script(wait(5) + ok("first"), hang(), hang())

        answer = await call(proxy.addresses[""], "/up/x")

        assert (answer.body, answer["x-octollm-attempts"]) == (b"first", "3")
        assert [round(seen.at - upstream.seen[0].at, 1) for seen in upstream.seen] == [0, 0.1, 0.2]


NO_TOKENS = "hedge: {delay: 300ms}, retry: {budget: {ratio: 0, min_per_second: 0}}"


async def test_a_second_attempt_takes_a_token_of_the_retry_budget_or_is_not_made():
    async with Upstream() as upstream, hedged(upstream, NO_TOKENS) as proxy:
        upstream.always(wait(1) + ok())

        await call(proxy.addresses[""], "/up/x")

        assert upstream.requests == 1
        assert await metric(
            proxy, "octollm_proxy_retry_suppressed_total", upstream="up", reason="budget"
        )


async def test_what_a_second_attempt_has_taken_no_retry_has():
    settings = "hedge: {delay: 300ms}, retry: {budget: {ratio: 0, min_per_second: 0.1}}"
    async with Upstream() as upstream, hedged(upstream, settings) as proxy:
        upstream.script(wait(0.5) + status(503), status(503))

        answer = await call(proxy.addresses[""], "/up/x")

        assert (answer.status, upstream.requests) == (503, 2)


@pytest.mark.parametrize(
    ("settings", "target", "method"),
    [
        ("kind: http", "/up/x", "POST"),
        ("kind: http", "/up/x", "PUT"),
        ("kind: http", "/up/x", "DELETE"),
        ("kind: llm, provider: openai", "/up/v1/chat/completions", "POST"),
        ("kind: vectordb, provider: qdrant", "/up/collections/c/points", "PUT"),
        ("kind: http, retry: {unsafe_methods: always}", "/up/x", "POST"),
    ],
)
async def test_what_does_more_than_read_is_never_asked_twice_at_once(settings, target, method):
    async with (
        Upstream() as upstream,
        hedged(upstream, f"hedge: {{delay: 1s}}, {settings}") as proxy,
    ):
        upstream.always(wait(5) + ok())

        answer = await call(proxy.addresses[""], target, method, b"{}", {"Idempotency-Key": "1"})

        assert (answer.status, upstream.requests) == (200, 1)


async def test_a_search_is_sent_twice_byte_for_byte():
    data = json.dumps({"vector": [0.25] * 20_000}).encode()
    settings = "hedge: {delay: 300ms}, kind: vectordb, provider: qdrant"
    async with Upstream() as upstream, hedged(upstream, settings) as proxy:
        upstream.script(hang(), ok("found"))

        reader, writer = await connect(base := proxy.addresses[""])
        writer.write(request(base, SEARCH, "POST", data, {"Expect": "100-continue"}))
        heads = [await reader.readuntil(b"\r\n\r\n") for _ in range(2)]
        writer.close()

        assert [head.split()[1] for head in heads] == [b"100", b"200"]
        assert [bytes(seen.body) for seen in upstream.seen] == [data, data]
        assert [seen.target for seen in upstream.seen] == [SEARCH[3:]] * 2
        assert upstream.seen[1].header("expect") is None


async def test_a_body_that_is_still_being_sent_is_not_sent_twice():
    settings = "hedge: {delay: 300ms}, kind: vectordb, provider: qdrant"
    async with Upstream() as upstream, hedged(upstream, settings) as proxy:
        upstream.always(ok())
        base = proxy.addresses[""]
        reader, writer = await connect(base)
        whole = request(base, SEARCH, "POST", b"half of it, and the rest")
        writer.write(whole[:-10])
        await asyncio.sleep(5)
        writer.write(whole[-10:])

        assert b" 200 " in await reader.readline()
        assert upstream.requests == 1
        writer.close()


async def test_a_body_that_is_too_long_to_keep_is_not_sent_twice():
    settings = "hedge: {delay: 300ms}, kind: vectordb, provider: qdrant, replay_limit: 10"
    async with Upstream() as upstream, hedged(upstream, settings) as proxy:
        upstream.always(wait(1) + ok())

        answer = await call(proxy.addresses[""], SEARCH, "POST", b"more than ten bytes")

        assert (answer.status, upstream.requests) == (200, 1)


async def test_a_websocket_is_never_asked_for_twice():
    fields = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    async with Upstream() as upstream, hedged(upstream) as proxy:
        upstream.always(wait(1) + status(404))

        answer = await call(proxy.addresses[""], "/up/x", headers=fields)

        assert (answer.status, upstream.requests) == (404, 1)


async def test_no_second_attempt_goes_to_who_has_asked_to_be_left_alone():
    async with Upstream() as upstream, hedged(upstream, "hedge: {delay: 300ms}") as proxy:
        upstream.script(wait(2) + ok("slow"), wait(0.1) + status(429, retry_after=20), ok("late"))
        base = proxy.addresses[""]

        slow = asyncio.create_task(call(base, "/up/x"))
        await upstream.asked()
        told = asyncio.create_task(call(base, "/up/y"))

        assert (await slow).body == b"slow"
        assert upstream.requests == 2
        assert (await told).body == b"late"


async def test_no_second_attempt_stands_in_line():
    settings = "hedge: {delay: 300ms}, limits: {concurrency: 1, queue: {size: 10, timeout: 9s}}"
    async with Upstream() as upstream, hedged(upstream, settings) as proxy:
        upstream.always(wait(1) + ok())

        await asyncio.gather(*(call(proxy.addresses[""], "/up/x") for _ in range(3)))

        assert (upstream.requests, upstream.peak) == (3, 1)


async def test_no_second_attempt_goes_where_the_circuit_has_opened():
    settings = "hedge: {delay: 1s}, retry: {max_retries: 0}, breaker: {failure_threshold: 1}"
    async with Upstream() as upstream, hedged(upstream, settings) as proxy:
        upstream.script(wait(3) + ok("slow"), status(500))
        base = proxy.addresses[""]

        slow = asyncio.create_task(call(base, "/up/x"))
        await upstream.asked()
        await call(base, "/up/y")

        assert (await slow).body == b"slow"
        assert upstream.requests == 2


async def test_a_caller_who_leaves_ends_both_and_nothing_is_left():
    async with Upstream() as upstream, hedged(upstream) as proxy:
        upstream.always(hang())
        before = asyncio.all_tasks()
        base = proxy.addresses[""]
        _, writer = await connect(base)
        writer.write(request(base, "/up/x"))
        await upstream.asked(2)

        writer.close()
        await all_over(upstream)

        assert [seen.left_at is not None for seen in upstream.seen] == [True, True]
        assert await attempts(proxy) == {"cancelled": 2}
        await asyncio.sleep(1)
        assert asyncio.all_tasks() <= before


async def test_both_can_run_out_of_time():
    settings = "hedge: {delay: 300ms}, timeouts: {first_byte: 2s}, retry: {max_retries: 0}"
    async with Upstream() as upstream, hedged(upstream, settings) as proxy:
        upstream.always(hang())

        answer = await call(proxy.addresses[""], "/up/x")

        assert (answer.status, answer["x-octollm-attempts"]) == (504, "2")
        assert await attempts(proxy) == {"timeout": 2}


async def test_in_a_pool_the_next_member_is_asked_and_then_the_one_after():
    async with Upstream() as one, Upstream() as two, Upstream() as three:
        one.always(hang())
        two.always(hang())
        three.always(ok("three"))
        async with proxied(POOL, one=one.url, two=two.url, three=three.url) as proxy:
            answer = await call(proxy.addresses[""], "/all/x")

            assert (answer.body, answer["x-octollm-upstream"]) == (b"three", "three")
            assert [up.requests for up in (one, two, three)] == [1, 1, 1]
            assert await hedges(proxy, "all") == {"won": 1, "lost": 0}
            assert await attempts(proxy, "one") == {"cancelled": 1}
            assert await attempts(proxy, "three") == {"success": 1}


async def test_a_member_that_cannot_be_asked_is_left_out():
    fragile = "retry: {max_retries: 0}, breaker: {failure_threshold: 1}"
    text = POOL.replace("{delay: 300ms, max: 2}}", "{delay: 300ms, max: 2}, " + fragile + "}")
    async with Upstream() as one, Upstream() as two, Upstream() as three:
        one.always(hang())
        two.always(status(500))
        three.always(ok("three"))
        async with proxied(text, one=one.url, two=two.url, three=three.url) as proxy:
            slow = asyncio.create_task(call(proxy.addresses[""], "/all/x"))
            await one.asked()
            await call(proxy.addresses[""], "/two/x")

            assert (await slow)["x-octollm-upstream"] == "three"
            assert two.requests == 1


async def test_a_members_rate_counts_what_runs_beside_another():
    text = POOL.replace('"${TWO}"', '"${TWO}", limits: {rate: {limit: 1, window: 60s}}')
    async with Upstream() as one, Upstream() as two, Upstream() as three:
        one.always(hang())
        two.always(ok("two"))
        three.always(ok("three"))
        async with proxied(text, one=one.url, two=two.url, three=three.url) as proxy:
            told = [(await call(proxy.addresses[""], "/all/x")).body for _ in range(2)]

            assert told == [b"two", b"three"]
            assert two.requests == 1


async def test_after_the_last_member_the_first_is_asked_again():
    text = POOL.replace("members: [one, two, three]", "members: [one, two]")
    async with Upstream() as one, Upstream() as two, Upstream() as three:
        one.script(hang(), ok("again"))
        two.always(hang())
        async with proxied(text, one=one.url, two=two.url, three=three.url) as proxy:
            answer = await call(proxy.addresses[""], "/all/x")

            assert answer.body == b"again"
            assert (one.requests, two.requests, three.requests) == (2, 1, 0)


async def test_a_stream_is_raced_for_its_head_and_told_by_one_alone():
    async with Upstream() as upstream, hedged(upstream) as proxy:
        slow = wait(5) + script.event_stream([b"data: first\n\n", b"data: [DONE]\n\n"])
        upstream.script(slow, script.event_stream([b"data: second\n\n", b"data: [DONE]\n\n"], 1))

        answer = await call(proxy.addresses[""], "/up/x")

        assert answer.body == b"data: second\n\ndata: [DONE]\n\n"
        assert answer.whole
