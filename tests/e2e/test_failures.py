"""Every way an upstream can fail, and what its caller is told."""

import asyncio
import gzip
import json
import zlib

import pytest
from e2e.support import both, call, metric, proxied

from proxy.testing import script
from proxy.testing.script import Answer, head, send, status
from proxy.testing.upstream import Upstream

ONCE = "retry: {max_retries: 0}"

CONDITIONS = [
    (script.reset(), 502, "NETWORK_ERROR", "connection_terminated"),
    (script.close(), 502, "NETWORK_ERROR", "connection_terminated"),
    (script.half_a_head(), 502, "NETWORK_ERROR", "connection_terminated"),
    (script.garbage(), 502, "NETWORK_ERROR", "http_protocol_error"),
    (send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"), 502, "NETWORK_ERROR", "http_protocol_error"),
    (send(b"HTTP/1.1 200 OK\r\nx: a\x01b\r\nContent-Length: 0\r\n\r\n"), 502, "NETWORK_ERROR", "http_protocol_error"),
    (script.hang(), 504, "TIMEOUT_ERROR", "http_response_timeout"),
]  # fmt: skip


@pytest.mark.parametrize(("misbehaviour", "told", "code", "member"), CONDITIONS)
async def test_what_is_no_answer_becomes_an_envelope(misbehaviour, told, code, member):
    async with both(ONCE) as (proxy, upstream):
        upstream.always(misbehaviour)

        answer = await call(proxy.addresses[""], "/up/x")

    assert (answer.status, answer.code) == (told, code)
    assert answer["proxy-status"] == f"octollm-proxy; error={member}"
    assert answer["x-octollm-attempts"] == "1"
    assert answer.json()["details"]["upstream"] == "up"
    assert answer.json()["details"]["request_id"] == answer["x-octollm-request-id"]


async def test_a_refused_connection_is_a_network_error_that_names_no_address():
    async with Upstream() as upstream, proxied(up=upstream.url) as proxy:
        await upstream.stop()

        answer = await call(proxy.addresses[""], "/up/x")

    assert (answer.status, answer.code) == (502, "NETWORK_ERROR")
    assert answer["proxy-status"] == "octollm-proxy; error=connection_refused"
    assert str(upstream.port) not in answer.body.decode()
    assert "127.0.0.1" not in answer.body.decode()


@pytest.mark.real_time
async def test_a_name_that_does_not_resolve_is_a_network_error():
    async with proxied(up="http://no-such-host.invalid") as proxy:
        answer = await call(proxy.addresses[""], "/up/x", headers={"X-OctoLLM-Timeout": "100ms"})

    assert answer.status in (502, 504)
    assert answer.code in ("NETWORK_ERROR", "TIMEOUT_ERROR")


STATUSES = [
    ("llm", 400, 400, "VALIDATION_ERROR"),
    ("llm", 401, 401, "AUTHENTICATION_ERROR"),
    ("llm", 403, 403, "AUTHORIZATION_ERROR"),
    ("llm", 404, 404, "LLM_API_ERROR"),
    ("llm", 408, 504, "TIMEOUT_ERROR"),
    ("llm", 409, 409, "LLM_API_ERROR"),
    ("llm", 413, 413, "VALIDATION_ERROR"),
    ("llm", 415, 415, "VALIDATION_ERROR"),
    ("llm", 422, 422, "VALIDATION_ERROR"),
    ("llm", 425, 425, "LLM_API_ERROR"),
    ("llm", 429, 429, "RATE_LIMIT_EXCEEDED"),
    ("llm", 500, 502, "LLM_API_ERROR"),
    ("llm", 501, 502, "LLM_API_ERROR"),
    ("llm", 503, 503, "LLM_API_ERROR"),
    ("llm", 504, 504, "TIMEOUT_ERROR"),
    ("llm", 529, 503, "LLM_API_ERROR"),
    ("llm", 599, 502, "LLM_API_ERROR"),
    ("llm", 101, 502, "LLM_API_ERROR"),
    ("llm", 600, 502, "LLM_API_ERROR"),
    ("llm", 999, 502, "LLM_API_ERROR"),
    ("vectordb", 404, 404, "VECTOR_DB_ERROR"),
    ("vectordb", 500, 502, "VECTOR_DB_ERROR"),
    ("http", 500, 502, "THIRD_PARTY_API_ERROR"),
]


@pytest.mark.parametrize(("kind", "said", "told", "code"), STATUSES)
async def test_an_upstreams_status_becomes_the_contracts(kind, said, told, code):
    async with both(f"kind: {kind}, {ONCE}") as (proxy, upstream):
        upstream.always(head(said, length=0))

        answer = await call(proxy.addresses[""], "/up/x", "POST", b"{}")

    assert (answer.status, answer.code) == (told, code)
    assert answer["proxy-status"] == f"octollm-proxy; received-status={said}"
    assert answer.json()["details"]["status_code"] == said


@pytest.mark.parametrize("said", [200, 201, 204, 206, 301, 304, 307])
async def test_good_answers_and_redirects_pass_untouched(said):
    async with both() as (proxy, upstream):
        upstream.always(
            head(said, {"Location": "http://elsewhere.example/", "X-Own": "1"}, length=0)
        )

        answer = await call(proxy.addresses[""], "/up/x")

    assert (answer.status, answer["location"], answer["x-own"]) == (
        said, "http://elsewhere.example/", "1",
    )  # fmt: skip
    assert upstream.requests == 1


@pytest.mark.parametrize("said", [401, 403])
async def test_our_own_key_being_refused_is_not_the_callers_fault(said):
    auth = f"auth: {{header: Authorization, value: Bearer ours}}, kind: llm, {ONCE}"
    async with both(auth) as (proxy, upstream):
        upstream.always(status(said))

        answer = await call(proxy.addresses[""], "/up/x")

    assert (answer.status, answer.code) == (502, "LLM_API_ERROR")


SHAPES = [
    ({"error": {"message": "The server had an error", "type": "server_error"}}, "The server had an error"),
    ({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "Overloaded"),
    ({"error": "NotFoundError", "message": "Collection x does not exist"}, "Collection x does not exist"),
    ({"detail": "Not Found"}, "Not Found"),
    ({"detail": [{"loc": ["body"], "msg": "field required"}]}, "field required"),
    ({"status": {"error": "Not found: Collection x"}, "time": 0.1}, "Not found: Collection x"),
    ({"errors": [{"message": "first"}, {"message": "second"}]}, "first"),
    ({"error": "plain"}, "plain"),
    ({"unknown": 1}, "Internal Server Error"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "sentence"), SHAPES)
async def test_the_upstreams_own_words_are_found_and_kept(content, sentence):
    async with both(f"kind: llm, provider: openai, {ONCE}") as (proxy, upstream):
        upstream.always(status(500, content))

        error = (await call(proxy.addresses[""], "/up/x")).json()

    assert error["message"] == f"openai API error: {sentence}"
    assert error["details"]["error_message"] == sentence
    assert error["details"]["upstream_error"] == content


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_a_compressed_error_is_read(coding, pack):
    packed = pack(json.dumps({"error": {"message": "packed"}}).encode())
    async with both(ONCE) as (proxy, upstream):
        upstream.always(
            head(500, {"content-encoding": coding}, length=len(packed)) + script.body(packed)
        )

        answer = await call(proxy.addresses[""], "/up/x")

    assert answer.json()["details"]["error_message"] == "packed"
    assert answer.get("content-encoding") is None


async def test_an_error_that_never_ends_does_not_hold_the_caller_up():
    async with both(f"{ONCE}, timeouts: {{idle: 10m, total: 20m}}") as (proxy, upstream):
        upstream.always(head(500, length=1000) + script.body(b"the server") + script.hang())

        answer = await call(proxy.addresses[""], "/up/x")

    assert (answer.status, answer.json()["details"]["status_code"]) == (502, 500)


async def test_a_large_error_is_cut_to_what_is_of_use():
    content = {"error": {"message": "m" * 20_000}, "more": "x" * 200_000}
    async with both(ONCE) as (proxy, upstream):
        upstream.always(status(500, content))

        answer = await call(proxy.addresses[""], "/up/x")

    assert "upstream_error" not in answer.json()["details"]
    assert len(answer.body) < 2000


async def test_a_rewritten_answer_keeps_the_upstreams_headers_but_those_we_replace():
    kept = {"x-ratelimit-remaining-tokens": "17", "x-request-id": "req_1", "server": "theirs"}
    lost = {
        "etag": "e",
        "set-cookie": "s=1",
        "content-language": "en",
        "retry-after-ms": "9000",
        "x-should-retry": "true",
    }
    async with both(ONCE) as (proxy, upstream):
        upstream.always(status(503, "no", headers=kept | lost, retry_after=9))

        answer = await call(proxy.addresses[""], "/up/x")

    assert {name: answer[name] for name in kept} == kept
    assert [
        answer.get(name) for name in ("etag", "set-cookie", "content-language", "retry-after-ms")
    ] == [None] * 4
    assert [value for name, value in answer.headers if name.lower() == "retry-after"] == ["9"]
    assert [value for name, value in answer.headers if name.lower() == "x-should-retry"] == [
        "false"
    ]
    assert answer["content-type"] == "application/json"


async def test_head_gets_the_headers_and_no_body():
    async with both(ONCE) as (proxy, upstream):
        upstream.always(status(503))

        answer = await call(proxy.addresses[""], "/up/x", "HEAD")

    assert answer.status == 503
    assert int(answer["content-length"]) > 0


async def test_problem_json_is_there_for_who_asks():
    async with both(ONCE) as (proxy, upstream):
        upstream.always(status(503))

        answer = await call(
            proxy.addresses[""], "/up/x", headers={"Accept": "application/problem+json"}
        )

    assert answer["content-type"] == "application/problem+json"
    assert answer.json()["status"] == 503


CUTS: list[Answer] = [
    script.short(),
    script.cut_chunk(),
    head(200, chunked=True) + send(b"5\r\nhello\r\n") + script.wait(1) + send(b"ZZ\r\nbroken\r\n"),
    head(200) + script.body(b"no length") + script.reset(),
]


@pytest.mark.parametrize("cut", CUTS)
async def test_a_cut_body_never_looks_whole(cut):
    async with both() as (proxy, upstream):
        upstream.always(cut)

        answer = await call(proxy.addresses[""], "/up/x")

        assert answer.status == 200
        assert not answer.whole
        assert await metric(proxy, "octollm_proxy_stream_aborts_total", upstream="up") == 1
        assert await metric(proxy, "octollm_proxy_attempts_total", outcome="cut") == 1
    assert upstream.requests == 1


async def test_bodies_that_come_by_chunks_or_until_the_end_pass_whole():
    async with both() as (proxy, upstream):
        for word, body in (("chunks/3", None), ("until-close", b"closed\n"), ("gzip", None)):
            answer = await call(proxy.addresses[""], f"/up/{word}")

            assert (answer.status, answer.whole) == (200, True)
            assert body is None or answer.body == body
    assert upstream.requests == 3


async def test_a_silent_upstream_is_answered_for_at_the_total_deadline():
    settings = "kind: llm, timeouts: {total: 3s}"
    async with both(settings) as (proxy, upstream):
        upstream.always(script.hang())
        loop_time = proxy.gateway.runtime.around.clock
        began = loop_time()

        answer = await call(proxy.addresses[""], "/up/x", "POST", b"{}")

        assert (answer.status, answer.code) == (504, "TIMEOUT_ERROR")
        assert loop_time() - began == pytest.approx(3, abs=0.01)
        assert await metric(proxy, "octollm_proxy_breaker_failure_ratio", upstream="up") == 1
        assert await metric(proxy, "octollm_proxy_attempts_total", outcome="timeout") == 1


async def test_attempts_and_waits_all_fit_into_the_total_deadline():
    settings = "timeouts: {total: 3s}, retry: {base_delay: 800ms, jitter: false}"
    async with both(settings) as (proxy, upstream):
        upstream.always(script.wait(0.5) + status(503))
        loop_time = proxy.gateway.runtime.around.clock
        began = loop_time()

        answer = await call(proxy.addresses[""], "/up/x")

        assert loop_time() - began <= 3.01
        assert answer.status == 503
        assert await metric(proxy, "octollm_proxy_retry_suppressed_total", reason="deadline") == 1


async def test_no_answer_of_ours_holds_more_than_the_contract_allows():
    canary = "canary-4f2a"
    async with both(ONCE) as (proxy, upstream):
        upstream.always(
            status(
                500,
                {"error": {"message": f"Incorrect API key provided: sk-{canary}-0123456789abcdef"}},
            )
        )

        answer = await call(
            proxy.addresses[""], f"/up/x?token={canary}",
            headers={"Authorization": f"Bearer {canary}", "Cookie": canary},
        )  # fmt: skip

    assert canary not in answer.body.decode()


ENDLESS = [
    {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "9" * 400 + "s"},
    {"retry-after": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"},
]


@pytest.mark.parametrize("headers", ENDLESS)
async def test_a_wait_beyond_all_numbers_is_no_wait(headers):
    async with both(ONCE) as (proxy, upstream):
        upstream.always(status(429, headers=headers))

        answer = await call(proxy.addresses[""], "/up/x")

    assert (answer.status, answer.code) == (429, "RATE_LIMIT_EXCEEDED")
    assert answer.get("retry-after") is None


async def test_an_upstreams_error_that_is_no_json_to_strict_readers_becomes_some():
    async with both(ONCE) as (proxy, upstream):
        upstream.always(status(500, b'{"error": {"message": "x", "v": NaN, "w": 1e999}}'))

        answer = await call(proxy.addresses[""], "/up/x")

    assert answer.json()["details"]["upstream_error"]["error"] == {
        "message": "x",
        "v": None,
        "w": None,
    }


async def test_a_deadline_that_passes_in_line_for_a_connection_blames_nobody():
    settings = "kind: llm, limits: {connections: 1}, timeouts: {total: 500ms, stream_total: none}"
    async with both(settings) as (proxy, upstream):
        upstream.script(script.event_stream([b"data: 1\n\n", b"data: 2\n\n"], every=60))
        stream = asyncio.create_task(call(proxy.addresses[""], "/up/x"))
        await upstream.asked()

        late = await call(proxy.addresses[""], "/up/x", "POST", b"{}")

        assert (late.status, late.code) == (504, "TIMEOUT_ERROR")
        assert await metric(proxy, "octollm_proxy_breaker_failure_ratio", upstream="up") == 0
        stream.cancel()
