import json

import jsonschema
import pytest
from admin.house import House
from jsonschema.validators import Draft202012Validator

from proxy import errors
from proxy.admin import api, openapi, steering
from proxy.policy.breaker import State

pytestmark = pytest.mark.real_time


@pytest.fixture
def house():
    return House()


@pytest.fixture
async def client(aiohttp_client, house):
    return await aiohttp_client(house.admin().application())


def lived(house):
    """Let everything have happened that an answer can hold."""
    house.view.look()
    house.answer()
    house.fail(errors.LLMAPIError("openai", 500, condition=500))
    house.trip()
    house.pass_time(1)
    for action, ttl, mode in (
        ("force-open", None, None),
        ("release", None, None),
        ("force-closed", 60.0, None),
        ("mode", 60.0, "observe"),
    ):
        order = steering.Order(action, "a drill", ttl, mode)
        steering.obey(order, "openai", house.breaker(), house.history, "::1")
    house.history.reloaded()
    house.history.rejected(["test.yaml:1:1: x: is not a key here"])
    house.step()


def checked(schema, answer):
    """Hold an answer against what the document says of it."""
    whole = {**schema, "components": openapi.document()["components"]}
    jsonschema.validate(answer, whole, Draft202012Validator)


@pytest.mark.parametrize("path", openapi.READS)
@pytest.mark.parametrize("young", [True, False])
async def test_every_answer_is_as_the_document_says(client, house, path, young):
    if not young:
        lived(house)
    response = await client.get(api.ROOT + path.replace("{name}", "openai"))
    answer = await response.json()

    assert response.status == 200
    checked(openapi.READS[path][1], answer)


async def test_every_route_is_in_the_document_and_the_other_way_round(house):
    routes = {
        (route.method.lower(), route.resource.canonical.removeprefix(api.ROOT))
        for route in house.admin().application().router.routes()
        if route.resource.canonical.startswith(api.ROOT) and route.method != "HEAD"
    }
    described = {
        (method, path)
        for path, methods in openapi.document()["paths"].items()
        for method in methods.keys() - {"parameters"}
    }

    assert routes == described


def test_the_document_holds_together():
    document = openapi.document()
    text = json.dumps(document)
    for name in document["components"]["schemas"]:
        assert f"#/components/schemas/{name}" in text, f"nobody needs {name}"
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("action", steering.ACTIONS)
async def test_an_order_is_obeyed_and_answered_with_the_circuit(client, house, action):
    body = {"reason": "a drill"} | ({"mode": "observe"} if action == "mode" else {})
    response = await client.post(f"/api/v1/breakers/openai/{action}", json=body)
    told = await response.json()

    assert response.status == 200
    checked(openapi.SCHEMAS["Breaker"], told)
    assert told == house.view.breaker("openai")
    (acted,) = house.history.actions
    assert (acted.action, acted.by, acted.why) == (action, "127.0.0.1", "a drill")


async def test_a_forced_state_ends_by_itself(client, house):
    body = {"reason": "a drill", "ttl": "10m"}
    await client.post("/api/v1/breakers/openai/force-open", json=body)
    forced = house.breaker().state
    house.pass_time(600)

    assert forced is State.OPEN
    assert house.breaker().state is State.HALF_OPEN


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b'{"reason": "x"}', "text/plain", (415, "VALIDATION_ERROR")),
        (b'{"reason": ', "application/json", (400, "VALIDATION_ERROR")),
        (b"\xff", "application/json", (400, "VALIDATION_ERROR")),
        (b"[" * 10_000, "application/json", (400, "VALIDATION_ERROR")),
        (b"[]", "application/json", (400, "VALIDATION_ERROR")),
        (b"{}", "application/json", (422, "VALIDATION_ERRORS")),
        (b" " * (api.BODY_LIMIT + 1), "application/json", (413, "PAYLOAD_TOO_LARGE")),
    ],
)
async def test_what_is_no_order_is_answered_with_the_envelope(
    client, house, body, content_type, expected
):
    response = await client.post(
        "/api/v1/breakers/openai/reset", data=body, headers={"Content-Type": content_type}
    )

    assert (response.status, (await response.json())["error"]) == expected
    assert not house.history.actions


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/upstreams/nobody", 404),
        ("GET", "/api/v1/breakers/nobody", 404),
        ("POST", "/api/v1/breakers/nobody/reset", 404),
        ("POST", "/api/v1/breakers/openai/explode", 404),
        ("GET", "/api/v1/breakers/openai/reset", 405),
        ("POST", "/api/v1/breakers", 405),
        ("GET", "/api/v1", 404),
    ],
)
async def test_what_is_not_there_is_answered_with_the_envelope(client, method, path, status):
    response = await client.request(method, path, json={"reason": "x"})

    assert response.status == status
    checked(openapi.SCHEMAS["Problem"], await response.json())


@pytest.mark.parametrize(
    ("settings", "headers", "expected"),
    [
        ({}, {}, (200, "free")),
        ({"token": "secret"}, {}, (200, "free")),
        ({}, {"Origin": "https://evil.example"}, (403, "free")),
        ({}, {"Sec-Fetch-Site": "cross-site"}, (403, "free")),
        ({"host": "0.0.0.0"}, {}, (403, "none")),
        ({"host": "0.0.0.0", "token": "secret"}, {}, (401, "token")),
        ({"host": "0.0.0.0", "token": "secret"}, {"Authorization": "Bearer no"}, (401, "token")),
        (
            {"host": "0.0.0.0", "token": "secret"},
            {"Authorization": "Bearer secret"},
            (200, "token"),
        ),
    ],
)
async def test_who_may_steer_is_the_guards_to_say(
    aiohttp_client, house, settings, headers, expected
):
    client = await aiohttp_client(house.admin(**settings).application())
    response = await client.post(
        "/api/v1/breakers/openai/reset", json={"reason": "x"}, headers=headers
    )
    version = await (await client.get("/api/v1/version")).json()

    assert (response.status, version["control"]) == expected
    assert len(house.history.actions) == (response.status == 200)


async def test_it_says_whether_calls_are_taken(client, house):
    house.ready = False

    assert (await (await client.get("/api/v1/version")).json())["ready"] is False


async def test_without_a_view_there_is_no_api(aiohttp_client):
    from admin.test_server import admin

    client = await aiohttp_client(admin().application())

    assert (await client.get("/api/v1/version")).status == 404
