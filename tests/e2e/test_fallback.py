"""When a call moves on to a fallback, as its caller meets it, in virtual time."""

import asyncio
import io
import json

import pytest
from e2e.pair import CHAT, NO_RETRY, ONE_STRIKE, ask, moved, now, pair
from e2e.support import call, connect, metric, proxied, request

from proxy.observe import logs
from proxy.testing import script, sse
from proxy.testing.providers import anthropic_error
from proxy.testing.script import event_stream, hang, head, ok, reset, status, wait
from proxy.testing.upstream import Upstream


def errors_of(code, text="no"):
    return status(400, {"error": {"message": text, "type": "invalid_request_error", "code": code}})


@pytest.fixture
def log():
    stream = io.BytesIO()
    logs.configure("debug", "json", stream)

    def lines():
        logs.close()
        return [json.loads(line) for line in stream.getvalue().splitlines()]

    yield lines
    logs.close()


# --- an outage


async def test_an_outage_of_the_first_is_nobodys_but_the_proxys():
    breaker = "breaker: {failure_threshold: 5, timeout: 5s, max_timeout: 5s}, retry: {max_retries: 1, base_delay: 100ms}"
    async with pair(breaker) as (proxy, first, second):
        first.always(status(503))
        answers = []

        async def one(number):
            await asyncio.sleep(number / 50)
            answers.append(await ask(proxy))

        began = now()
        await asyncio.gather(*map(one, range(1000)))

        assert {(told.status, told.body) for told in answers} == {(200, b"second")}
        assert len(answers) == 1000
        opened = await metric(proxy, "octollm_proxy_breaker_transitions_total", to_state="open")
        early = [seen for seen in first.seen if seen.at < began + 1]
        # Until the circuit opens a few calls meet the outage; from then on one probe in 5 s.
        assert len(first.seen) - len(early) == opened - 1 == 3
        assert len(early) < 20

        first.always(ok("first"))
        await asyncio.sleep(5)
        back = [await ask(proxy) for _ in range(10)]

        assert {(told.status, told.body) for told in back} == {(200, b"first")}
        assert {told["x-octollm-upstream"] for told in back} == {"first"}


async def test_an_answer_says_who_gave_it_and_passes_unchanged():
    async with pair() as (proxy, first, second):
        first.always(status(500))
        second.always(ok({"id": 1}, x_request_id="req_2", x_theirs="kept"))

        told = await ask(proxy)

        assert (told.status, told.json(), told["x-theirs"]) == (200, {"id": 1}, "kept")
        assert told["x-octollm-upstream"] == "second"
        assert told["x-octollm-attempts"] == "2"
        assert told["x-request-id"] == "req_2"


async def test_where_both_fail_the_first_ones_failure_is_told_and_both_are_named():
    async with pair(second=NO_RETRY) as (proxy, first, second):
        first.always(status(500, {"error": {"message": "the first broke"}}, x_of="first"))
        second.always(reset())

        told = await ask(proxy)

    assert (told.status, told.code) == (502, "LLM_API_ERROR")
    assert (told["x-octollm-upstream"], told["x-octollm-attempts"]) == ("first", "2")
    assert (told["x-of"], told["x-should-retry"]) == ("first", "false")
    details = told.json()["details"]
    assert details["error_message"] == "the first broke"
    assert (details["upstream"], details["attempts"]) == ("first", 2)
    assert details["tried"] == [
        {"upstream": "first", "code": "LLM_API_ERROR"},
        {"upstream": "second", "code": "NETWORK_ERROR"},
    ]


async def test_three_are_asked_in_order_and_each_once():
    text = """
version: 1
listen: {port: 0}
admin: {port: 0}
defaults: {retry: {max_retries: 0}}
upstreams:
  a: {url: "${A}", fallback: [{upstream: b}, {upstream: c}]}
  b: {url: "${B}", fallback: [{upstream: a}]}
  c: {url: "${C}"}
"""
    async with Upstream() as a, Upstream() as b, Upstream() as c:
        async with proxied(text, a=a.url, b=b.url, c=c.url) as proxy:
            a.always(status(503))
            b.always(status(429))
            c.script(ok("c"), status(404))

            good = await call(proxy.addresses[""], "/a/x")
            bad = await call(proxy.addresses[""], "/a/x")

            assert (good.body, good["x-octollm-attempts"]) == (b"c", "3")
            assert bad.code == "THIRD_PARTY_API_ERROR"
            assert [each["code"] for each in bad.json()["details"]["tried"]] == [
                "THIRD_PARTY_API_ERROR",
                "RATE_LIMIT_EXCEEDED",
                "THIRD_PARTY_API_ERROR",
            ]
            assert [a.requests, b.requests, c.requests] == [2, 2, 2]
            assert await moved(proxy, upstream="a", target="c", reason="status_429") == 2
            assert await moved(proxy, upstream="b") == 0


