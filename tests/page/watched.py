"""The whole proxy with its status page, before an upstream that fails as told."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from proxy.app import Proxy
from proxy.config.load import parse

CONFIG = """
version: 1
listen: {port: 0}
admin: {port: "${ADMIN_PORT}", host: "${ADMIN_HOST:-127.0.0.1}", token: "${ADMIN_TOKEN:-}"}
defaults:
  retry: {max_retries: 0}
  breaker: {failure_threshold: 3, timeout: 2s, max_timeout: 2s, window: 10s}
upstreams:
  openai: {kind: llm, provider: openai, url: "${UP}"}
  qdrant: {kind: vectordb, provider: qdrant, url: "${UP}"}
pools:
  chat: {members: [openai]}
"""


@asynccontextmanager
async def watched(up: str, text: str = CONFIG, **env: str) -> AsyncIterator[Proxy]:
    """Run the proxy before the upstream at *up*."""
    words = {"UP": up, "ADMIN_PORT": "0", **{name.upper(): word for name, word in env.items()}}
    proxy = Proxy(parse(text, "test.yaml", words))
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
