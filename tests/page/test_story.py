"""The on-call test: whoever is asked tells the same story, with the same times."""

import io
import json
from datetime import datetime

import pytest
from e2e.support import call, connect, metric, request
from page.browser import CHROMIUM, browsing
from page.watched import CONFIG as PLAIN
from page.watched import watched

from proxy.observe import logs
from proxy.testing.script import ok, status
from proxy.testing.upstream import Upstream

pytestmark = pytest.mark.real_time

CLOSE = 0.1
"""Seconds between two clocks that are read one after the other."""

CONFIG = """
version: 1
listen: {port: 0, token: canary-listen}
admin: {port: 0, token: canary-admin}
defaults:
  retry: {max_retries: 1, base_delay: 1ms}
  breaker: {failure_threshold: 3, timeout: 1m}
upstreams:
  openai:
    {kind: llm, provider: openai, url: "${UP}",
     auth: {header: Authorization, value: Bearer canary-auth},
     headers: {set: {x-mine: canary-set}}}
  plain: {url: "${UP}"}
"""


@pytest.fixture
def log():
    stream = io.BytesIO()
    logs.configure("debug", "json", stream)
    yield stream
    logs.close()


@pytest.fixture
async def upstream():
    async with Upstream() as upstream:
        upstream.always(ok())
        yield upstream


def unix(moment):
    return datetime.fromisoformat(moment).timestamp()


async def get(proxy, path):
    return (await call(proxy.addresses["admin"], f"/api/v1{path}")).json()


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
async def test_page_api_metrics_and_log_tell_the_same_story(log, upstream):
    slow = PLAIN.replace("2s", "60s")
    async with watched(upstream.url, slow) as proxy, browsing() as page:
        await page.open(proxy.addresses["admin"])
        upstream.script(*[status(500)] * 3)
        for _ in range(3):
            await call(proxy.addresses[""], "/openai/v1/models")
        shown = await page.see(
            """(() => {
              const card = document.querySelector('.card[data-state="open"]');
              const line = document.querySelector('#timeline .moved');
              return card && line && {
                state: card.querySelector('strong').textContent,
                since: card.querySelector('.state p').title,
                why: card.querySelector('.state p').textContent,
                next: card.querySelector('.next').title,
                line: line.querySelector('time').dateTime,
              };
            })()"""
        )
        told = await get(proxy, "/breakers/openai")
        (moved,) = (await get(proxy, "/transitions"))["transitions"]
        is_open = await metric(
            proxy, "octollm_proxy_breaker_state", upstream="openai", state="open"
        )
        until = await metric(
            proxy, "octollm_proxy_breaker_open_until_timestamp_seconds", upstream="openai"
        )
        why = await metric(
            proxy,
            "octollm_proxy_breaker_transitions_total",
            upstream="openai",
            to_state="open",
            reason="consecutive",
        )
    logs.close()
    lines = map(json.loads, log.getvalue().splitlines())
    (opened,) = [line for line in lines if line["event"] == "breaker.opened"]

    assert (shown["state"], told["state"], is_open) == ("Open", "open", 1)
    assert shown["since"] == shown["line"] == told["since"] == moved["at"]
    assert unix(opened["timestamp"]) == pytest.approx(unix(told["since"]), abs=CLOSE)
    assert "failures in a row" in shown["why"]
    assert (told["reason"], moved["reason"], opened["reason"], why) == (*["consecutive"] * 3, 1)
    assert unix(shown["next"]) == pytest.approx(until, abs=CLOSE)
    assert unix(told["next_probe"]) == pytest.approx(until, abs=CLOSE)
    opens = unix(opened["timestamp"]) + opened["open_ms"] / 1000
    assert opens == pytest.approx(until, abs=CLOSE)
    assert moved["open_seconds"] * 1000 == opened["open_ms"]


KEY = "sk-canary0123456789abcdefghij"
"""Looks like a key, as what an upstream quotes in its complaint does."""


async def test_nothing_an_operator_can_reach_shows_a_credential(log, upstream):
    async with watched(upstream.url, CONFIG) as proxy:
        await misuse(proxy, upstream)
        reached = {path: await read(proxy, path) for path in pages(proxy)}
        reached["/api/v1/live"] = await beginning(proxy)
    logs.close()
    reached["log"] = log.getvalue()

    assert b"force-open" in reached["/api/v1/timeline"]
    assert b"LLM_API_ERROR" in reached["/api/v1/failures"]
    assert b"request.failed" in reached["log"]
    assert b"octollm_proxy_requests_total" in reached["/metrics"]
    assert [where for where, what in reached.items() if b"canary" in what] == []


async def misuse(proxy, upstream):
    """Put a canary wherever one can be put."""
    complaint = {"error": {"message": f"Incorrect API key provided: {KEY}", "code": KEY}}
    secrets = {
        "X-Api-Key": "canary-key",
        "Cookie": "session=canary-cookie",
        "X-Mine": "canary-mine",
        "X-Request-ID": "fine",
    }
    token = {"Authorization": "Bearer canary-listen"}
    body = b'{"prompt": "canary-body"}'
    base = proxy.addresses[""]
    for name in ("openai", "plain"):
        upstream.script(*[status(500, complaint)] * 2)
        target = f"/{name}/v1/canary-path?key=canary-query&q=canary"
        await call(base, target, "POST", body, {**secrets, **token})
    await call(base, "/canary-nowhere?canary", "POST", body, {**secrets, **token})
    await call(base, "/openai/", headers={"Authorization": "Bearer canary-wrong"})
    for token in ("canary-wrong", "canary-admin"):
        for action in ("force-open", "canary-action"):
            await call(
                proxy.addresses["admin"],
                f"/api/v1/breakers/openai/{action}?canary",
                "POST",
                json.dumps({"reason": f"using {KEY}"}).encode(),
                {
                    "Authorization": f"Bearer {token}",
                    "Content-Type": "application/json",
                    "User-Agent": "canary-agent",
                },
            )


def pages(proxy):
    """Give every page of the admin listener that can be read to its end."""
    return sorted(
        route.resource.canonical.replace("{name}", "openai")
        for route in proxy._admin.application().router.routes()
        if route.method == "GET" and not route.resource.canonical.endswith("/live")
    )


async def read(proxy, path):
    answer = await call(proxy.addresses["admin"], path)
    return repr(answer.headers).encode() + answer.body


async def beginning(proxy):
    """Give the first of each topic of the live stream."""
    base = proxy.addresses["admin"]
    reader, writer = await connect(base)
    writer.write(request(base, "/api/v1/live"))
    told = b""
    for topic in (b"event: state", b"event: series", b"event: timeline"):
        told += await reader.readuntil(topic)
    told += await reader.readuntil(b"\n\n")
    writer.close()
    return told
