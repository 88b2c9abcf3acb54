"""What an upstream gets to see of a request, and a caller of an answer; and who gets in at all."""

import asyncio
from itertools import pairwise

import pytest
from e2e.support import answer, both, call, connect, metric, proxied, request

from proxy.testing import script, sse
from proxy.testing.script import chunks, event_stream, head, interim, ok, wait
from proxy.testing.upstream import Upstream

OURS = "auth: {header: Authorization, value: Bearer ours}"

TARGETS = [
    "/v1/chat/completions?a=%20&b=%2F&a=%C3%A9&empty=",
    "/collections/a%2Fb/points",
    "/a//b/~x/!$&'()*+,;=:@",
    "/%zz?%",
]


@pytest.mark.parametrize("target", TARGETS)
async def test_path_and_query_reach_the_upstream_byte_for_byte(target):
    async with both() as (proxy, upstream):
        await call(proxy.addresses[""], f"/up{target}")

    assert upstream.seen[0].target == target


async def test_a_base_path_stands_before_the_callers():
    async with Upstream() as upstream, proxied(up=f"{upstream.url}/base/v2") as proxy:
        await call(proxy.addresses[""], "/up/x?y")
        await call(proxy.addresses[""], "/up")
        escaped = await call(proxy.addresses[""], "/up/../../admin")

    assert [seen.target for seen in upstream.seen] == ["/base/v2/x?y", "/base/v2"]
    assert escaped.status == 400


async def test_a_listener_of_its_own_serves_every_path():
    async with both("listen: {port: 0}") as (proxy, upstream):
        await call(proxy.addresses["up"], "/v1/x")
        await call(proxy.addresses["up"], "/up/x")

    assert [seen.target for seen in upstream.seen] == ["/v1/x", "/up/x"]


async def test_headers_keep_order_case_and_duplicates_and_nothing_is_invented():
    raw = (
        b"POST /up/x HTTP/1.1\r\nhost: a\r\nX-Two: 1\r\nAccept-Encoding: br\r\nx-two: 2\r\n"
        b"Connection: close, X-Drop, Keep-Alive\r\nX-Drop: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\n"
        b"Trailer: x\r\nProxy-Authorization: p\r\nProxy-Connection: x\r\nUpgrade: h2c\r\n"
        b"traceparent: t\r\nContent-Length: 2\r\n\r\n{}"
    )
    async with both() as (proxy, upstream):
        reader, writer = await connect(proxy.addresses[""])
        writer.write(raw)
        assert (await answer(reader)).status == 200
        writer.close()

    *kept, via, length = upstream.seen[0].headers
    assert kept == [
        (b"Host", upstream.url.removeprefix("http://").encode()),
        (b"X-Two", b"1"),
        (b"Accept-Encoding", b"br"),
        (b"x-two", b"2"),
        (b"traceparent", b"t"),
    ]
    assert via[0] == b"Via"
    assert via[1].startswith(b"1.1 octollm-proxy-")
    assert length == (b"Content-Length", b"2")


async def test_an_answer_keeps_its_headers_and_loses_those_of_the_connection():
    sent = {
        "Set-Cookie": "a=1",
        "set-cookie": "b=2",
        "X-Request-Id": "req_1",
        "Content-Encoding": "gzip",
    }
    lost = {"Connection": "X-Drop", "X-Drop": "1", "Keep-Alive": "5", "X-OctoLLM-Upstream": "inner"}
    async with both() as (proxy, upstream):
        upstream.always(head(200, sent | lost, length=2) + script.body(b"ok"))

        found = await call(proxy.addresses[""], "/up/x")

    names = [name for name, _ in found.headers]
    assert names[:4] == list(sent)
    assert not {"X-Drop", "Keep-Alive"} & set(names)
    assert [value for name, value in found.headers if name == "X-OctoLLM-Upstream"] == ["up"]