# --- when a call moves on


AT_ONCE = [
    ("the own retries are spent", "retry: {max_retries: 2, base_delay: 100ms}", status(500), 3, "status_5xx"),
    ("the wait asked for is too long", "", status(503, retry_after=30), 1, "status_5xx"),
    ("the key has had enough", "", status(429, retry_after=30), 1, "status_429"),
    ("no head came in time", "timeouts: {first_byte: 2s}", hang(), 1, "timeout"),
    ("no head came, though timeouts are retried", "timeouts: {first_byte: 2s}, retry: {retry_on: [timeout]}", hang(), 1, "timeout"),
    ("our own key is refused", "auth: {header: Authorization, value: x}", status(401), 1, "status_4xx"),
    ("what came is not HTTP", "", script.garbage(), 1, "protocol"),
    ("it says it was too slow", "retry: {max_retries: 0}", status(408), 1, "status_4xx"),
    ("it will not be asked again", "", status(500, x_should_retry="false"), 1, "status_5xx"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "does", "attempts", "reason"),
    [case[1:] for case in AT_ONCE],
    ids=[case[0] for case in AT_ONCE],
)
async def test_a_call_moves_on_where(settings, does, attempts, reason):
    async with pair(settings or "retry: {base_delay: 1s}") as (proxy, first, second):
        first.always(does)
        began = now()

        told = await ask(proxy)

        assert (told.status, told.body, first.requests) == (200, b"second", attempts)
        assert now() - began < 3.1
        assert await moved(proxy, upstream="first", target="second", reason=reason) == 1


async def test_a_call_moves_on_from_who_refuses_connections_within_fallback_wait():
    async with pair("retry: {base_delay: 1s, jitter: false}") as (proxy, first, second):
        await first.stop()
        began = now()

        told = await ask(proxy)

        assert (told.status, told.body) == (200, b"second")
        assert now() - began == pytest.approx(1 + 2, abs=0.05)
        assert await moved(proxy, reason="connect") == 1


async def test_a_short_wait_is_waited_out_and_the_next_is_not():
    async with pair("retry: {base_delay: 1ms, fallback_wait: 5s}") as (proxy, first, second):
        first.script(*[status(503, retry_after=2)] * 3)
        began = now()

        told = await ask(proxy)

        assert (told.body, first.requests) == (b"second", 3)
        assert 4 <= now() - began <= 5


async def test_an_open_circuit_is_passed_by_and_the_caller_sees_nothing_of_it():
    async with pair(f"{NO_RETRY}, {ONE_STRIKE}") as (proxy, first, second):
        first.always(status(500))
        await ask(proxy)

        told = await ask(proxy)

        assert (told.body, told["x-octollm-attempts"], first.requests) == (b"second", "1", 1)
        assert told["x-octollm-upstream"] == "second"
        assert await moved(proxy, reason="breaker") == 1
        assert await metric(proxy, "octollm_proxy_requests_total", upstream="second") == 0


async def test_a_shut_gate_moves_everybody_else_with_that_key_on():
    async with pair("") as (proxy, first, second):
        first.script(status(429, retry_after=30))

        mine = [await ask(proxy, authorization="mine") for _ in range(3)]
        others = await ask(proxy, authorization="other")

        assert [told.body for told in mine] == [b"second"] * 3
        assert (others.body, first.requests) == (b"first", 2)
        assert await moved(proxy, reason="throttled") == 2


async def test_a_gate_that_opens_soon_is_waited_for():
    async with pair("") as (proxy, first, second):
        first.script(status(429, retry_after=2))
        told_to_wait = asyncio.create_task(ask(proxy))
        await first.asked()
        await asyncio.sleep(0.1)

        answers = [await ask(proxy), await told_to_wait]

        assert [told.body for told in answers] == [b"first", b"first"]
        assert first.seen[1].at - first.seen[0].at >= 2
        assert second.connections == 0


