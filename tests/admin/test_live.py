import asyncio
import json

import aiohttp
import pytest
from admin.house import House
from aiohttp import web

from proxy.admin import live
from proxy.admin.live import Live

pytestmark = pytest.mark.real_time("asyncio", "uvloop")


async def events(response):
    """Give the events of a stream as they come, as topic and content."""
    topic = ""
    async for line in response.content:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name == "event":
            topic = value
        elif name == "data":
            yield topic, json.loads(value)


@pytest.fixture
async def streaming(aiohttp_client, monkeypatch):
    """A live stream of topics that can be changed, looked at often."""
    monkeypatch.setattr(live, "SECONDS", 0.01)
    topics = {"state": 0, "series": [1, 2]}
    stream = Live(lambda: dict(topics))
    application = web.Application()
    application.router.add_get("/live", stream.handle)
    application.on_shutdown.append(stream.end)
    return await aiohttp_client(application), topics


async def test_all_there_is_comes_first_and_then_only_what_has_changed(streaming):
    client, topics = streaming
    async with client.get("/live") as response:
        told = events(response)
        first = [await anext(told), await anext(told)]
        topics["state"] = 1
        second = await anext(told)
        topics["state"] = 2
        third = await anext(told)

    assert response.headers["Content-Type"] == "text/event-stream"
    assert first == [("state", 0), ("series", [1, 2])]
    assert (second, third) == (("state", 1), ("state", 2))


async def test_a_page_that_leaves_makes_room_for_another(streaming, monkeypatch):
    client, topics = streaming
    monkeypatch.setattr(live, "READERS", 1)
    async with client.get("/live") as response:
        await anext(events(response))
        with pytest.raises(aiohttp.ClientResponseError):
            await client.get("/live", raise_for_status=True)
    async with asyncio.timeout(20):
        while (again := await client.get("/live")).status != 200:
            topics["state"] += 1  # only who is written to is found to have left

    again.close()


async def test_as_many_pages_as_there_may_be_are_told_so(aiohttp_client, monkeypatch):
    monkeypatch.setattr(live, "READERS", 0)
    client = await aiohttp_client(House().admin().application())
    response = await client.get("/api/v1/live")

    assert (response.status, (await response.json())["error"]) == (503, "CAPACITY_EXCEEDED")


async def test_a_listener_that_closes_ends_its_streams(aiohttp_client):
    house = House()
    listener = house.admin()
    host, port = await listener.start()
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://{host}:{port}/api/v1/live") as response:
            told = events(response)
            topics = {topic async for topic, _ in first(told, 3)}
            await listener.stop()
            rest = [event async for event in told]

    assert topics == {"state", "series", "timeline"}
    assert all(topic == "state" for topic, _ in rest)


async def first(told, count):
    for _ in range(count):
        yield await anext(told)


async def test_the_page_is_told_all_that_it_shows(aiohttp_client):
    house = House()
    house.trip()
    house.view.look()
    house.step()
    client = await aiohttp_client(house.admin().application())
    async with client.get("/api/v1/live") as response:
        told = {topic: content async for topic, content in first(events(response), 3)}

    state = told["state"]
    assert state["now"] == house.view.now()
    assert (state["control"], state["ready"]) == ("free", True)
    assert state["upstreams"] == house.view.upstreams()
    assert state["pools"] == house.view.pools()
    assert told["series"] == house.view.series()
    assert told["timeline"] == house.view.timeline()
