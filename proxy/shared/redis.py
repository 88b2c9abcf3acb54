"""Where replicas meet: a channel they all listen to, and what is open now, for who comes later.

The door to redis-py beside the cache's: a connection that is listened on is no store that is asked.
Whatever goes wrong is raised, and the connection is then of no use any more: who holds it decides
when to try again.
"""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import replace

from redis.asyncio import Redis as Client
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from proxy.shared.news import News, pack, unpack

PREFIX = "octollm:shared:v1:"

_PATIENCE = 1.0
"""Seconds for an answer of Redis; as long a silence is asked whether anybody is still there."""


class Link:
    """A connection to what the replicas share, listening from the start."""

    def __init__(self, client: Client, pubsub: PubSub, channel: str) -> None:
        self._client = client
        self._pubsub = pubsub
        self._channel = channel

    async def hear(self) -> News:
        """Wait for the next news, and raise TimeoutError where Redis has fallen silent."""
        asked = False
        while True:
            message = await self._pubsub.get_message(timeout=_PATIENCE)
            if message is None:
                if asked:
                    raise TimeoutError
                async with asyncio.timeout(_PATIENCE):
                    await self._pubsub.ping()
                asked = True
                continue
            asked = False
            news = unpack(message["data"]) if message["type"] == "message" else None
            if news is not None:
                return news

    async def remembered(self, circuits: Collection[str]) -> list[News]:
        """Give which of *circuits* are open, with the time that is left by Redis's own clock."""
        async with asyncio.timeout(_PATIENCE), self._client.pipeline(transaction=True) as asking:
            for circuit in circuits:
                asking.get(PREFIX + circuit)
                asking.pttl(PREFIX + circuit)
            answers = await asking.execute()
        found = []
        for data, milliseconds in zip(answers[::2], answers[1::2], strict=True):
            news = None if data is None else unpack(data)
            if news is not None and milliseconds > 0:
                left = milliseconds / 1000
                found.append(replace(news, left=left, since=news.since + news.left - left))
        return found

    async def tell(self, news: News) -> None:
        """Tell everybody who listens, and whoever comes while it is true."""
        name, data = PREFIX + news.circuit, pack(news)
        async with asyncio.timeout(_PATIENCE), self._client.pipeline(transaction=True) as telling:
            if news.left:
                telling.set(name, data, px=max(1, round(news.left * 1000)))
            else:
                telling.delete(name)
            telling.publish(self._channel, data)
            await telling.execute()


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[Link]:
    """Connect to the Redis at *url*, and listen."""
    client = Client.from_url(
        url,
        protocol=2,
        driver_info=None,
        retry=Retry(NoBackoff(), 0),
        # With one, redis-py sends within `asyncio.wait_for`, which on Python 3.11 may lose a
        # cancellation (python/cpython#86296): we would go on for ever.
        socket_timeout=None,
        socket_connect_timeout=_PATIENCE,
    )
    async with client, client.pubsub() as pubsub:
        # Channels are common to all databases of a server, keys are not.
        database = client.connection_pool.connection_kwargs.get("db", 0)
        channel = f"{PREFIX}{database}:news"
        async with asyncio.timeout(_PATIENCE):
            await pubsub.subscribe(channel)
            # Only what is told after this answer is sure to be heard.
            await pubsub.get_message(timeout=None)
        yield Link(client, pubsub, channel)
