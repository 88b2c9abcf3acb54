"""What somebody found who came to see it run, and how it is now."""

import asyncio
import time

from e2e.support import call, metric, proxied

from proxy.observe.history import STEP
from proxy.testing import script
from proxy.testing.upstream import Upstream

CACHED = """
version: 1
listen: {port: 0}
admin: {port: 0}
upstreams:
  up: {url: "${UP}", retry: {max_retries: 0}, cache: {ttl: 60s}}
"""


async def overhead(proxy):
    return await metric(proxy, "octollm_proxy_overhead_seconds_sum", upstream="up")


async def test_who_waits_for_what_another_asked_is_no_work_of_ours_however_it_ends(monkeypatch):
    monkeypatch.setattr(time, "perf_counter", asyncio.get_running_loop().time)
    for answer in (
        script.ok("one"),
        script.status(503),
        script.ok("for one", cache_control="private"),
    ):
        async with Upstream() as up, proxied(CACHED, up=up.url) as proxy:
            up.always(script.wait(5) + answer)
            base = proxy.addresses[""]
            await asyncio.gather(*(call(base, "/up/x") for _ in range(3)))

            assert await overhead(proxy) < 1


SUCCEEDED = """
version: 1
listen: {port: 0}
admin: {port: 0}
defaults: {retry: {max_retries: 0}, breaker: {failure_threshold: 100}}
upstreams:
  a: {url: "${UP}/a", fallback: [{upstream: b}]}
  b: {url: "${UP}/b"}
pools: {all: {members: [a, b]}}
"""


async def test_attempts_are_told_of_the_requests_that_they_were_made_for():
    async with Upstream() as up, proxied(SUCCEEDED, up=up.url) as proxy:
        base, admin = proxy.addresses[""], proxy.addresses["admin"]
        await asyncio.sleep(STEP)
        for _ in range(5):
            up.script(script.status(503), script.ok("one"))
            await call(base, "/a/x")
        await call(base, "/b/x")
        await call(base, "/all/x")
        await asyncio.sleep(STEP)

        told = (await call(admin, "/api/v1/upstreams")).json()
        figures = {
            one["name"]: (one["last_5_minutes"]["served"], one["last_5_minutes"]["attempts"])
            for one in told["upstreams"] + told["pools"]
        }
        assert figures == {"a": (5, 10), "b": (1, 1), "all": (1, 1)}
        assert await metric(proxy, "octollm_proxy_attempts_total", upstream="b") >= 6


async def test_who_leaves_counts_neither_as_a_request_nor_with_what_it_took():
    async with Upstream() as up, proxied(SUCCEEDED, up=up.url) as proxy:
        base, admin = proxy.addresses[""], proxy.addresses["admin"]
        await asyncio.sleep(STEP)
        up.script(script.wait(60) + script.ok("late"))
        caller = asyncio.create_task(call(base, "/b/x"))
        await up.asked()
        caller.cancel()
        await asyncio.sleep(STEP)

        told = (await call(admin, "/api/v1/upstreams/b")).json()["last_5_minutes"]
        assert (told["served"], told["failed"], told["attempts"]) == (0, 0, 0)
        assert await metric(proxy, "octollm_proxy_requests_total", status="499") == 1
