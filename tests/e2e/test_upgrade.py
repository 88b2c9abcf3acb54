"""A WebSocket through the proxy: the handshake is a call like any other, what follows is bytes."""

import asyncio
import json
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from e2e.support import answer, call, connect, metric, proxied

TEXT = """
version: 1
listen: {port: 0}
admin: {port: 0}
upstreams:
  up: {url: "${UP}", kind: llm, auth: {header: Authorization, value: Bearer ours},
       retry: {base_delay: 1s, jitter: false}%s}
"""
# The example of RFC 6455 1.3.
HANDSHAKE = (
    b"GET /up/v1/realtime?model=m HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\n"
    b"Upgrade: WebSocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Authorization: Bearer theirs\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.theirs\r\n\r\n"
)
SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


@asynccontextmanager
async def raw(script, settings=""):
    """The proxy before an upstream that follows *script* on each connection."""
    tasks = set()

    async def connected(reader, writer):
        tasks.add(asyncio.current_task())
        try:
            await script(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listener = await asyncio.start_server(connected, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    text = TEXT % (settings and f", {settings}")
    try:
        async with proxied(text, up=f"http://127.0.0.1:{port}") as proxy:
            yield proxy
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def shake(proxy, *, more=b""):
    """Open a tunnel; gives the caller's side and the head of the answer."""
    reader, writer = await connect(proxy.addresses[""])
    writer.write(HANDSHAKE + more)
    return reader, writer, await reader.readuntil(b"\r\n\r\n")


async def over(proxy):
    """Wait until nothing is in flight."""
    while await metric(proxy, "octollm_proxy_in_flight"):
        pass


async def echo(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(SWITCHING)
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


# End to end


@pytest.mark.real_time("asyncio", "uvloop")
async def test_a_websocket_goes_through_with_our_credential_and_its_own_closing_handshake():
    seen = {}

    async def realtime(request):
        seen.update(request.headers, target=request.raw_path)
        socket = web.WebSocketResponse(protocols=("realtime",))
        await socket.prepare(request)
        async for message in socket:
            await socket.send_json({"type": "heard", "it": message.json()})
            if message.json() == "bye":
                await socket.close(code=4003, message=b"enough")
        seen["closed"] = socket.close_code
        return socket

    app = web.Application()
    app.router.add_get("/v1/realtime", realtime)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    async with proxied(TEXT % "", up=f"http://{host}:{port}") as proxy:
        url = proxy.addresses[""] + "/up/v1/realtime?model=m"
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url, protocols=["realtime"], headers={"X-Api-Key": "k"}) as socket,
        ):
            assert socket.protocol == "realtime"
            for said in ["é" * 70_000, "bye"]:
                await socket.send_json(said)
                assert json.loads((await socket.receive()).data)["it"] == said
            end = await socket.receive()
        assert (end.type, end.data, end.extra) == (aiohttp.WSMsgType.CLOSE, 4003, "enough")
        await over(proxy)
        assert await metric(proxy, "octollm_proxy_requests_total", status="101", code="") == 1
    await runner.cleanup()
    assert (seen["target"], seen["Authorization"]) == ("/v1/realtime?model=m", "Bearer ours")
    assert "X-Api-Key" not in seen


@pytest.mark.real_time("asyncio", "uvloop")
async def test_a_tunnel_is_one_call_counted_at_its_handshake_and_in_flight_until_its_end():
    async with raw(echo) as proxy:
        reader, writer, head = await shake(proxy)
        assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" in head
        assert b"\r\nX-OctoLLM-Attempts: 1\r\n" in head
        assert b"\r\nX-OctoLLM-Upstream: up\r\n" in head
        # Whole bytes in whatever pieces: it is no HTTP, and nobody looks at it.
        for data in (b"\x81\x00", b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)) * 4096):
            writer.write(data)
            assert await reader.readexactly(len(data)) == data
        name = "octollm_proxy_attempts_total"
        assert await metric(proxy, "octollm_proxy_in_flight", upstream="up") == 1
        assert await metric(proxy, name, outcome="success") == 1
        assert await metric(proxy, "octollm_proxy_requests_total", status="101") == 0

        writer.close()
        await over(proxy)
        assert await metric(proxy, name) == 1
        assert await metric(proxy, "octollm_proxy_requests_total", status="101") == 1
        assert await metric(proxy, "octollm_proxy_client_disconnects_total") == 0


@pytest.mark.real_time("asyncio", "uvloop")
async def test_what_comes_with_either_head_is_the_tunnels():
    async def hasty(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCHING + b"first")
        writer.write(await reader.readexactly(4))
        await reader.read()

    async with raw(hasty) as proxy:
        reader, writer, _ = await shake(proxy, more=b"here")
        assert await reader.readexactly(9) == b"firsthere"
        writer.close()


