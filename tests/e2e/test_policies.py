"""Deadline, retry and breaker as a caller meets them, over real sockets in virtual time."""

import asyncio
import io
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from e2e.support import answer, both, call, connect, metric, proxied, request

from proxy.app import Proxy
from proxy.observe import logs
from proxy.testing import script
from proxy.testing.script import hang, ok, status
from proxy.testing.upstream import Upstream

STEADY = "retry: {base_delay: 1s, jitter: false}"
QUICK_TRIP = (
    "retry: {max_retries: 0}, breaker: {failure_threshold: 3, timeout: 30s, max_timeout: 2m}"
)


def clock(proxy: Proxy) -> float:
    return proxy.gateway.runtime.around.clock()


async def trip(proxy: Proxy, upstream: Upstream, failures: int = 3) -> None:
    upstream.script(*[status(500)] * failures)
    for _ in range(failures):
        await call(proxy.addresses[""], "/up/x")


# Retry


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_attempts_seen_told_and_counted_are_the_same_number(method):
    async with both(f"kind: llm, {STEADY}") as (proxy, upstream):
        upstream.script(status(503), script.reset(), ok("at last"))

        answer = await call(
            proxy.addresses[""], "/up/x", method, b"body" if method[0] == "P" else None
        )

        assert (answer.status, answer["x-octollm-attempts"]) == (200, "3")
        assert [seen.method for seen in upstream.seen] == [method] * 3
        assert {bytes(seen.body) for seen in upstream.seen} == {
            b"body" if method[0] == "P" else b""
        }
        assert await metric(proxy, "octollm_proxy_attempts_total", upstream="up") == 3
        assert await metric(proxy, "octollm_proxy_retries_total", upstream="up") == 2


async def test_waits_grow_as_the_standards_formula_says():
    async with both(STEADY) as (proxy, upstream):
        upstream.always(status(503))
        began = clock(proxy)

        answer = await call(proxy.addresses[""], "/up/x")

        assert clock(proxy) - began == pytest.approx(1 + 2 + 4, abs=0.05)
        assert answer["x-octollm-attempts"] == "4"
        assert answer["x-should-retry"] == "false"


async def test_an_upstreams_wait_is_waited_and_read_anew_each_time():
    async with both(STEADY) as (proxy, upstream):
        upstream.script(status(503, retry_after=10), status(503, retry_after="0.1"), ok())
        began = clock(proxy)

        await call(proxy.addresses[""], "/up/x")

        assert 12 <= clock(proxy) - began <= 14.1


def in_a_minute() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)


ASKS = [
    ({"retry-after": "20"}, 20),
    ({"retry-after": "0.4"}, 1),
    ({"retry-after-ms": "1500"}, 2),
    ({"x-ms-retry-after-ms": "1500"}, 2),
    ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m5s"}, 65),
]


@pytest.mark.parametrize(("headers", "told"), ASKS)
async def test_the_caller_is_told_the_wait_in_whole_seconds(headers, told):
    async with both("retry: {max_retries: 0}") as (proxy, upstream):
        upstream.always(status(429, headers=headers))

        answer = await call(proxy.addresses[""], "/up/x")

    assert (answer.code, answer.json()["retry_after"]) == ("RATE_LIMIT_EXCEEDED", told)
    assert answer["retry-after"] == str(told)


async def test_a_wait_until_a_date_is_told_as_seconds():
    async with both("retry: {max_retries: 0}") as (proxy, upstream):
        upstream.always(status(503, retry_after=in_a_minute()))

        answer = await call(proxy.addresses[""], "/up/x")

    assert 55 <= answer.json()["retry_after"] <= 60


@pytest.mark.parametrize(("retries", "told"), [(0, []), (1, [2])])
async def test_retries_that_nobody_wanted_are_not_told_to_be_exhausted(retries, told):
    stream = io.BytesIO()
    logs.configure("info", "json", stream)
    try:
        async with both(f"retry: {{max_retries: {retries}}}") as (proxy, upstream):
            upstream.always(status(503))
            await call(proxy.addresses[""], "/up/x")
    finally:
        logs.close()

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["attempts"] for line in lines if line["event"] == "retry.exhausted"] == told


async def test_a_wait_that_is_too_long_is_handed_to_the_caller_who_may_have_the_patience():
    async with both(STEADY) as (proxy, upstream):
        upstream.always(status(429, retry_after=61))

        answer = await call(proxy.addresses[""], "/up/x")

    assert (answer.status, answer["retry-after"], upstream.requests) == (429, "61", 1)
    assert answer.get("x-should-retry") is None