async def test_our_credential_takes_the_place_of_every_one_the_caller_brought():
    brought = {
        "authorization": "Bearer theirs",
        "x-api-key": "theirs",
        "api-key": "theirs",
        "x-goog-api-key": "theirs",
        "Cookie": "theirs",
    }
    async with both(OURS) as (proxy, upstream):
        await call(proxy.addresses[""], "/up/x?key=theirs&q=1", headers=brought)

    assert upstream.seen[0].target == "/x?q=1"
    assert upstream.seen[0].values("authorization") == ["Bearer ours"]
    assert "theirs" not in str(upstream.seen[0].headers)


async def test_headers_are_set_and_removed_as_configured():
    settings = "headers: {set: {X-Team: search}, remove: [User-Agent]}, forward: {client: true, trace: false}"
    async with both(settings) as (proxy, upstream):
        await call(
            proxy.addresses[""], "/up/x",
            headers={"X-Team": "mine", "User-Agent": "u", "traceparent": "t", "X-Forwarded-For": "spoofed", "Host": "front.example"},
        )  # fmt: skip

    seen = upstream.seen[0]
    assert (seen.values("x-team"), seen.header("user-agent"), seen.header("traceparent")) == (
        ["search"],
        None,
        None,
    )
    assert seen.values("x-forwarded-for") == ["127.0.0.1"]
    assert seen.header("x-forwarded-host") == "front.example"
    assert seen.header("x-forwarded-proto") == "http"


TARGETS_OF_OTHERS = [
    ("GET", "http://evil.example/up/x", {}, 200),
    ("GET", "/up/x", {"Host": "evil.example"}, 200),
    ("GET", "//evil.example/up/x", {}, 404),
    ("GET", "http://evil.example/x", {}, 404),
    ("GET", "evil.example", {}, 400),
    ("CONNECT", "evil.example:443", {}, 501),
    ("TRACE", "/up/x", {}, 501),
    ("OPTIONS", "*", {}, 400),
]


@pytest.mark.parametrize(("method", "target", "headers", "told"), TARGETS_OF_OTHERS)
async def test_nothing_in_a_request_changes_which_upstream_is_called(method, target, headers, told):
    async with both() as (proxy, upstream):
        found = await call(proxy.addresses[""], target, method, headers=headers)

    assert found.status == told
    assert [seen.target for seen in upstream.seen] == (["/x"] if told == 200 else [])
    if told != 200:
        assert "evil" not in found.body.decode()


async def test_a_page_of_another_origin_gets_nothing_done():
    async with both(OURS) as (proxy, upstream):
        refused = await call(
            proxy.addresses[""], "/up/x", "POST", b"{}", {"Sec-Fetch-Site": "cross-site"}
        )
        old_browser = await call(
            proxy.addresses[""], "/up/x", headers={"Origin": "http://evil.example"}
        )

    assert (refused.status, refused.code) == (403, "AUTHORIZATION_ERROR")
    assert old_browser.status == 403
    assert upstream.requests == 0


async def test_a_listener_with_a_token_lets_nobody_else_in():
    text = """
version: 1
listen: {port: 0, token: s3cret}
admin: {port: 0}
upstreams:
  up: {url: "${UP}"}
"""
    async with Upstream() as upstream, proxied(text, up=upstream.url) as proxy:
        stranger = await call(proxy.addresses[""], "/up/x")
        nosy = await call(proxy.addresses[""], "/guess/x")
        friend = await call(
            proxy.addresses[""],
            "/up/x",
            headers={"Proxy-Authorization": "Bearer s3cret", "Authorization": "theirs"},
        )

    assert (stranger.status, stranger.code, nosy.status, friend.status) == (
        401,
        "AUTHENTICATION_ERROR",
        401,
        200,
    )
    assert upstream.seen[0].header("authorization") == "theirs"
    assert upstream.seen[0].header("proxy-authorization") is None


