"""Callers who want something all the time, and make do with whatever answer they get.

Rule: they know the proxy's address and nothing else, as any service would.
"""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Wish:
    """What a caller asks for."""

    method: str
    path: str
    content: Any


_POINTS = [{"id": n, "vector": [n, 1.0], "payload": {"title": f"page {n}"}} for n in range(1, 9)]

_STOCK = (
    Wish("PUT", "/vectors/collections/pages", {"vectors": {"size": 2, "distance": "Cosine"}}),
    Wish("PUT", "/vectors/collections/pages/points", {"points": _POINTS}),
)
_CHAT = Wish(
    "POST",
    "/llm/v1/chat/completions",
    {"model": "demo", "messages": [{"role": "user", "content": "How are you?"}]},
)
_SEARCH = Wish("POST", "/vectors/collections/pages/points/search", {"vector": [1, 2], "limit": 3})


async def call_on(proxy: str) -> None:
    """Call the proxy at this URL, some six times a second, for ever."""
    for wish in _STOCK:
        await _call(proxy, wish)
    async with asyncio.TaskGroup() as callers:
        callers.create_task(_keep_calling(proxy, _CHAT, every=0.35))
        callers.create_task(_keep_calling(proxy, _SEARCH, every=0.3))


async def _keep_calling(proxy: str, wish: Wish, every: float) -> None:
    # Nobody waits for the others' answers: an outage must not make the traffic stop.
    async with asyncio.TaskGroup() as calls:
        while True:
            calls.create_task(_call(proxy, wish))
            await asyncio.sleep(every)


async def _call(proxy: str, wish: Wish) -> None:
    authority = proxy.removeprefix("http://")
    host, _, port = authority.rpartition(":")
    content = json.dumps(wish.content).encode()
    head = (
        f"{wish.method} {wish.path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(head.encode() + content)
        with suppress(ConnectionError):  # an answer that is cut is part of the show
            await reader.read()
    finally:
        writer.close()
