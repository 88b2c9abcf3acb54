"""The cache's second store, end to end: what it does for callers, and that they never pay for it."""

import asyncio
import io
import json

import pytest
from e2e.support import call, metric, proxied
from redis_server import Server, needs_redis

from proxy.observe import logs
from proxy.testing import script
from proxy.testing.upstream import Upstream

# Nothing is kept in memory, so each request asks Redis.
TEXT = """
version: 1
listen: {port: 0}
admin: {port: 0}
upstreams:
  up: {url: "${UP}", cache: {ttl: 60s, size: 0B, redis: "${REDIS}", redis_timeout: 500ms}}
"""


async def said(proxy):
    answer = await call(proxy.addresses[""], "/up/x")
    assert (answer.status, answer.body) == (200, b"told")
    return answer["x-octollm-cache"]


async def until_hit(proxy):
    while await said(proxy) != "hit":  # noqa: ASYNC110 -- only an answer tells
        await asyncio.sleep(0.01)


@needs_redis
@pytest.mark.real_time("asyncio", "uvloop")
async def test_redis_killed_and_restarted_under_load_fails_no_request_and_is_used_again():
    with Server() as server:
        async with Upstream() as up, proxied(TEXT, up=up.url, redis=server.url) as proxy:
            up.always(script.ok("told"))
            over = asyncio.Event()

            async def load() -> None:
                while not over.is_set():
                    await said(proxy)
                    await asyncio.sleep(0)

            async with asyncio.TaskGroup() as callers:
                for _ in range(4):
                    callers.create_task(load())
                async with asyncio.timeout(20):
                    await until_hit(proxy)
                    server.kill()
                    while not await metric(proxy, "octollm_errors_total", error_type="CACHE_ERROR"):
                        pass
                    await asyncio.gather(*(said(proxy) for _ in range(50)))
                    server.start()
                    await until_hit(proxy)
                over.set()
            assert proxy.gateway.runtime.in_flight() == 0


@needs_redis
@pytest.mark.real_time
async def test_what_one_process_was_told_another_gives():
    with Server() as server:
        async with (
            Upstream() as up,
            proxied(TEXT, up=up.url, redis=server.url) as one,
            proxied(TEXT, up=up.url, redis=server.url) as other,
        ):
            up.always(script.ok("told"))
            await until_hit(one)
            asked = up.requests
            assert await said(other) == "hit"
            assert up.requests == asked


async def test_the_log_says_why_it_fails_and_leaves_no_failure_out(tmp_path):
    stream = io.BytesIO()
    logs.configure("info", "json", stream)
    nobody = f"unix://:hunter2@{tmp_path}/nobody"
    try:
        async with Upstream() as up, proxied(TEXT, up=up.url, redis=nobody) as proxy:
            up.always(script.ok("told"))
            for _ in range(4):
                await said(proxy)
    finally:
        logs.close()

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    failing = [line for line in lines if line["event"] == "cache.failing"]
    assert [line["count"] for line in failing] == [1, 2]
    assert {line["error"] for line in failing} == {
        "redis cannot be used: ConnectionError: no such file or directory"
    }
    assert b"hunter2" not in stream.getvalue()