@pytest.mark.real_time("asyncio", "uvloop")
async def test_a_slow_side_holds_the_other_back():
    sent = 0

    async def flood(reader, writer):
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCHING)
        for _ in range(1000):
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 1

    async with raw(flood) as proxy:
        reader, writer, _ = await shake(proxy)
        writer.transport.pause_reading()
        before = -1
        while before != sent:
            before = sent
            for _ in range(50):
                await asyncio.sleep(0.001)
        assert sent < 500
        writer.transport.resume_reading()
        assert len(await reader.read(-1)) == 65536 * 1000
        writer.close()


# Ends


@pytest.mark.real_time("asyncio", "uvloop")
async def test_half_an_end_is_passed_on_and_the_other_half_goes_on():
    async def parting(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCHING)
        said = await reader.read()
        writer.write(said + b", and bye")

    async with raw(parting) as proxy:
        reader, writer, _ = await shake(proxy)
        writer.write(b"bye")
        writer.write_eof()
        assert await reader.read() == b"bye, and bye"
        writer.close()
        await over(proxy)


@pytest.mark.real_time("asyncio", "uvloop")
async def test_an_upstream_that_ends_first_ends_the_callers_side():
    async def brief(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCHING + b"bye")

    async with raw(brief) as proxy:
        reader, writer, _ = await shake(proxy)
        assert await reader.read() == b"bye"
        writer.close()
        await over(proxy)


@pytest.mark.real_time("asyncio", "uvloop")
async def test_a_reset_of_either_side_resets_the_other_and_blames_nobody():
    from proxy.wire.tunnel import reset

    felt = asyncio.get_running_loop().create_future()

    async def resetting(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCHING)
        if await reader.read(1) == b"!":
            reset(writer.transport)
            return
        try:
            await reader.read()
        except ConnectionResetError:
            felt.set_result(True)

    async with raw(resetting, "breaker: {failure_threshold: 1}") as proxy:
        reader, writer, _ = await shake(proxy)
        writer.write(b"!")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()

        reader, writer, _ = await shake(proxy)
        writer.write(b"?")
        await writer.drain()
        await asyncio.sleep(0.05)
        reset(writer.transport)
        assert await felt
        assert await metric(proxy, "octollm_proxy_breaker_state", state="closed") == 1
        assert await metric(proxy, "octollm_proxy_attempts_total", outcome="success") == 2


async def test_a_silent_tunnel_ends_after_idle_and_any_byte_prolongs_it():
    async with raw(echo, "timeouts: {idle: 60s}") as proxy:
        loop = asyncio.get_running_loop()
        reader, writer, _ = await shake(proxy)
        for _ in range(5):
            await asyncio.sleep(50)
            writer.write(b"ping")
            assert await reader.readexactly(4) == b"ping"
        last = loop.time()
        assert await reader.read() == b""
        assert loop.time() - last == pytest.approx(60, abs=1)
        writer.close()


async def test_a_tunnel_outlives_the_total_deadline_and_not_stream_total():
    async with raw(echo, "timeouts: {total: 5s, idle: none, stream_total: 100s}") as proxy:
        loop = asyncio.get_running_loop()
        began = loop.time()
        reader, writer, _ = await shake(proxy)
        await asyncio.sleep(60)
        writer.write(b"ping")
        assert await reader.readexactly(4) == b"ping"
        assert await reader.read() == b""
        assert loop.time() - began == pytest.approx(100, abs=1)
        writer.close()


async def test_an_upstream_that_does_not_heed_an_end_is_left_soon():
    async def deaf(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCHING)
        await asyncio.sleep(1000)

    async with raw(deaf, "timeouts: {idle: none}") as proxy:
        _, writer, _ = await shake(proxy)
        writer.close()
        await asyncio.sleep(25)
        assert await metric(proxy, "octollm_proxy_in_flight") == 1
        await asyncio.sleep(10)
        assert await metric(proxy, "octollm_proxy_in_flight") == 0


async def test_draining_ends_tunnels_at_once():
    async with raw(echo) as proxy:
        reader, writer, _ = await shake(proxy)
        began = asyncio.get_running_loop().time()
        assert await proxy.drain()
        assert asyncio.get_running_loop().time() - began < 1
        assert await reader.read() == b""
        writer.close()