async def test_a_full_upstream_moves_a_call_on_and_is_not_blamed():
    settings = f"{NO_RETRY}, limits: {{connections: 1, pending: 0}}"
    async with pair(settings) as (proxy, first, second):
        first.always(wait(10) + ok("first"))
        slow = asyncio.create_task(ask(proxy))
        await first.asked()

        told = await ask(proxy)

        assert (told.body, told["x-octollm-attempts"]) == (b"second", "1")
        assert (await slow).body == b"first"
        assert await moved(proxy, reason="capacity") == 1


async def test_where_nobody_else_can_take_it_now_the_first_is_waited_for():
    async with pair("retry: {base_delay: 1s}", second=f"{NO_RETRY}, {ONE_STRIKE}") as (
        proxy,
        first,
        second,
    ):
        second.always(status(500))
        await ask(proxy, "/second/x")
        first.script(status(503, retry_after=10), ok("first"))
        began = now()

        told = await ask(proxy)

        assert (told.body, second.requests) == (b"first", 1)
        assert now() - began >= 10


async def test_where_the_other_has_been_told_to_wait_too_the_first_is_waited_for():
    async with pair("retry: {base_delay: 1s}") as (proxy, first, second):
        second.script(status(429, retry_after=50))
        await ask(proxy, "/second/x", x_octollm_timeout="1s")
        first.script(status(503, retry_after=10), ok("first"))

        told = await ask(proxy)

        assert (told.body, second.requests) == (b"first", 1)


@pytest.mark.parametrize("body", [b"no JSON", None])
async def test_where_the_other_cannot_take_such_a_body_the_first_is_waited_for(body):
    async with pair("retry: {base_delay: 1s}", "set: {model: small}") as (proxy, first, second):
        first.script(status(503, retry_after=10), ok("first"))

        told = await call(proxy.addresses[""], "/first/x", "GET" if body is None else "PUT", body)

        assert (told.body, second.connections) == (b"first", 0)


async def test_one_upstream_can_stand_in_twice_changed_and_unchanged():
    async with pair(entry="set: {model: small}}, {upstream: second") as (proxy, first, second):
        first.always(status(500))

        assert (await ask(proxy, body=b"no JSON")).body == b"second"
        assert (await ask(proxy, body=b"{}")).body == b"second"
        assert [bytes(seen.body) for seen in second.seen] == [b"no JSON", b'{"model":"small"}']


async def test_a_websocket_is_opened_at_the_second_where_the_first_is_down():
    asked = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
    accepted = {
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
    }
    async with pair() as (proxy, first, second):
        first.always(status(503))
        second.always(head(101, accepted) + script.send(b"hello") + script.close())
        reader, writer = await connect(proxy.addresses[""])
        writer.write(request(proxy.addresses[""], "/first/ws", headers=asked))

        told = await reader.read()
        writer.close()

    assert told.startswith(b"HTTP/1.1 101 ")
    assert told.endswith(b"\r\n\r\nhello")
    assert b"X-OctoLLM-Upstream: second" in told


async def test_nobody_stands_in_line_for_a_place_at_an_open_circuit():
    limits = "limits: {concurrency: 1, queue: {timeout: 30s}}"
    async with pair(f"{NO_RETRY}, {limits}") as (proxy, first, second):
        first.always(wait(100) + ok("first"))
        slow = asyncio.create_task(ask(proxy))
        await first.asked()
        proxy.gateway.runtime.upstreams["first"].breaker.force_open(60)
        began = now()

        told = await ask(proxy)

        assert told.body == b"second"
        assert now() - began < 1
        assert (await slow).body == b"first"


async def test_a_circuit_that_is_held_open_without_end_is_passed_by(log):
    async with pair() as (proxy, first, second):
        proxy.gateway.runtime.upstreams["first"].breaker.force_open()

        assert (await ask(proxy)).body == b"second"

    (opened,) = [line for line in log() if line["event"] == "breaker.opened"]
    assert (opened["reason"], opened.get("open_ms"), first.connections) == ("forced", None, 0)


# --- when it does not


CALLERS = [400, 401, 403, 404, 409, 413, 422]