async def test_a_loop_is_found_out():
    async with both() as (proxy, upstream):
        await call(proxy.addresses[""], "/up/x")
        via = upstream.seen[0].header("via")

        found = await call(proxy.addresses[""], "/up/x", headers={"Via": via})
        other = await call(proxy.addresses[""], "/up/x", headers={"Via": "1.1 other"})

    assert (found.status, found.code) == (508, "NETWORK_ERROR")
    assert found["proxy-status"] == "octollm-proxy; error=proxy_loop_detected"
    assert other.status == 200
    assert upstream.seen[1].values("via")[0] == "1.1 other"


async def test_a_sane_request_id_is_kept_and_another_made():
    async with both() as (proxy, _):
        own = await call(proxy.addresses[""], "/up/x", headers={"X-Request-ID": "abc-1.2"})
        insane = await call(proxy.addresses[""], "/up/x", headers={"X-Request-ID": "a b<script>"})
        none = await call(proxy.addresses[""], "/up/x")

    assert own["x-octollm-request-id"] == "abc-1.2"
    assert insane["x-octollm-request-id"] != "a b<script>"
    assert len(none["x-octollm-request-id"]) == 32


async def test_events_pass_as_they_come():
    async with both("kind: llm, provider: openai") as (proxy, upstream):
        upstream.always(event_stream(sse.chat("Hi there, friend"), every=30))
        reader, writer = await connect(proxy.addresses[""])
        clock = proxy.gateway.runtime.around.clock
        began = clock()
        writer.write(request(proxy.addresses[""], "/up/v1/chat/completions", "POST", b"{}"))
        await reader.readuntil(b"\r\n\r\n")

        moments = []
        while b"[DONE]" not in (line := await reader.readline()):
            if line.startswith(b"data:"):
                moments.append(clock() - began)
        writer.close()

    gaps = [later - sooner for sooner, later in pairwise(moments)]
    assert len(moments) > 3
    assert gaps == [pytest.approx(30, abs=0.1)] * len(gaps)


async def test_a_stream_outlives_the_total_deadline_and_a_silent_one_does_not():
    settings = "kind: llm, timeouts: {total: 5s, idle: 20s, first_event: 15s}"
    async with both(settings) as (proxy, upstream):
        upstream.script(
            event_stream(sse.chat("a b c d"), every=10),
            event_stream(sse.chat("a b c d")).until(0) + script.hang(),
            event_stream(sse.chat("a b c d")).until(2) + script.hang(),
        )

        long, silent, stalled = [await call(proxy.addresses[""], "/up/x") for _ in range(3)]

        assert (long.status, long.whole) == (200, True)
        assert (silent.status, silent.code) == (504, "TIMEOUT_ERROR")
        assert (stalled.status, stalled.whole) == (200, False)
        assert await metric(proxy, "octollm_proxy_attempts_total", outcome="timeout") == 2
        assert await metric(proxy, "octollm_proxy_stream_aborts_total", phase="events") == 1


async def test_a_stream_ends_at_stream_total():
    async with both("kind: llm, timeouts: {stream_total: 25s}") as (proxy, upstream):
        upstream.always(event_stream(sse.chat("a b c d e f"), every=10))

        found = await call(proxy.addresses[""], "/up/x")

        assert not found.whole
        assert await metric(proxy, "octollm_proxy_breaker_failure_ratio", upstream="up") == 0


async def test_interim_answers_are_passed_on():
    async with both() as (proxy, upstream):
        upstream.always(interim(103, link="</a>; rel=preload") + ok("at last"))
        reader, writer = await connect(proxy.addresses[""])
        writer.write(request(proxy.addresses[""], "/up/x"))

        hint = await reader.readuntil(b"\r\n\r\n")
        final = await answer(reader)
        writer.close()

    assert hint.startswith(b"HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload")
    assert final.body == b"at last"