async def test_an_upstream_that_says_no_is_not_asked_again():
    async with both(STEADY) as (proxy, upstream):
        upstream.always(status(503, x_should_retry="false"))

        answer = await call(proxy.addresses[""], "/up/x")

    assert (answer.status, upstream.requests) == (503, 1)


async def test_an_upstream_that_says_yes_is_asked_again():
    async with both(STEADY) as (proxy, upstream):
        upstream.script(status(409, x_should_retry="true"), ok())

        assert (await call(proxy.addresses[""], "/up/x")).status == 200


UNSAFE = [
    ("kind: http", "/up/x", {}, status(503), 1),
    ("kind: http", "/up/x", {"Idempotency-Key": "1"}, status(503), 4),
    ("kind: http, retry: {unsafe_methods: always}", "/up/x", {}, status(503), 4),
    (
        "kind: http, retry: {unsafe_methods: never}",
        "/up/x",
        {"Idempotency-Key": "1"},
        status(503),
        1,
    ),
    ("kind: vectordb, provider: qdrant", "/up/collections/c/points/search", {}, status(503), 4),
    ("kind: vectordb, provider: qdrant", "/up/collections/c/points/delete", {}, status(503), 1),
    ("kind: llm", "/up/v1/chat/completions", {}, status(503), 4),
    ("kind: http", "/up/x", {}, script.reset(), 1),
]


@pytest.mark.parametrize(("settings", "target", "headers", "answers", "attempts"), UNSAFE)
async def test_a_post_is_repeated_only_where_that_does_no_harm(settings, target, headers, answers, attempts):  # fmt: skip
    async with both(settings) as (proxy, upstream):
        upstream.always(answers)

        await call(proxy.addresses[""], target, "POST", b"{}", headers)

        assert upstream.requests == attempts
        suppressed = await metric(proxy, "octollm_proxy_retry_suppressed_total", reason="method")
        assert suppressed == (attempts == 1)


async def test_what_was_never_sent_is_repeated_whatever_the_method():
    async with Upstream() as upstream, proxied(up=upstream.url) as proxy:
        await upstream.stop()
        calling = asyncio.create_task(call(proxy.addresses[""], "/up/x", "POST", b"{}"))
        while not await metric(proxy, "octollm_proxy_retries_total", reason="connect"):
            pass
        await upstream.start()

        assert (await calling).status == 200


async def test_a_body_beyond_the_replay_limit_gets_one_attempt():
    async with both("kind: llm, replay_limit: 1KiB") as (proxy, upstream):
        upstream.always(status(503))

        await call(proxy.addresses[""], "/up/x", "POST", bytes(1024))
        await call(proxy.addresses[""], "/up/x", "POST", bytes(1025))

        assert [len(seen.body) for seen in upstream.seen] == [1024] * 4 + [1025]
        assert await metric(proxy, "octollm_proxy_retry_suppressed_total", reason="body") == 1
        assert proxy.gateway.runtime.memory.used == 0


async def test_retries_end_with_the_budget():
    settings = "retry: {base_delay: 1ms, budget: {ratio: 0, min_per_second: 0.5}}, breaker: {mode: disabled}"
    async with both(settings) as (proxy, upstream):
        upstream.always(status(503))

        for _ in range(4):
            await call(proxy.addresses[""], "/up/x")

        assert upstream.requests == 4 + 5
        assert await metric(proxy, "octollm_proxy_retry_suppressed_total", reason="budget") == 3


async def test_a_route_has_policies_of_its_own():
    settings = "breaker: {mode: disabled}, routes: [{match: {path: /v1/embeddings, methods: [POST]}, retry: {max_retries: 1, unsafe_methods: always}}]"
    async with both(settings) as (proxy, upstream):
        upstream.always(status(503))
        for method, path in (("POST", "/v1/embeddings"), ("POST", "/v1/embeddings/x"), ("POST", "/v1/embeddingsx"), ("GET", "/v1/embeddings")):  # fmt: skip
            await call(
                proxy.addresses[""], f"/up{path}", method, b"{}" if method == "POST" else None
            )

        assert upstream.requests == 2 + 2 + 1 + 4


# 4xx as they are


async def test_client_errors_pass_untouched_where_rewriting_is_off():
    async with both(f"rewrite_client_errors: false, {STEADY}") as (proxy, upstream):
        upstream.script(
            status(404, {"detail": "theirs"}, etag="kept"), *[status(429, {"detail": "wait"})] * 4
        )

        missing = await call(proxy.addresses[""], "/up/x")
        limited = await call(proxy.addresses[""], "/up/x")

    assert (missing.status, missing.json(), missing["etag"]) == (404, {"detail": "theirs"}, "kept")
    assert missing["x-should-retry"] == "false"
    assert (limited.status, limited.json(), limited["x-octollm-attempts"]) == (
        429,
        {"detail": "wait"},
        "4",
    )


