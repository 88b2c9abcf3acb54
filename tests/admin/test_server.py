import asyncio
import io
import json
import socket
from contextlib import asynccontextmanager

import aiohttp
import pytest

from proxy.admin import server
from proxy.admin.server import Admin
from proxy.config import schema
from proxy.config.listening import AdminListener
from proxy.observe import logs
from proxy.observe.metrics import BreakerReading, Metrics
from proxy.policy.transitions import State

pytestmark = pytest.mark.real_time


def admin(metrics: Metrics | None = None, *, ready=lambda: True, **settings) -> Admin:
    listener = AdminListener(**{"port": 0, **settings})
    return Admin(listener, metrics or Metrics(), ready)


@pytest.fixture
async def client(aiohttp_client):
    return await aiohttp_client(admin().application())


async def test_metrics_come_as_text_or_as_openmetrics(client):
    text = await client.get("/metrics")
    openmetrics = await client.get("/metrics", headers={"Accept": "application/openmetrics-text"})
    nonsense = await client.get("/metrics", headers={"Accept": "text/plain;version=abc"})

    assert "octollm_proxy_build_info" in await text.text()
    assert text.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert (await openmetrics.text()).endswith("# EOF\n")
    assert openmetrics.content_type == "application/openmetrics-text"
    assert nonsense.status == 200


async def test_metrics_of_many_upstreams_come_too(aiohttp_client, monkeypatch):
    monkeypatch.setattr(server, "MANY_LINES", 1)
    metrics = Metrics()
    readings = [BreakerReading("a", State.CLOSED, 0.0, 0.0)]
    metrics.watch(lambda: readings)
    client = await aiohttp_client(admin(metrics).application())
    first = await (await client.get("/metrics")).text()
    readings[0] = BreakerReading("a", State.OPEN, 1.0, 5.0)
    second = await (await client.get("/metrics")).text()

    line = 'octollm_proxy_breaker_state{state="open",upstream="a"} '
    assert f"{line}0.0" in first
    assert f"{line}1.0" in second


async def test_it_is_healthy_and_ready_while_calls_are_taken(client):
    assert (await client.get("/-/healthy")).status == 200
    assert (await client.get("/-/ready")).status == 200
    assert (await client.head("/-/ready")).status == 200
    assert "/metrics" in await (await client.get("/")).text()


async def test_while_draining_it_is_healthy_and_not_ready(aiohttp_client):
    client = await aiohttp_client(admin(ready=lambda: False).application())
    response = await client.get("/-/ready")

    assert response.status == 503
    assert (await response.json())["error"] == "CAPACITY_EXCEEDED"
    assert (await client.get("/-/healthy")).status == 200


async def test_what_is_not_there_is_answered_with_the_envelope(client):
    nowhere = await client.get("/nowhere")
    problem = await client.get("/nowhere", headers={"Accept": "application/problem+json"})
    wrong = await client.post("/metrics")

    assert (nowhere.status, (await nowhere.json())["error"]) == (404, "ROUTE_NOT_FOUND")
    assert nowhere.headers["Content-Type"] == "application/json"
    assert problem.content_type == "application/problem+json"
    assert (wrong.status, (await wrong.json())["error"]) == (405, "VALIDATION_ERROR")
    assert set(wrong.headers["Allow"].split(",")) == {"GET", "HEAD"}


async def test_answers_say_little_about_what_made_them(client):
    for path in ("/", "/nowhere"):
        headers = (await client.get(path)).headers
        assert "Server" not in headers
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"


async def test_a_page_of_another_origin_gets_nothing_done(client):
    response = await client.post("/-/reload", headers={"Origin": "https://evil.example"})

    assert response.status == 403
    assert (await response.json())["error"] == "AUTHORIZATION_ERROR"


async def test_beyond_loopback_a_change_wants_the_token(aiohttp_client):
    client = await aiohttp_client(admin(host="0.0.0.0", token="secret").application())
    without = await client.post("/-/reload")
    wrong = await client.post("/-/reload", headers={"Authorization": "Bearer no"})
    right = await client.post("/-/reload", headers={"Authorization": "Bearer secret"})

    assert (without.status, without.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert wrong.status == 401
    assert right.status == 404
    assert (await client.get("/-/healthy")).status == 200


async def test_a_fault_of_ours_is_logged_and_says_nothing_of_the_inside(aiohttp_client):
    def broken() -> bool:
        raise RuntimeError("the inside")

    stream = io.BytesIO()
    logs.configure("info", "json", stream)
    client = await aiohttp_client(admin(ready=broken).application())
    response = await client.get("/-/ready")
    logs.close()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    # The test's own server has aiohttp's access log; ours has none.
    (line,) = [line for line in lines if line["event"] != "library.message"]

    assert response.status == 500
    assert (await response.json())["error"] == "INTERNAL_ERROR"
    assert "the inside" not in await response.text()
    assert (line["event"], line["level"], line["code"]) == (
        "request.failed",
        "critical",
        "INTERNAL_ERROR",
    )
    assert "the inside" in line["exception"]


async def test_the_listener_opens_where_told_and_closes():
    listener = admin()
    host, port = await listener.start()
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://{host}:{port}/-/ready") as response:
            assert response.status == 200
        await listener.stop()
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(f"http://{host}:{port}/-/ready")
    await listener.stop()


async def test_an_address_that_is_taken_is_an_error_at_once():
    with socket.create_server(("127.0.0.1", 0)) as other:
        listener = admin(port=other.getsockname()[1])
        with pytest.raises(OSError, match="in use"):
            await listener.start()
    await listener.stop()


@asynccontextmanager
async def spoken_to(*said: bytes):
    """Say it, piece by piece, to a listener as it is in production; give its whole answer."""
    listener = admin()
    reader, writer = await asyncio.open_connection(*await listener.start())
    for piece in said:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    yield await reader.read()
    writer.close()
    await listener.stop()


def parted(answer: bytes):
    """Give an answer's status line, fields and envelope."""
    head, _, body = answer.partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    return line, dict(field.split(": ", 1) for field in fields), json.loads(body)


UNREADABLE = {
    "a bad value": b"GET / HTTP/1.1\r\nHost: a\r\nX-Mine: canary\x00\r\n\r\n",
    "a bad name": b"GET / HTTP/1.1\r\nHost: a\r\nX canary: a\r\n\r\n",
    "a bad target": b"GET http://[canary HTTP/1.1\r\nHost: a\r\n\r\n",
    "a bad port": b"GET http://canary:99999/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "a bad method": b"CANARY / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a bad length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: canary\r\n\r\n",
    "a bad chunk": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\ncanary\r\n",
    "a long target": b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"canary" * 1400),
    "a long value": b"GET / HTTP/1.1\r\nHost: a\r\nX: %b\r\n\r\n" % (b"canary" * 1400),
    "many fields": b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n" % (b"X: canary\r\n" * 128),
    "no host": b"GET /canary HTTP/1.1\r\n\r\n",
    "no HTTP": b"canary\r\n\r\n",
    "TLS": b"\x16\x03\x01canary\r\n\r\n",
}


