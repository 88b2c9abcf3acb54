"""The live stream of the status page: server-sent events, each of them whole.

Rule 1: an event holds all there is of its topic, so a page that has just come, or come back, needs
nothing from before. Rule 2: a topic is sent when it has changed; `state` has the time in it, so it
comes every second, and a page that hears nothing knows that it is stale. Rule 3: what is told is
made once for all who listen, and not at all when nobody does.
Nothing here knows what the topics hold.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from aiohttp import web

from proxy import errors

SECONDS = 1.0
"""Between two looks at the topics."""

READERS = 32
"""More pages than that have been forgotten in some tab."""

Topics = Callable[[], Mapping[str, Any]]


class Live:
    """Streams *topics*, by name, to every page that is open."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._ended = asyncio.Event()
        self._readers = 0
        self._told: dict[str, str] = {}
        self._told_until = 0.0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Stream until the page leaves or `end` is called."""
        if self._readers >= READERS:
            raise errors.CapacityExceededError(f"{READERS} pages are open already")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        self._readers += 1
        try:
            with suppress(ConnectionError):  # it may leave at any time
                await response.prepare(request)
                # A page comes back after this many milliseconds.
                await response.write(b"retry: 1000\n\n")
                await self._stream(response)
        finally:
            self._readers -= 1
        return response

    async def end(self, _: web.Application) -> None:
        """End every stream; pages come back by themselves."""
        self._ended.set()

    async def _stream(self, response: web.StreamResponse) -> None:
        sent: dict[str, str] = {}
        while not self._ended.is_set():
            for topic, text in self._texts().items():
                if sent.get(topic) != text:
                    sent[topic] = text
                    await response.write(f"event: {topic}\ndata: {text}\n\n".encode())
            try:
                async with asyncio.timeout(SECONDS):
                    await self._ended.wait()
            except TimeoutError:
                continue

    def _texts(self) -> dict[str, str]:
        now = asyncio.get_running_loop().time()
        if now >= self._told_until:
            self._told_until = now + SECONDS / 2
            self._told = {
                topic: json.dumps(content, separators=(",", ":"))
                for topic, content in self._topics().items()
            }
        return self._told