@pytest.mark.parametrize("code", CALLERS)
@pytest.mark.parametrize("rewrite", ["true", "false"])
async def test_a_callers_fault_is_answered_and_not_carried_on(code, rewrite):
    async with pair(f"rewrite_client_errors: {rewrite}, {NO_RETRY}") as (proxy, first, second):
        first.always(status(code))

        told = await ask(proxy)

    assert (told.status, told["x-octollm-upstream"], second.requests) == (code, "first", 0)
    assert "tried" not in told.json().get("details", {})


async def test_a_failure_without_anybody_else_able_is_told_as_ever():
    async with pair("", entry="set: {model: small}") as (proxy, first, second):
        first.always(status(503, retry_after=30))

        told = await ask(proxy, body=b"not JSON")

    assert (told.code, told["retry-after"], second.requests) == ("LLM_API_ERROR", "30", 0)
    assert "tried" not in told.json()["details"]


WHEN = "when: ['400:context_length_exceeded', 404]"
SAID = [
    (errors_of("context_length_exceeded"), b"second"),
    (errors_of("something_else"), None),
    (errors_of(None), None),
    (status(404), b"second"),
    (status(400, b"not JSON"), None),
    (status(422, {"error": {"code": "context_length_exceeded"}}), None),
]


@pytest.mark.parametrize(("said", "answered"), SAID)
@pytest.mark.parametrize("rewrite", ["true", "false", "[400, 404]"])
async def test_callers_faults_that_are_named_move_on(said, answered, rewrite):
    async with pair(f"rewrite_client_errors: {rewrite}, {NO_RETRY}", WHEN) as (
        proxy,
        first,
        second,
    ):
        first.always(said)

        told = await ask(proxy)

    assert (second.requests, told.status == 200) == (int(answered is not None),) * 2
    if answered is None and rewrite == "false":
        assert told.body == said.steps[-1].data


async def test_anthropics_faults_are_named_by_their_type():
    entry = "when: ['400:invalid_request_error']"
    async with pair(NO_RETRY, entry, kind="llm, provider: anthropic") as (proxy, first, second):
        first.script(anthropic_error(400, "too long"), anthropic_error(413, "too long"))

        moved_on = await ask(proxy, "/first/v1/messages")
        stayed = await ask(proxy, "/first/v1/messages")

    assert (moved_on.body, stayed.status, second.requests) == (b"second", 413, 1)


async def test_a_named_fault_is_told_in_the_providers_own_words_where_nobody_else_answers():
    settings = f"rewrite_client_errors: false, {NO_RETRY}"
    async with pair(settings, WHEN, NO_RETRY) as (proxy, first, second):
        first.always(errors_of("context_length_exceeded", "its own words"))
        second.always(status(500))

        told = await ask(proxy)

    assert (told.status, told["x-octollm-upstream"], second.requests) == (400, "first", 1)
    assert told.json()["error"]["message"] == "its own words"


async def test_a_429_moves_on_though_callers_errors_pass_as_they_are_and_it_is_not_retried():
    settings = "rewrite_client_errors: false, retry: {retry_on: [500]}"
    async with pair(settings) as (proxy, first, second):
        first.always(status(429))

        told = await ask(proxy)

    assert (told.status, told.body) == (200, b"second")


async def test_a_named_fault_in_a_streams_first_event_moves_on_though_errors_pass_as_they_are():
    fault = sse.event({"error": {"message": "too long", "code": "context_length_exceeded", "type": "invalid_request_error", "status": 400}})  # fmt: skip
    settings = f"rewrite_client_errors: false, {NO_RETRY}"
    async with pair(settings, "when: [400]") as (proxy, first, second):
        first.always(event_stream([fault]))

        told = await ask(proxy)

    assert (told.status, told.body) == (200, b"second")


# --- one deadline, and callers who leave


async def test_the_total_deadline_is_one_for_all():
    settings = f"{NO_RETRY}, timeouts: {{first_byte: 4s, total: 10s}}"
    async with pair(settings, second="timeouts: {total: 60s}") as (proxy, first, second):
        first.always(hang())
        second.always(hang())
        began = now()

        told = await ask(proxy)

        assert now() - began == pytest.approx(10, abs=0.05)
        assert (told.status, told.json()["details"]["timeout"]) == (504, 4)
        assert [each["upstream"] for each in told.json()["details"]["tried"]] == ["first", "second"]
        # What was left over to the second was not its own full time.
        ratio = "octollm_proxy_breaker_failure_ratio"
        assert await metric(proxy, ratio, upstream="second") == 0