@pytest.mark.parametrize("head", UNREADABLE.values(), ids=UNREADABLE)
async def test_a_head_that_cannot_be_read_is_repeated_neither_to_the_caller_nor_in_the_log(head):
    stream = io.BytesIO()
    logs.configure("debug", "json", stream)
    async with spoken_to(head) as answer:
        pass
    logs.close()
    line, fields, told = parted(answer)

    assert line == "HTTP/1.0 400 Bad Request"
    assert (told["error"], told["message"]) == ("VALIDATION_ERROR", "the request cannot be read")
    assert fields["Content-Type"] == "application/json"
    assert (fields["Connection"], fields["Cache-Control"]) == ("close", "no-store")
    assert fields["Server"] == "octollm-proxy"
    assert b"canary" not in (answer + stream.getvalue()).lower()


async def test_what_follows_an_upgrade_that_was_declined_and_cannot_be_read_is_not_repeated():
    ask = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    async with spoken_to(ask + b"canary\r\n\r\n") as answer:
        first, _, second = answer.partition(b"HTTP/1.0 400 ")

    assert first.startswith(b"HTTP/1.1 200 ")
    assert b"VALIDATION_ERROR" in second
    assert b"canary" not in answer


async def test_an_expectation_that_is_not_known_is_refused_without_repeating_it():
    ask = b"GET /%b HTTP/1.1\r\nHost: a\r\nExpect: canary\r\nConnection: close\r\n\r\n"
    for page in (b"", b"nowhere"):
        async with spoken_to(ask % page) as answer:
            line, fields, told = parted(answer)

        assert line == "HTTP/1.1 417 Expectation Failed"
        assert told["error"] == "VALIDATION_ERROR"
        assert "Server" not in fields
        assert b"canary" not in answer


async def test_a_target_that_is_no_path_is_not_found():
    for ask in (b"CONNECT canary:443", b"OPTIONS *"):
        head = b"%b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % ask
        async with spoken_to(head) as answer:
            line, _, told = parted(answer)

        assert line == "HTTP/1.1 404 Not Found"
        assert told["error"] == "ROUTE_NOT_FOUND"
        assert b"canary" not in answer


async def test_a_body_that_cannot_be_read_is_the_callers_fault_and_ends_the_connection():
    ask = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 6\r\n\r\n"
    stream = io.BytesIO()
    logs.configure("debug", "json", stream)
    async with spoken_to(ask, b"canary") as answer:
        line, fields, told = parted(answer)
    logs.close()

    assert line == "HTTP/1.1 400 Bad Request"
    assert (told["error"], told["message"]) == ("VALIDATION_ERROR", "the body cannot be read")
    assert fields["Connection"] == "close"
    assert stream.getvalue() == b""


async def test_a_caller_who_leaves_in_the_middle_of_a_body_is_no_fault_of_ours():
    stream = io.BytesIO()
    logs.configure("debug", "json", stream)
    listener = admin()
    _, writer = await asyncio.open_connection(*await listener.start())
    writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
    await writer.drain()
    writer.transport.abort()
    await listener.stop()
    logs.close()

    assert stream.getvalue() == b""


async def test_who_was_not_started_from_a_file_has_nothing_to_reload(client):
    response = await client.post("/-/reload")

    assert response.status == 404
    assert (await response.json())["error"] == "ROUTE_NOT_FOUND"


async def test_a_token_can_be_changed(aiohttp_client):
    listener = admin(host="0.0.0.0", token="one")
    client = await aiohttp_client(listener.application())
    listener.trust(schema.Secret("two"))
    old = await client.post("/-/reload", headers={"Authorization": "Bearer one"})
    new = await client.post("/-/reload", headers={"Authorization": "Bearer two"})
    listener.trust(None)
    none = await client.post("/-/reload", headers={"Authorization": "Bearer two"})

    assert (old.status, new.status, none.status) == (401, 404, 403)