async def test_a_handshake_that_ends_while_draining_opens_a_tunnel_that_ends():
    async def slow(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(10)
        writer.write(SWITCHING)
        await reader.read()

    async with raw(slow) as proxy:
        shaking = asyncio.create_task(shake(proxy))
        await asyncio.sleep(1)
        assert await proxy.drain()
        reader, writer, head = await shaking
        assert b" 101 " in head
        assert await reader.read() == b""
        writer.close()


async def test_the_end_of_the_proxy_is_the_end_of_its_tunnels():
    async with raw(echo) as proxy:
        reader, writer, _ = await shake(proxy)
        await proxy.stop()
        # Without a frame that closes; a client knows what that means.
        assert await reader.read() == b""
        writer.close()


async def test_a_probe_that_is_a_handshake_closes_the_circuit_while_its_tunnel_lasts():
    opened = asyncio.Event()

    async def mended(reader, writer):
        if not opened.is_set():
            return
        await echo(reader, writer)

    settings = "breaker: {failure_threshold: 1, timeout: 30s}"
    async with raw(mended, settings) as proxy:
        assert (await call(proxy.addresses[""], "/up/x")).status == 502
        assert (await call(proxy.addresses[""], "/up/x")).code == "CIRCUIT_OPEN"
        opened.set()
        await asyncio.sleep(31)
        _, writer, head = await shake(proxy)
        assert b" 101 " in head
        assert await metric(proxy, "octollm_proxy_breaker_state", state="closed") == 1
        writer.close()
        await over(proxy)
        assert await metric(proxy, "octollm_proxy_breaker_state", state="closed") == 1


# What is no handshake


async def test_a_handshake_that_fails_is_tried_again_and_then_opens():
    seen = []

    async def late(reader, writer):
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        if len(seen) < 3:
            writer.write(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
            return
        writer.write(SWITCHING)
        await reader.read()

    async with raw(late) as proxy:
        _, writer, head = await shake(proxy)
        assert b" 101 " in head
        assert b"\r\nX-OctoLLM-Attempts: 3\r\n" in head
        assert await metric(proxy, "octollm_proxy_retries_total", reason="status_5xx") == 2
        writer.close()
    assert {b"Connection: Upgrade\r\nUpgrade: websocket\r\n" in head for head in seen} == {True}
    assert {b"Bearer ours" in head and b"theirs" not in head for head in seen} == {True}


@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        (b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", 502, "LLM_API_ERROR"),
        (SWITCHING.replace(b"websocket", b"h2c"), 502, "LLM_API_ERROR"),
        (SWITCHING.replace(b"s3pP", b"s3pp"), 502, "LLM_API_ERROR"),
        (b"HTTP/1.1 426 U\r\nContent-Length: 0\r\n\r\n", 426, "LLM_API_ERROR"),
        (b"HTTP/1.1 403 F\r\nContent-Length: 0\r\n\r\n", 502, "LLM_API_ERROR"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, None),
    ],
)  # fmt: skip
async def test_any_other_answer_to_a_handshake_is_an_ordinary_one(said, status, code):
    async def refusing(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        await reader.read()

    async with raw(refusing) as proxy:
        reader, writer = await connect(proxy.addresses[""])
        writer.write(HANDSHAKE)
        found = await answer(reader)
        assert (found.status, found.code if code else None) == (status, code)
        assert await reader.read() == b""
        writer.close()


async def test_an_upstream_that_is_gone_before_the_tunnel_is_a_failure():
    async def gone(reader, writer):
        await reader.readuntil(b"\r\n\r\n")

    async with raw(gone, "breaker: {failure_threshold: 1}") as proxy:
        reader, writer = await connect(proxy.addresses[""])
        writer.write(HANDSHAKE)
        assert (await answer(reader)).code == "NETWORK_ERROR"
        assert await metric(proxy, "octollm_proxy_breaker_state", state="open") == 1
        writer.close()


@pytest.mark.parametrize(
    "framing",
    [b"Content-Length: 2\r\n\r\nhi", b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"],
)
@pytest.mark.parametrize("upgrade", [b"WebSocket", b"h2c, websocket"])
async def test_a_handshake_with_a_body_is_refused(framing, upgrade):
    async with raw(echo) as proxy:
        reader, writer = await connect(proxy.addresses[""])
        writer.write(HANDSHAKE[:-2].replace(b"WebSocket\r", upgrade + b"\r", 1) + framing)
        found = await answer(reader)
        assert (found.status, found.code) == (400, "VALIDATION_ERROR")
        writer.close()


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (b"Upgrade: WebSocket", b"Upgrade: h2c"),
        (b"Upgrade: WebSocket", b"Upgrade: websocket, h2c"),
        (b"Upgrade: WebSocket", b"Upgrade: websocket\r\nUpgrade: h2c"),
        (b"keep-alive, Upgrade", b"keep-alive"),
        (b"GET ", b"POST "),
        (b"HTTP/1.1", b"HTTP/1.0"),
    ],
)
async def test_any_other_upgrade_ends_here_and_the_request_goes_on(was, becomes):
    seen = []

    async def plain(reader, writer):
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with raw(plain) as proxy:
        reader, writer = await connect(proxy.addresses[""])
        writer.write(HANDSHAKE.replace(was, becomes, 1))
        assert (await answer(reader)).status == 200
        writer.close()
    assert b"upgrade" not in seen[0].lower()


async def test_a_page_of_another_origin_opens_no_tunnel_with_our_key():
    async with raw(echo) as proxy:
        refused = await call(
            proxy.addresses[""],
            "/up/x",
            headers={
                "Origin": "https://evil.example",
                "Upgrade": "websocket",
                "Connection": "Upgrade",
            },
        )
    assert refused.status == 403