async def test_a_large_client_error_passes_whole_where_rewriting_is_off():
    async with both("rewrite_client_errors: [400], kind: llm") as (proxy, upstream):
        upstream.always(
            script.head(429, chunked=True) + script.chunk(b"x" * 200_000) + script.last_chunk()
        )

        answer = await call(proxy.addresses[""], "/up/x")

    assert (answer.status, len(answer.body), answer.whole) == (429, 200_000, True)


# Deadlines of the caller


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"X-OctoLLM-Timeout": "2s"}, 2), ({"x-stainless-read-timeout": "5"}, 4)],
)
async def test_a_callers_shorter_deadline_is_kept_and_blames_nobody(headers, seconds):
    async with both("kind: llm") as (proxy, upstream):
        upstream.always(hang())
        began = clock(proxy)

        answer = await call(proxy.addresses[""], "/up/x", "POST", b"{}", headers)

        assert (answer.status, clock(proxy) - began) == (504, pytest.approx(seconds, abs=0.01))
        assert upstream.seen[0].header("x-octollm-timeout") is None
        assert await metric(proxy, "octollm_proxy_attempts_total", outcome="deadline") == 1
        assert await metric(proxy, "octollm_proxy_breaker_failure_ratio", upstream="up") == 0


async def test_a_deadline_that_is_no_duration_is_the_callers_fault():
    async with both() as (proxy, upstream):
        answer = await call(proxy.addresses[""], "/up/x", headers={"X-OctoLLM-Timeout": "soon"})

    assert (answer.status, answer.code, upstream.requests) == (400, "VALIDATION_ERROR", 0)


# Breaker


async def test_a_breaker_opens_tells_the_time_left_probes_and_closes():
    async with both(QUICK_TRIP) as (proxy, upstream):
        await trip(proxy, upstream)
        await asyncio.sleep(10)

        rejected = await call(proxy.addresses[""], "/up/x")

        assert (rejected.status, rejected.code, rejected["retry-after"]) == (
            503,
            "CIRCUIT_OPEN",
            "20",
        )
        assert rejected["x-should-retry"] == "false"
        assert rejected["x-octollm-attempts"] == "0"
        assert upstream.requests == 3
        assert await metric(proxy, "octollm_proxy_breaker_state", state="open") == 1
        assert await metric(proxy, "octollm_proxy_breaker_rejections_total", upstream="up") == 1

        await asyncio.sleep(20)
        assert await metric(proxy, "octollm_proxy_breaker_state", state="half_open") == 1
        assert (await call(proxy.addresses[""], "/up/ok")).status == 200
        assert await metric(proxy, "octollm_proxy_breaker_state", state="closed") == 1


async def test_of_200_callers_at_half_open_one_reaches_the_upstream():
    async with both(QUICK_TRIP) as (proxy, upstream):
        await trip(proxy, upstream)
        await asyncio.sleep(30)
        upstream.always(script.wait(1) + ok())

        answers = await asyncio.gather(*(call(proxy.addresses[""], "/up/x") for _ in range(200)))

    assert sorted({answer.status for answer in answers}) == [200, 503]
    assert [answer.status for answer in answers].count(200) == 1
    assert upstream.requests == 4


async def test_50_callers_who_hang_up_do_not_move_the_breaker():
    async with both(f"{QUICK_TRIP}, kind: llm") as (proxy, upstream):
        upstream.always(hang())
        for asked in range(50):
            _, writer = await connect(proxy.addresses[""])
            writer.write(request(proxy.addresses[""], "/up/x", "POST", b"{}"))
            seen = await upstream.asked(asked + 1)
            writer.close()
            assert await seen.hung_up()

        assert await metric(proxy, "octollm_proxy_breaker_state", state="closed") == 1
        assert await metric(proxy, "octollm_proxy_client_disconnects_total", phase="waiting") == 50
        assert await metric(proxy, "octollm_proxy_requests_total", status="499") == 50
        assert await metric(proxy, "octollm_proxy_attempts_total", outcome="cancelled") == 50
        assert await metric(proxy, "octollm_proxy_in_flight", upstream="up") == 0


async def test_a_hundred_answers_of_429_leave_the_breaker_closed():
    async with both(QUICK_TRIP) as (proxy, upstream):
        upstream.always(status(429))
        for _ in range(100):
            await call(proxy.addresses[""], "/up/x")

        assert await metric(proxy, "octollm_proxy_breaker_state", state="closed") == 1
    assert upstream.requests == 100