async def test_with_no_time_left_nobody_else_is_asked():
    async with pair("timeouts: {first_byte: none, total: 5s}") as (proxy, first, second):
        first.always(hang())

        told = await ask(proxy)

        assert (told.status, told.code, told["x-octollm-attempts"]) == (504, "TIMEOUT_ERROR", "1")
        assert "tried" not in told.json()["details"]
        assert (second.connections, await moved(proxy)) == (0, 0)


@pytest.mark.real_time("asyncio", "uvloop")
async def test_with_no_time_left_nobody_else_is_asked_on_clocks_that_are_coarse_either():
    async with pair("timeouts: {first_byte: none, total: 101ms}") as (proxy, first, second):
        first.always(hang())

        answers = await asyncio.gather(*[ask(proxy) for _ in range(20)])

        assert {told["x-octollm-attempts"] for told in answers} <= {"0", "1"}
        assert second.connections == 0


async def test_a_callers_own_shorter_time_is_for_all_of_them():
    async with pair("timeouts: {first_byte: 2s}") as (proxy, first, second):
        first.always(hang())
        second.always(hang())
        began = now()

        told = await ask(proxy, x_octollm_timeout="3s")

    assert (told.status, now() - began) == (504, pytest.approx(3, abs=0.05))


async def test_a_caller_who_leaves_while_the_second_is_asked_costs_nothing_more():
    async with pair(NO_RETRY, second="") as (proxy, first, second):
        first.always(status(500))
        second.always(hang())
        reader, writer = await connect(proxy.addresses[""])
        writer.write(request(proxy.addresses[""], CHAT, "POST", b"{}"))
        asked = await second.asked()

        writer.close()

        assert await asked.hung_up()
        await asyncio.sleep(60)
        assert (first.requests, second.requests) == (1, 1)
        assert await metric(proxy, "octollm_proxy_in_flight") == 0
        ratio = "octollm_proxy_breaker_failure_ratio"
        assert await metric(proxy, ratio, upstream="second") == 0


async def test_a_caller_who_leaves_while_the_first_is_asked_is_not_carried_on():
    async with pair() as (proxy, first, second):
        first.always(hang())
        reader, writer = await connect(proxy.addresses[""])
        writer.write(request(proxy.addresses[""], CHAT, "POST", b"{}"))
        asked = await first.asked()

        writer.close()

        assert await asked.hung_up()
        await asyncio.sleep(60)
        assert second.connections == 0


# --- what shows it


async def test_each_move_is_a_line_and_the_request_tells_who_answered(log):
    async with pair(f"{NO_RETRY}, {ONE_STRIKE}") as (proxy, first, second):
        first.always(status(500))
        await ask(proxy, x_request_id="one")
        await ask(proxy, x_request_id="two")
    lines = log()

    moves = [line for line in lines if line["event"] == "fallback.taken"]
    assert [
        (line["level"], line["request_id"], line["upstream"], line["target"], line["reason"])
        for line in moves
    ] == [
        ("info", "one", "first", "second", "status_5xx"),
        ("debug", "two", "first", "second", "breaker"),
    ]
    ends = [line for line in lines if line["event"] == "request.completed"]
    assert [(line["upstream"], line["answered_by"], line["attempts"]) for line in ends] == [
        ("first", "second", 2),
        ("first", "second", 1),
    ]


async def test_requests_are_counted_under_the_name_asked_for_and_attempts_under_who_was_tried():
    async with pair() as (proxy, first, second):
        first.always(status(500))
        await ask(proxy)

        requests, attempts = "octollm_proxy_requests_total", "octollm_proxy_attempts_total"
        assert await metric(proxy, requests, upstream="first", status="200") == 1
        assert await metric(proxy, requests, upstream="first") == 1
        assert await metric(proxy, attempts, upstream="first", outcome="status_5xx") == 1
        assert await metric(proxy, attempts, upstream="second", outcome="success") == 1


async def test_an_upstream_without_failures_knows_nothing_of_its_fallback():
    async with pair() as (proxy, first, second):
        told = await ask(proxy)

        assert (told.body, second.connections, await moved(proxy)) == (b"first", 0, 0)
