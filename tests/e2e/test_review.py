"""What a reader who had not written it found, and how it is now."""

import asyncio
import json

from e2e.support import call, metric, proxied

from proxy.config.load import parse
from proxy.gateway.runtime import Runtime
from proxy.testing import script
from proxy.testing.upstream import Upstream

TEXT = """
version: 1
listen: {port: 0}
admin: {port: 0}
defaults:
  retry: {max_retries: 0}
  breaker: {failure_threshold: 1}
"""
UP = TEXT + 'upstreams:\n  up: {url: "${UP}", '
SHARED = UP + "cache: {ttl: 60s, shared: true}"
ONE, OTHER = {"Authorization": "Bearer a"}, {"Authorization": "Bearer b"}


async def test_what_is_said_of_one_credential_is_not_told_to_another():
    for status, headers in ((401, {}), (403, {}), (429, {"retry_after": "100"})):
        async with Upstream() as up, proxied(SHARED + "}", up=up.url) as proxy:
            up.script(script.wait(2) + script.status(status, **headers), script.ok("one"))
            first = asyncio.create_task(call(proxy.addresses[""], "/up/x", headers=ONE))
            await up.asked()
            second = asyncio.create_task(call(proxy.addresses[""], "/up/x", headers=OTHER))

            assert (await first).status == status
            assert (await second).body == b"one"


async def test_who_has_called_too_often_holds_nobody_else_up():
    text = SHARED + ", limits: {rate: {limit: 1, window: 60s, by: caller}}}"
    async with Upstream() as up, proxied(text, up=up.url) as proxy:
        base = proxy.addresses[""]
        up.always(script.ok("one"))
        await call(base, "/up/other", headers=ONE)
        first, second = await asyncio.gather(
            call(base, "/up/x", headers=ONE), call(base, "/up/x", headers=OTHER)
        )

        assert (first.status, second.status) == (429, 200)


POOL = (
    TEXT
    + """  cache: {ttl: 60s}
upstreams:
  a: {url: "${UP}/a"}
  b: {url: "${UP}/b"}
pools: {all: {members: [a, b]}}
"""
)


async def test_what_is_kept_of_a_pool_is_told_while_all_its_circuits_are_open():
    async with Upstream() as up, proxied(POOL, up=up.url) as proxy:
        base = proxy.addresses[""]
        up.script(script.ok("one"))
        up.always(script.status(503))
        assert (await call(base, "/all/x")).body == b"one"
        assert (await call(base, "/all/y")).status == 503

        kept = await call(base, "/all/x")
        assert (kept.status, kept["x-octollm-cache"]) == (200, "hit")
        nobody = await call(base, "/all/y")
        assert (nobody.code, nobody.json()["retry_after"]) == ("ARM_UNAVAILABLE", 60)
        assert up.requests == 3


async def test_an_old_answer_of_a_pool_stands_in_while_all_its_circuits_are_open():
    text = POOL.replace("{ttl: 60s}", "{ttl: 1ms, stale_if_error: 1h}")
    async with Upstream() as up, proxied(text, up=up.url) as proxy:
        base = proxy.addresses[""]
        up.script(script.ok("one"))
        up.always(script.status(503))
        assert (await call(base, "/all/x")).body == b"one"
        assert (await call(base, "/all/y")).status == 503
        while (kept := await call(base, "/all/x"))["x-octollm-cache"] != "stale":
            pass  # the wall's clock is real: a millisecond has to pass

        assert (kept.status, kept.body, up.requests) == (200, b"one", 3)


async def test_bodies_that_the_cache_reads_are_bounded_together():
    text = UP + "cache: {ttl: 60s, methods: [POST]}}\nlimits: {replay_memory: 1KiB}\n"
    async with Upstream() as up, proxied(text, up=up.url) as proxy:
        up.always(script.ok("one"))
        for body, result in ((b"x" * 1024, "miss"), (b"x" * 1025, "bypass")):
            answer = await call(proxy.addresses[""], "/up/x", "POST", body)
            assert answer.body == b"one"
            assert await metric(proxy, "octollm_proxy_cache_total", result=result) == 1
        assert proxy.gateway.runtime.memory.used == 0


async def test_a_body_too_large_to_be_kept_is_too_large_to_be_looked_into():
    text = UP + "replay_limit: 64KiB, guard: {pii: report}}"
    async with Upstream() as up, proxied(text, up=up.url) as proxy:
        body = json.dumps({"input": "x" * 100_000}).encode()
        answer = await call(proxy.addresses[""], "/up/x", "POST", body)

        assert (answer.status, answer.code) == (413, "PAYLOAD_TOO_LARGE")
        assert up.requests == 0


async def test_a_reload_does_not_forget_who_is_busy():
    async with Upstream() as up, proxied(UP + "}", up=up.url) as proxy:
        up.always(script.hang())
        busy = asyncio.create_task(call(proxy.addresses[""], "/up/x"))
        await up.asked()
        gateway = proxy.gateway
        other = parse(UP + "headers: {remove: [x]}}", "test.yaml", {"UP": up.url})
        after = Runtime(other, gateway.runtime.around, gateway.runtime)

        assert after.upstreams["up"].load.count == 1
        busy.cancel()


async def test_what_a_fallback_says_in_the_first_place_is_not_kept_either():
    text = (
        TEXT
        + """  cache: {ttl: 60s}
upstreams:
  a: {url: "${UP}/a", capabilities: [chat], fallback: [{upstream: b}]}
  b: {url: "${UP}/b", capabilities: [vision]}
"""
    )
    async with Upstream() as up, proxied(text, up=up.url) as proxy:
        up.always(script.ok("one"))
        for _ in range(2):
            needs = {"X-Required-Capabilities": "vision"}
            answer = await call(proxy.addresses[""], "/a/x", headers=needs)
            assert (answer["x-octollm-upstream"], answer.get("x-octollm-cache")) == ("b", None)
        assert [seen.target for seen in up.seen] == ["/b/x", "/b/x"]


async def test_a_throttle_that_is_switched_off_lets_everybody_through():
    async with Upstream() as up, proxied(UP + "}", up=up.url) as proxy:
        up.script(script.status(429, retry_after="30"))
        await call(proxy.addresses[""], "/up/x")
        around, before = proxy.gateway.runtime.around, proxy.gateway.runtime
        assert before.upstreams["up"].gate
        off = parse(UP + "limits: {throttle: false}}", "test.yaml", {"UP": up.url})

        assert not Runtime(off, around, before).upstreams["up"].gate