async def test_a_result_from_before_the_trip_moves_nothing():
    async with both(QUICK_TRIP) as (proxy, upstream):
        upstream.script(script.wait(5) + status(500), script.wait(35) + status(500))
        late = [asyncio.create_task(call(proxy.addresses[""], "/up/x")) for _ in range(2)]
        await upstream.asked(2)
        await trip(proxy, upstream)
        breaker = proxy.gateway.runtime.upstreams["up"].breaker
        until = breaker.open_until

        await late[0]
        assert breaker.open_until == until
        await asyncio.sleep(26)
        assert (await call(proxy.addresses[""], "/up/ok")).status == 200
        await late[1]

        assert (breaker.state, breaker.stale) == ("closed", 2)


async def test_a_circuit_that_opens_during_a_calls_own_retries_shows_the_real_failure():
    settings = (
        "breaker: {failure_threshold: 2, timeout: 30s}, retry: {base_delay: 1s, jitter: false}"
    )
    async with both(settings) as (proxy, upstream):
        upstream.always(status(500, {"error": {"message": "the disk is full"}}))

        answer = await call(proxy.addresses[""], "/up/x")

        assert (answer.status, answer.code) == (502, "THIRD_PARTY_API_ERROR")
        assert answer.json()["details"]["error_message"] == "the disk is full"
        assert (answer["retry-after"], answer["x-octollm-attempts"]) == ("30", "2")
        assert await metric(proxy, "octollm_proxy_retry_suppressed_total", reason="breaker") == 1


async def test_a_circuit_that_others_open_during_a_wait_shows_the_real_failure_too():
    settings = (
        "breaker: {failure_threshold: 4, timeout: 30s}, retry: {base_delay: 5s, jitter: false}"
    )
    async with both(settings) as (proxy, upstream):
        upstream.script(script.reset(), *[status(500, {"error": "x"}, x_should_retry="false")] * 3)
        waiting = asyncio.create_task(call(proxy.addresses[""], "/up/x"))
        await upstream.asked()
        for _ in range(3):
            await call(proxy.addresses[""], "/up/x")

        answer = await waiting

    assert (answer.code, answer["x-octollm-attempts"]) == ("NETWORK_ERROR", "1")
    assert 20 <= int(answer["retry-after"]) <= 30


async def test_an_observed_breaker_counts_and_rejects_nothing():
    settings = (
        "retry: {max_retries: 0}, breaker: {failure_threshold: 3, timeout: 30s, mode: observe}"
    )
    async with both(settings) as (proxy, upstream):
        await trip(proxy, upstream)

        answers = [await call(proxy.addresses[""], "/up/ok") for _ in range(5)]

        assert {answer.status for answer in answers} == {200}
        assert await metric(proxy, "octollm_proxy_breaker_state", state="open") == 1
        assert await metric(proxy, "octollm_proxy_breaker_rejections_total", upstream="up") == 5


async def test_4xx_answers_show_that_the_upstream_is_alive():
    async with both(QUICK_TRIP) as (proxy, upstream):
        upstream.always(status(400))
        for _ in range(50):
            await call(proxy.addresses[""], "/up/x")

        assert await metric(proxy, "octollm_proxy_breaker_state", state="closed") == 1
        assert await metric(proxy, "octollm_proxy_breaker_failure_ratio", upstream="up") == 0


async def test_a_slow_upload_that_meets_the_deadline_blames_nobody():
    async with both("timeouts: {total: 3s}") as (proxy, upstream):
        reader, writer = await connect(proxy.addresses[""])
        writer.write(
            request(proxy.addresses[""], "/up/x", "POST", b"half", {"Content-Length": "100"})
        )

        told = await asyncio.wait_for(answer(reader), 10)
        writer.close()

        assert (told.status, told.code) == (504, "TIMEOUT_ERROR")
        assert await metric(proxy, "octollm_proxy_breaker_failure_ratio", upstream="up") == 0


async def test_the_failure_that_opens_the_circuit_tells_how_long_it_stays_open():
    settings = "retry: {max_retries: 0}, breaker: {failure_threshold: 1, timeout: 30s}"
    async with both(settings) as (proxy, upstream):
        upstream.always(status(500))

        told = await call(proxy.addresses[""], "/up/x")

    assert (told.status, told["retry-after"]) == (502, "30")


async def test_an_upstream_that_says_yes_is_asked_again_where_its_errors_pass_as_they_are():
    async with both(f"rewrite_client_errors: false, {STEADY}") as (proxy, upstream):
        upstream.script(status(409, x_should_retry="true"), ok())

        assert (await call(proxy.addresses[""], "/up/x")).status == 200