async def test_continue_is_the_upstreams_to_say():
    async with both() as (proxy, upstream):
        upstream.always(script.early(interim(100)) + wait(0) + ok("thanks"))
        reader, writer = await connect(proxy.addresses[""])
        writer.write(
            request(
                proxy.addresses[""],
                "/up/x",
                "POST",
                headers={"Expect": "100-continue", "Content-Length": "4"},
            )
        )

        go_on = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"body")
        final = await answer(reader)
        writer.close()

    assert go_on.startswith(b"HTTP/1.1 100 Continue\r\n")
    assert final.status == 200
    assert upstream.seen[0].header("expect") == "100-continue"


async def test_a_body_streams_up_with_backpressure_and_down_again():
    size = 5_000_000
    async with both("kind: llm") as (proxy, upstream):
        up = await call(proxy.addresses[""], "/up/x", "POST", bytes(size), {"X-Script": "ok"})
        down = await call(proxy.addresses[""], f"/up/bytes/{size}")

    assert (up.status, len(upstream.seen[0].body)) == (200, size)
    assert (down.whole, len(down.body)) == (True, size)


async def test_a_chunked_upload_arrives_whole():
    async with both() as (proxy, upstream):
        reader, writer = await connect(proxy.addresses[""])
        writer.write(
            request(proxy.addresses[""], "/up/ok", "POST", headers={"Transfer-Encoding": "chunked"})
        )
        for piece in (b"one ", b"two ", b"three"):
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await asyncio.sleep(1)
        writer.write(b"0\r\n\r\n")
        assert (await answer(reader)).status == 200
        writer.close()

    assert upstream.seen[0].body == b"one two three"


async def test_a_caller_who_reads_slowly_blames_nobody():
    async with both("timeouts: {idle: 2s, total: 10m}") as (proxy, upstream):
        upstream.always(chunks(*[bytes(100_000)] * 100))
        reader, writer = await connect(proxy.addresses[""])
        writer.write(request(proxy.addresses[""], "/up/x"))
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(120)

        rest = 0
        while data := await reader.read(65536):
            rest += len(data)
            if data.endswith(b"0\r\n\r\n"):
                break
        writer.close()

        assert rest > 100 * 100_000
        assert await metric(proxy, "octollm_proxy_attempts_total", outcome="success") == 1


async def test_a_caller_who_leaves_in_mid_stream_cancels_the_upstream_at_once():
    async with both("kind: llm") as (proxy, upstream):
        upstream.always(event_stream(sse.chat("a b c d e f g"), every=5))
        reader, writer = await connect(proxy.addresses[""])
        writer.write(request(proxy.addresses[""], "/up/x"))
        await reader.readuntil(b"\n\n")
        writer.close()

        assert await upstream.seen[0].hung_up()
        assert await metric(proxy, "octollm_proxy_client_disconnects_total", phase="response") == 1
        assert await metric(proxy, "octollm_proxy_breaker_failure_ratio", upstream="up") == 0
        assert await metric(proxy, "octollm_proxy_stream_aborts_total", upstream="up") == 0


async def test_a_caller_who_leaves_during_a_wait_is_not_tried_for_again():
    async with both("retry: {base_delay: 30s}") as (proxy, upstream):
        upstream.always(script.status(503))
        _, writer = await connect(proxy.addresses[""])
        writer.write(request(proxy.addresses[""], "/up/x"))
        await upstream.asked()
        while not await metric(proxy, "octollm_proxy_retries_total", upstream="up"):
            pass
        writer.close()
        await asyncio.sleep(120)

    assert upstream.requests == 1


async def test_what_is_not_http_is_answered_with_the_envelope_and_no_echo():
    async with both() as (proxy, upstream):
        reader, writer = await connect(proxy.addresses[""])
        writer.write(b"GET /up/canary HTTP/1.1\r\nBad Header canary\r\n\r\n")

        found = await answer(reader)
        writer.close()

        assert (found.status, found.code) == (400, "VALIDATION_ERROR")
        assert "canary" not in found.body.decode()
        assert await metric(proxy, "octollm_errors_total", error_type="VALIDATION_ERROR") == 1
    assert upstream.requests == 0


