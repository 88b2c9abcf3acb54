import aiohttp
import pytest

from proxy.testing.upstream import Upstream

POINTS = [
    {"id": 1, "vector": [1.0, 0.0], "payload": {"name": "east"}},
    {"id": 2, "vector": [0.0, 1.0], "payload": {"name": "north"}},
    {"id": 3, "vector": [0.0, 0.0]},
]


@pytest.fixture
async def call():
    async with Upstream() as upstream, aiohttp.ClientSession(upstream.url) as client:

        async def call(method: str, path: str, body: object = None) -> tuple[int, object]:
            async with client.request(method, path, json=body) as response:
                answer = await response.json()
                return response.status, answer.get("result", answer["status"])

        yield call


@pytest.fixture
async def filled(call):
    await call("PUT", "/collections/docs", {"vectors": {"size": 2, "distance": "Cosine"}})
    await call("PUT", "/collections/docs/points?wait=true", {"points": POINTS})
    return call


async def test_collections_are_made_listed_and_taken_away(call):
    assert await call("PUT", "/collections/docs", {}) == (200, True)
    assert (await call("PUT", "/collections/docs", {}))[0] == 409
    assert await call("GET", "/collections") == (200, {"collections": [{"name": "docs"}]})
    assert await call("DELETE", "/collections/docs") == (200, True)
    assert (await call("GET", "/collections/docs"))[0] == 404


async def test_points_are_counted_fetched_and_deleted(filled):
    assert (await filled("GET", "/collections/docs"))[1]["points_count"] == 3
    assert await filled("POST", "/collections/docs/points", {"ids": [1, 9]}) == (200, POINTS[:1])
    await filled("POST", "/collections/docs/points/delete", {"points": [1, 9]})
    assert await filled("POST", "/collections/docs/points/count", {}) == (200, {"count": 2})


async def test_a_second_upsert_replaces(filled):
    await filled("PUT", "/collections/docs/points", {"points": [{"id": 1, "vector": [0, 5]}]})
    assert await filled("POST", "/collections/docs/points/count", {}) == (200, {"count": 3})


async def test_the_nearest_points_come_first(filled):
    asked = {"vector": [0.1, 1.0], "limit": 2, "with_payload": True}
    _, found = await filled("POST", "/collections/docs/points/search", asked)
    assert [point["payload"]["name"] for point in found] == ["north", "east"]
    _, found = await filled("POST", "/collections/docs/points/query", {"query": [1.0, 0.0]})
    assert [(point["id"], point["score"]) for point in found["points"]] == [(1, 1), (2, 0), (3, 0)]


@pytest.mark.parametrize(
    "method, path, body, status",
    [
        ("POST", "/collections/docs/points/search", {}, 400),
        ("POST", "/collections/docs/points/search", {"vector": [1, 2, 3]}, 400),
        ("POST", "/collections/docs/points/search", None, 400),
        ("PUT", "/collections/none/points", {"points": []}, 404),
        ("PATCH", "/collections/docs/points", {}, 404),
        ("PATCH", "/collections/docs", {}, 404),
    ],
)
async def test_what_makes_no_sense_is_refused(filled, method, path, body, status):
    assert (await filled(method, path, body))[0] == status
