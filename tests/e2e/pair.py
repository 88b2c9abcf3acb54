"""Two upstreams on real sockets, one the other's fallback, and the proxy before them."""

import asyncio
import json
from contextlib import asynccontextmanager

from e2e.support import call, metric, proxied

from proxy.testing.script import ok
from proxy.testing.upstream import Upstream

CHAT = "/first/v1/chat/completions"
NO_RETRY = "retry: {max_retries: 0}"
ONE_STRIKE = "breaker: {failure_threshold: 1}"
QUESTION = {"model": "gpt", "messages": []}


@asynccontextmanager
async def pair(first=NO_RETRY, entry="", second="", kind="llm, provider: openai"):
    """Run the proxy with `first`, whose fallback is `second`; both answer "first" or "second"."""
    text = f"""
version: 1
listen: {{port: 0}}
admin: {{port: 0}}
upstreams:
  first:
    {{kind: {kind}, url: "${{FIRST}}", fallback: [{{upstream: second, {entry}}}], {first}}}
  second: {{kind: {kind}, url: "${{SECOND}}/base", {second}}}
"""
    async with (
        Upstream() as primary,
        Upstream() as target,
        proxied(text, first=primary.url, second=target.url) as proxy,
    ):
        primary.always(ok("first"))
        target.always(ok("second"))
        yield proxy, primary, target


async def ask(proxy, target=CHAT, body=None, **headers):
    data = json.dumps(QUESTION).encode() if body is None else body
    return await call(
        proxy.addresses[""], target, "POST", data, {name.replace("_", "-"): value for name, value in headers.items()}
    )  # fmt: skip


async def moved(proxy, **labels):
    return await metric(proxy, "octollm_proxy_fallbacks_total", **labels)


def now():
    return asyncio.get_running_loop().time()