async def test_a_fault_of_our_own_says_nothing_of_the_inside(monkeypatch):
    async with both() as (proxy, upstream):
        broken = proxy.gateway.runtime.upstreams["up"]
        monkeypatch.setattr(broken, "plan", lambda *_: 1 / 0)

        found = await call(proxy.addresses[""], "/up/x")

        assert (found.status, found.code) == (500, "INTERNAL_ERROR")
        assert "division" not in found.body.decode()
        assert await metric(proxy, "octollm_errors_total", error_type="INTERNAL_ERROR") == 1
        assert await metric(proxy, "octollm_proxy_in_flight", upstream="up") == 0
    assert upstream.requests == 0


async def test_draining_lets_calls_end_and_takes_no_new_ones():
    async with both("kind: llm") as (proxy, upstream):
        upstream.always(wait(10) + ok("done"))
        late = asyncio.create_task(call(proxy.addresses[""], "/up/x"))
        await upstream.asked()

        draining = asyncio.create_task(proxy.drain())
        await asyncio.sleep(1)
        ready = await call(proxy.addresses["admin"], "/-/ready")
        with pytest.raises(ConnectionRefusedError):
            await connect(proxy.addresses[""])

        assert (await late).body == b"done"
        assert await draining
    assert (ready.status, ready.code) == (503, "CAPACITY_EXCEEDED")


async def test_our_token_stays_here_in_whichever_fields_it_came():
    text = """
version: 1
listen: {port: 0, token: s3cret}
admin: {port: 0}
upstreams:
  up: {url: "${UP}"}
"""
    brought = {"Authorization": "Bearer s3cret", "X-Api-Key": "s3cret", "api-key": "s3cret"}
    async with Upstream() as upstream, proxied(text, up=upstream.url) as proxy:
        assert (await call(proxy.addresses[""], "/up/x", headers=brought)).status == 200

    assert "s3cret" not in str(upstream.seen[0].headers)


async def test_an_interim_answer_loses_what_concerns_the_connection():
    async with both() as (proxy, upstream):
        upstream.always(
            interim(103, link="</a>", connection="x-hop", x_hop="1", keep_alive="5") + ok()
        )
        reader, writer = await connect(proxy.addresses[""])
        writer.write(request(proxy.addresses[""], "/up/x"))
        hint = await reader.readuntil(b"\r\n\r\n")
        await answer(reader)
        writer.close()

    assert hint == b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"


async def test_a_caller_who_pipelines_and_leaves_is_noticed():
    async with both("kind: llm") as (proxy, upstream):
        upstream.always(script.hang())
        _, writer = await connect(proxy.addresses[""])
        writer.write(request(proxy.addresses[""], "/up/x", "POST", b"{}"))
        seen = await upstream.asked()
        writer.write(request(proxy.addresses[""], "/up/x", "POST", b"{}"))
        await asyncio.sleep(1)
        writer.close()

        assert await seen.hung_up()


async def test_a_caller_who_waits_to_be_told_to_go_on_is_told_on_a_retry_too():
    async with both("kind: llm, retry: {base_delay: 1s, jitter: false}") as (proxy, upstream):
        upstream.script(
            script.early(script.status(503)),
            script.early(interim(100)) + wait(0) + ok("thanks"),
        )
        reader, writer = await connect(proxy.addresses[""])
        expecting = {"Expect": "100-continue", "Content-Length": "4"}
        writer.write(request(proxy.addresses[""], "/up/x", "POST", headers=expecting))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        writer.write(b"body")

        assert (await answer(reader)).status == 200
        writer.close()

    assert [seen.header("expect") for seen in upstream.seen] == ["100-continue"] * 2
