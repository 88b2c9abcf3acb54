"""Event streams through the whole proxy: an early error is an error, a cut one never looks whole."""

import asyncio
import gzip
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from e2e.support import answer, both, call, connect, metric, proxied, request

from proxy.testing import script, sse
from proxy.testing.script import chunk, event_stream, hang, head, last_chunk, reset, wait
from proxy.testing.upstream import Upstream

TEXT = "one two three"
HEADERS = {"content-type": "text/event-stream"}


def message_of(text=TEXT):
    whole = {"id": "msg_1", "type": "message", "role": "assistant", "stop_reason": "end_turn"}
    return sse.message(text, {**whole, "content": [{"type": "text", "text": text}]})


def response_of(text=TEXT):
    part = {"type": "output_text", "text": text, "annotations": []}
    output = {"id": "msg_1", "type": "message", "role": "assistant", "content": [part]}
    return sse.responses(text, {"id": "resp_1", "object": "response", "output": [output]})


@dataclass(frozen=True)
class Wire:
    """What one provider's stream is made of, and where it is asked for."""

    provider: str
    path: str
    events: list[bytes]
    overloaded: bytes
    end: bytes


CHAT = Wire(
    "openai",
    "/v1/chat/completions",
    sse.chat(TEXT),
    sse.event({"error": {"message": "Slow down", "type": "overloaded_error", "code": None}}),
    b"data: [DONE]\n\n",
)
RESPONSES = Wire(
    "openai",
    "/v1/responses",
    response_of(),
    sse.event(
        {"type": "error", "code": "overloaded_error", "message": "Slow down", "param": None},
        "error",
    ),
    response_of()[-1],
)
ANTHROPIC = Wire(
    "anthropic",
    "/v1/messages",
    message_of(),
    sse.event(
        {"type": "error", "error": {"type": "overloaded_error", "message": "Slow down"}}, "error"
    ),
    message_of()[-1],
)
WIRES = [CHAT, RESPONSES, ANTHROPIC]
each_provider = pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.path)


@asynccontextmanager
async def streaming(wire=CHAT, more=""):
    """Run the proxy for one provider, with retries that do not wait long."""
    settings = f"kind: llm, provider: {wire.provider}"
    async with both(f"{settings}, {more}" if more else settings) as (proxy, upstream):
        yield proxy, upstream


async def ask(proxy, wire=CHAT, **more):
    return await call(proxy.addresses[""], f"/up{wire.path}", "POST", b"{}", **more)


@asynccontextmanager
async def listening(proxy, wire=CHAT):
    """Ask for a stream, and give the caller's two ends of it."""
    reader, writer = await connect(proxy.addresses[""])
    try:
        writer.write(request(proxy.addresses[""], f"/up{wire.path}", "POST", b"{}"))
        yield reader, writer
    finally:
        writer.close()


def begin(*events, **headers):
    """Begin a stream; it goes on with what is added."""
    told = head(200, {**HEADERS, **headers}, chunked=True)
    for event in events:
        told += chunk(event)
    return told


def last_words(answer):
    """What the last event of an answer says went wrong, in any provider's shape."""
    *_, last = answer.body.strip().split(b"\n\n")
    *_, data = last.split(b"data: ")
    said = json.loads(data)
    return said["error"] if isinstance(said.get("error"), dict) else said


def is_ours(answer, code):
    said = last_words(answer)
    return code in (said.get("code"), said.get("type"), said.get("error"))


# --- whole streams


@each_provider
async def test_a_whole_stream_comes_byte_for_byte(wire):
    async with streaming(wire) as (proxy, upstream):
        upstream.always(event_stream(wire.events, every=1))

        answer = await ask(proxy, wire)

    assert (answer.status, answer.whole) == (200, True)
    assert answer.body == b"".join(wire.events)
    assert answer["content-type"] == "text/event-stream"
    assert answer["transfer-encoding"] == "chunked"


async def test_events_come_one_by_one_as_they_are_sent():
    async with streaming() as (proxy, upstream):
        upstream.always(event_stream(CHAT.events, every=1) + hang())
        now = asyncio.get_running_loop().time
        began, came = now(), []

        async with listening(proxy) as (reader, _):
            for _ in CHAT.events:
                await reader.readuntil(b"\n\n")
                came.append(now() - began)

    assert came == pytest.approx(range(1, len(CHAT.events) + 1), abs=0.1)


async def test_what_is_half_an_event_waits_for_its_other_half():
    first, second = CHAT.events[0], CHAT.events[1]
    async with streaming() as (proxy, upstream):
        upstream.always(begin(first, second[:9]) + wait(3) + chunk(second[9:]) + hang())

        async with listening(proxy) as (reader, _):
            await reader.readuntil(b"\r\n\r\n")
            size = int(await reader.readuntil(b"\r\n"), 16)
            assert await reader.readexactly(size + 2) == first + b"\r\n"
            size = int(await reader.readuntil(b"\r\n"), 16)
            assert await reader.readexactly(size) == second


async def test_what_is_no_json_passes_untouched_in_live():
    odd = [b"data: {not json\n\n", b": \xff\xfe\n\n", b"nonsense\n\n"]
    events = [CHAT.events[0], *odd, *CHAT.events[1:]]
    async with streaming() as (proxy, upstream):
        upstream.always(event_stream(events))

        answer = await ask(proxy)

    assert (answer.whole, answer.body) == (True, b"".join(events))


async def test_a_text_that_looks_like_the_stream_s_own_lines_is_only_text():
    text = 'data: [DONE] event: error "error": {"message": "no"}'
    events = sse.chat(text)
    async with streaming() as (proxy, upstream):
        upstream.always(event_stream(events, every=1))

        answer = await ask(proxy)

    assert (answer.whole, answer.body) == (True, b"".join(events))
    assert upstream.requests == 1


async def test_a_stream_of_an_http_1_0_kind_of_length_is_a_stream_too():
    body = b"".join(CHAT.events)
    async with streaming() as (proxy, upstream):
        upstream.always(head(200, HEADERS, length=len(body)) + script.body(body))

        answer = await ask(proxy)

    assert (answer.whole, answer.body) == (True, body)


async def test_head_and_errors_are_no_streams():
    async with streaming(more="rewrite_client_errors: false") as (proxy, upstream):
        upstream.script(head(200, HEADERS), script.status(404, b"data: no\n\n", HEADERS))

        asked = await call(proxy.addresses[""], f"/up{CHAT.path}", "HEAD")
        failed = await ask(proxy)

    assert (asked.status, asked.body) == (200, b"")
    assert (failed.status, failed.body) == (404, b"data: no\n\n")


# --- the head waits for the first event


@each_provider
async def test_an_error_in_the_first_event_is_retried_like_its_status(wire):
    async with streaming(wire) as (proxy, upstream):
        upstream.script(event_stream([wire.overloaded]), event_stream(wire.events))

        answer = await ask(proxy, wire)

        assert (answer.status, answer.whole) == (200, True)
        assert answer.body == b"".join(wire.events)
        assert answer["x-octollm-attempts"] == "2"
        assert await metric(proxy, "octollm_proxy_retries_total", reason="status_5xx") == 1
        assert await metric(proxy, "octollm_proxy_attempts_total", outcome="status_5xx") == 1


@each_provider
async def test_an_error_in_the_first_event_that_stays_is_the_envelope(wire):
    async with streaming(wire) as (proxy, upstream):
        upstream.always(event_stream([wire.overloaded]))

        answer = await ask(proxy, wire)

        assert (answer.status, answer.code) == (503, "LLM_API_ERROR")
        assert answer.json()["message"] == f"{wire.provider} API error: Slow down"
        assert answer.json()["details"]["status_code"] == 529
        assert upstream.requests == 4
        failures = await metric(proxy, "octollm_proxy_breaker_failure_ratio", upstream="up")
        assert failures == 1


async def test_a_rate_limit_in_the_first_event_names_the_wait_of_its_head():
    limited = sse.event({"error": {"message": "no", "code": "rate_limit_exceeded"}})
    async with streaming() as (proxy, upstream):
        upstream.always(event_stream([limited], retry_after=900))

        answer = await ask(proxy)

    assert (answer.status, answer.code) == (429, "RATE_LIMIT_EXCEEDED")
    assert answer["retry-after"] == "900"
    assert upstream.requests == 1


async def test_comments_do_not_let_the_head_go():
    async with streaming() as (proxy, upstream):
        waiting = begin(b": processing\n\n") + wait(5) + chunk(b": processing\n\n") + wait(5)
        upstream.script(
            waiting + chunk(CHAT.overloaded) + last_chunk(),
            waiting + chunk(b"".join(CHAT.events)) + last_chunk(),
        )

        answer = await ask(proxy)

        assert answer.body == b": processing\n\n" * 2 + b"".join(CHAT.events)
        assert upstream.requests == 2
        assert await metric(proxy, "octollm_proxy_events_total") == 1 + len(CHAT.events)


async def test_a_flood_of_comments_is_not_held_for_ever():
    comment = b": " + b"x" * 20_000 + b"\n\n"
    async with streaming() as (proxy, upstream):
        upstream.always(begin(*[comment] * 4) + hang())

        async with listening(proxy) as (reader, _):
            assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")


CUT_EARLY = {
    "no event": begin() + reset(),
    "half an event": begin(b"data: {") + script.close(),
    "a clean end": begin() + last_chunk(),
    "broken chunks": begin() + wait(1) + script.send(b"ZZ\r\nbroken\r\n"),
}


@pytest.mark.parametrize("cut", CUT_EARLY)
async def test_a_stream_that_ends_before_its_first_event_is_retried(cut):
    async with streaming() as (proxy, upstream):
        upstream.script(CUT_EARLY[cut], event_stream(CHAT.events))

        answer = await ask(proxy)

        assert (answer.status, answer.whole) == (200, True)
        assert await metric(proxy, "octollm_proxy_retries_total", reason="reset") == 1


async def test_first_event_is_waited_for_no_longer_than_its_limit_comments_or_not():
    async with streaming(more="timeouts: {first_event: 10s}") as (proxy, upstream):
        drip = begin()
        for _ in range(20):
            drip += chunk(b": still here\n\n") + wait(3)
        upstream.always(drip + hang())
        now = asyncio.get_running_loop().time
        began = now()

        answer = await ask(proxy)

        assert now() - began == pytest.approx(10, abs=0.1)
        assert (answer.status, answer.code) == (504, "TIMEOUT_ERROR")
        assert answer.json()["message"] == "waiting for the first event timed out after 10s"
        assert await metric(proxy, "octollm_proxy_attempts_total", outcome="timeout") == 1


async def test_without_a_limit_of_its_own_the_first_event_is_waited_for_like_any_other():
    async with streaming(more="timeouts: {first_event: none, idle: 7s}") as (proxy, upstream):
        upstream.script(begin() + wait(5) + chunk(b"".join(CHAT.events)) + last_chunk())

        assert (await ask(proxy)).whole


async def test_a_caller_in_a_hurry_is_answered_while_the_head_is_held():
    async with streaming() as (proxy, upstream):
        upstream.always(begin() + hang())

        answer = await ask(proxy, headers={"X-OctoLLM-Timeout": "3s"})

        assert (answer.status, answer.code) == (504, "TIMEOUT_ERROR")
        assert await metric(proxy, "octollm_proxy_breaker_failure_ratio", upstream="up") == 0


async def test_total_says_nothing_of_a_stream():
    async with streaming(more="timeouts: {total: 2s}") as (proxy, upstream):
        upstream.always(event_stream(CHAT.events, every=3))

        answer = await ask(proxy)

    assert answer.whole


async def test_without_hold_head_the_head_goes_at_once_and_the_error_as_it_came():
    async with streaming(more="stream: {hold_head: false}") as (proxy, upstream):
        upstream.always(begin() + wait(5) + chunk(CHAT.overloaded) + last_chunk())
        now = asyncio.get_running_loop().time
        began = now()

        async with listening(proxy) as (reader, _):
            await reader.readuntil(b"\r\n\r\n")
            assert now() - began < 1
            rest = await reader.read()

        assert CHAT.overloaded in rest
        assert b"LLM_API_ERROR" not in rest
        assert upstream.requests == 1
        assert await metric(proxy, "octollm_proxy_attempts_total", outcome="status_5xx") == 1


@pytest.mark.parametrize("status", [400, 429])
async def test_an_error_event_passes_where_its_status_would(status):
    fault = sse.event({"error": {"message": "no", "code": status}})
    async with streaming(more="rewrite_client_errors: false") as (proxy, upstream):
        upstream.always(event_stream([fault]))

        answer = await ask(proxy)

    assert (answer.status, answer.body) == (200, fault)
    assert upstream.requests == (4 if status == 429 else 1)


# --- what ends a stream


@each_provider
async def test_the_end_mark_ends_the_caller_s_stream_at_once(wire):
    async with streaming(wire) as (proxy, upstream):
        upstream.always(begin(*wire.events) + hang())
        now = asyncio.get_running_loop().time
        began = now()

        answer = await ask(proxy, wire)

        assert now() - began < 0.1
        assert (answer.whole, answer.body) == (True, b"".join(wire.events))
        assert await metric(proxy, "octollm_proxy_stream_aborts_total") == 0


@each_provider
async def test_a_connection_is_used_again_after_a_stream(wire):
    late = begin(*wire.events) + wait(0.1) + chunk(b": bye\n\n") + wait(0.1) + last_chunk()
    async with streaming(wire) as (proxy, upstream):
        upstream.script(event_stream(wire.events, every=0.1), late, event_stream(wire.events))
        for _ in range(3):
            assert (await ask(proxy, wire)).whole
            await upstream.seen[-1].over.wait()

    assert upstream.connections == 1


FINISHED = {
    "chat": (CHAT, CHAT.events[:-1]),
    "chat with usage": (CHAT, sse.chat(TEXT, usage=True)[:-1]),
    "messages": (ANTHROPIC, ANTHROPIC.events[:-1]),
    "responses by type": (
        RESPONSES,
        [*RESPONSES.events[:-1], RESPONSES.end.partition(b"\n")[2]],
    ),
    "an end mark without its blank line": (CHAT, [*CHAT.events[:-2], b"data: [DONE]"]),
}


@pytest.mark.parametrize("name", FINISHED)
async def test_a_clean_end_after_the_finish_is_whole(name):
    wire, events = FINISHED[name]
    async with streaming(wire) as (proxy, upstream):
        upstream.always(event_stream(events))

        answer = await ask(proxy, wire)

    assert (answer.whole, answer.body) == (True, b"".join(events))


@each_provider
async def test_a_clean_end_without_any_finish_is_a_cut(wire):
    async with streaming(wire) as (proxy, upstream):
        upstream.always(event_stream(wire.events[:3], every=1))

        answer = await ask(proxy, wire)

        assert not answer.whole
        assert answer.body.startswith(b"".join(wire.events[:3]))
        assert is_ours(answer, "NETWORK_ERROR")
        assert await metric(proxy, "octollm_proxy_attempts_total", outcome="cut") == 1


async def test_a_stream_of_nobody_in_particular_ends_when_its_body_does():
    async with both() as (proxy, upstream):
        upstream.always(event_stream([b"data: 1\n\n", b"data: 2\n\n", b"data: half"]))

        answer = await call(proxy.addresses[""], "/up/events")

    assert (answer.whole, answer.body) == (True, b"data: 1\n\ndata: 2\n\ndata: half")


async def test_openai_s_other_streams_end_when_their_body_does():
    events = [b'event: image_generation.completed\ndata: {"b64_json": ""}\n\n']
    wire = Wire("openai", "/v1/images/generations", events, b"", b"")
    async with streaming(wire) as (proxy, upstream):
        upstream.always(event_stream(events))

        answer = await ask(proxy, wire)

    assert (answer.whole, answer.body) == (True, b"".join(events))


async def test_an_empty_stream_of_nobody_in_particular_is_one():
    async with both() as (proxy, upstream):
        upstream.always(event_stream([]))

        answer = await call(proxy.addresses[""], "/up/events")

    assert (answer.status, answer.whole, answer.body) == (200, True, b"")


# --- what fails after the head

SOME = {wire.path: begin(*wire.events[:3]) for wire in WIRES}

FAULTS = {
    "cut mid-event": (chunk(b'data: {"id":') + reset(), "NETWORK_ERROR", "cut"),
    "cut between events": (wait(1) + script.close(), "NETWORK_ERROR", "cut"),
    "stalled": (hang(), "TIMEOUT_ERROR", "timeout"),
    "malformed chunks": (wait(1) + script.send(b"ZZ\r\n!\r\n"), "NETWORK_ERROR", "cut"),
    "stream_total": (
        event_stream([b": more\n\n"] * 100, every=10).beyond(0),
        "TIMEOUT_ERROR",
        "deadline",
    ),
}


@each_provider
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_after_the_head_is_the_last_event_and_no_good_end(wire, fault):
    steps, code, outcome = FAULTS[fault]
    async with streaming(wire, "timeouts: {idle: 30s, stream_total: 3m}") as (proxy, upstream):
        upstream.always(SOME[wire.path] + steps)

        answer = await ask(proxy, wire)

        assert (answer.status, answer.whole) == (200, False)
        assert answer.body.startswith(b"".join(wire.events[:3]))
        assert b'data: {"id":data' not in answer.body
        assert is_ours(answer, code)
        assert last_words(answer)["request_id"] == answer["x-octollm-request-id"]
        assert upstream.requests == 1
        aborts = "octollm_proxy_stream_aborts_total"
        assert await metric(proxy, aborts, upstream="up", phase="events") == 1
        assert await metric(proxy, "octollm_proxy_attempts_total", outcome=outcome) == 1
        failed = await metric(proxy, "octollm_proxy_requests_total", status="200", code=code)
        assert failed == 1
        blamed = await metric(proxy, "octollm_proxy_breaker_failure_ratio", upstream="up")
        assert blamed == (0 if fault == "stream_total" else 1)


async def test_the_envelope_itself_is_the_event_where_no_client_is_known():
    async with both() as (proxy, upstream):
        upstream.always(begin(b"data: 1\n\n", b"data: ha") + reset())

        answer = await call(proxy.addresses[""], "/up/events")

    assert not answer.whole
    first, last = answer.body.strip().split(b"\n\n")
    assert first == b"data: 1"
    name, data = last.split(b"\ndata: ")
    assert name == b"event: error"
    assert json.loads(data)["error"] == "NETWORK_ERROR"


async def test_after_half_of_an_overlong_event_nothing_can_be_said():
    long = b"data: " + b"x" * 70_000
    async with streaming() as (proxy, upstream):
        upstream.always(begin(CHAT.events[0], long) + wait(1) + reset())

        answer = await ask(proxy)

    assert not answer.whole
    assert answer.body == CHAT.events[0] + long


async def test_an_overlong_event_passes_and_what_follows_is_told_again():
    long = b"data: " + b"x" * 70_000
    async with streaming() as (proxy, upstream):
        upstream.always(begin(CHAT.events[0], long) + wait(1) + chunk(b"\n\n") + wait(1) + reset())

        answer = await ask(proxy)

    assert answer.body.startswith(CHAT.events[0] + long + b"\n\n")
    assert is_ours(answer, "NETWORK_ERROR")


@pytest.mark.parametrize("ended", [True, False])
@each_provider
async def test_an_error_event_of_the_upstream_s_own_passes_as_it_is_and_is_the_last_word(
    wire, ended
):
    ending = last_chunk() if ended else reset()
    async with streaming(wire) as (proxy, upstream):
        upstream.always(SOME[wire.path] + wait(1) + chunk(wire.overloaded) + wait(1) + ending)

        answer = await ask(proxy, wire)

        assert answer.body == b"".join(wire.events[:3]) + wire.overloaded
        assert not answer.whole
        assert await metric(proxy, "octollm_proxy_attempts_total", outcome="status_5xx") == 1
        assert await metric(proxy, "octollm_proxy_breaker_failure_ratio", upstream="up") == 1


@each_provider
async def test_a_stream_that_goes_on_to_its_end_after_an_error_is_still_a_failure(wire):
    failed = sse.event({"response": {"error": {"code": "server_error"}}}, "response.failed")
    error = failed if wire is RESPONSES else wire.overloaded
    events = [*wire.events[:3], error, wire.end]
    async with streaming(wire) as (proxy, upstream):
        upstream.always(event_stream(events, every=1))

        answer = await ask(proxy, wire)

        await upstream.seen[-1].over.wait()
        assert answer.whole
        assert answer.body.startswith(b"".join(events[:4]))
        assert await metric(proxy, "octollm_proxy_attempts_total", outcome="status_5xx") == 1
        assert await metric(proxy, "octollm_proxy_breaker_failure_ratio", upstream="up") == 1


async def test_a_compressed_stream_gets_no_event():
    packed = gzip.compress(b"".join(CHAT.events))
    async with streaming(more="timeouts: {first_event: 9s}") as (proxy, upstream):
        whole = begin(packed, **{"content-encoding": "gzip"})
        cut = begin(packed[:20], **{"content-encoding": "gzip"})
        upstream.script(whole + last_chunk(), cut + wait(1) + reset(), cut + hang())

        answers = [await ask(proxy) for _ in range(3)]

    assert [answer.whole for answer in answers] == [True, False, False]
    assert [answer.body for answer in answers] == [packed, packed[:20], packed[:20]]


async def test_a_caller_of_http_1_0_sees_a_reset():
    async with streaming() as (proxy, upstream):
        upstream.always(SOME[CHAT.path] + wait(1) + reset())
        reader, writer = await connect(proxy.addresses[""])
        target = f"/up{CHAT.path}"
        writer.write(f"POST {target} HTTP/1.0\r\nContent-Length: 2\r\n\r\n{{}}".encode())

        with pytest.raises(ConnectionResetError):
            await reader.read()
            await reader.read()
        writer.close()


# --- verified


VERIFIED = "stream: {mode: verified}"
GOOD = event_stream(CHAT.events)
LATE_FAULTS = {
    "cut mid-event": SOME[CHAT.path] + chunk(b"data: {") + reset(),
    "cut between events": SOME[CHAT.path] + script.close(),
    "a clean end too early": SOME[CHAT.path] + last_chunk(),
    "malformed chunks": SOME[CHAT.path] + wait(1) + script.send(b"ZZ\r\n!\r\n"),
    "no JSON": event_stream([*CHAT.events[:2], b"data: {not\n\n", *CHAT.events[2:]]),
    "no text": event_stream([*CHAT.events[:2], b"data: \xff\n\n", *CHAT.events[2:]]),
    "half of the last event": event_stream([*CHAT.events[:-1], b"data: {"]),
    "an error event": SOME[CHAT.path] + chunk(CHAT.overloaded) + last_chunk(),
    "stalled": SOME[CHAT.path] + hang(),
}


@pytest.mark.parametrize("fault", LATE_FAULTS)
async def test_verified_any_fault_is_retried_and_nothing_of_it_is_seen(fault):
    retry = "retry: {retry_on: [reset, timeout, 529]}"
    async with streaming(more=f"{VERIFIED}, {retry}") as (proxy, upstream):
        upstream.script(LATE_FAULTS[fault], GOOD)

        answer = await ask(proxy)

        assert (answer.status, answer.whole) == (200, True)
        assert answer.body == b"".join(CHAT.events)
        assert answer["x-octollm-attempts"] == "2"
        assert answer.get("x-octollm-stream") is None


async def test_verified_a_fault_that_stays_is_the_envelope():
    async with streaming(more=VERIFIED) as (proxy, upstream):
        upstream.always(LATE_FAULTS["no JSON"])

        answer = await ask(proxy)

    assert (answer.status, answer.code) == (502, "NETWORK_ERROR")
    assert upstream.requests == 4


@each_provider
async def test_verified_a_good_stream_comes_whole_and_at_the_end(wire):
    async with streaming(wire, VERIFIED) as (proxy, upstream):
        upstream.always(event_stream(wire.events, every=1))
        now = asyncio.get_running_loop().time
        began = now()

        async with listening(proxy, wire) as (reader, _):
            await reader.readuntil(b"\r\n\r\n")
            assert now() - began == pytest.approx(len(wire.events), abs=0.5)
            rest = await reader.readuntil(b"0\r\n\r\n")

    assert b"".join(line for line in rest.split(b"\r\n")[1::2]) == b"".join(wire.events)


async def test_verified_an_event_longer_than_what_live_holds_is_verified_too():
    long = sse.event({"choices": [], "text": "x" * 200_000})
    events = [CHAT.events[0], long, *CHAT.events[1:]]
    async with streaming(more=VERIFIED) as (proxy, upstream):
        upstream.script(begin(CHAT.events[0], long[:100_000]) + reset(), event_stream(events))

        answer = await ask(proxy)

    assert (answer.whole, answer.body) == (True, b"".join(events))


@pytest.mark.parametrize("events", [CHAT.events, [b"data: " + b"x" * 2000 + b"\n\n", *CHAT.events]])
async def test_verified_over_buffer_limit_it_goes_on_live_and_says_so(events):
    settings = "stream: {mode: verified, buffer_limit: 400}"
    async with streaming(more=settings) as (proxy, upstream):
        upstream.script(
            event_stream(events, every=1), event_stream(events, every=1).until(5) + reset()
        )

        whole, cut = await ask(proxy), await ask(proxy)

        assert (whole.whole, whole.body) == (True, b"".join(events))
        assert whole["x-octollm-stream"] == "live"
        assert not cut.whole
        assert is_ours(cut, "NETWORK_ERROR")
        assert await metric(proxy, "octollm_proxy_streams_unverified_total", upstream="up") == 2


async def test_verified_the_whole_answer_has_the_time_of_any_answer():
    async with streaming(more=f"{VERIFIED}, timeouts: {{total: 10s}}") as (proxy, upstream):
        upstream.always(event_stream([b": more\n\n"] * 100, every=1))

        answer = await ask(proxy)

    assert (answer.status, answer.code) == (504, "TIMEOUT_ERROR")


PINGED = "stream: {mode: verified, ping: 2s}"


async def test_pings_keep_timers_alive_while_a_stream_is_held():
    async with streaming(more=PINGED) as (proxy, upstream):
        upstream.always(begin(CHAT.events[0]) + wait(9) + chunk(b"".join(CHAT.events[1:])) + hang())

        answer = await ask(proxy)

    assert answer.whole
    assert answer.body == b": ping\n\n" * 4 + b"".join(CHAT.events)


async def test_no_ping_comes_where_none_is_needed():
    async with streaming(more=PINGED) as (proxy, upstream):
        upstream.script(LATE_FAULTS["cut mid-event"], GOOD)

        answer = await ask(proxy)

    assert answer.body == b"".join(CHAT.events)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (reset(), "NETWORK_ERROR"),
        (chunk(b"data: {not\n\n"), "NETWORK_ERROR"),
        (chunk(CHAT.overloaded), "LLM_API_ERROR"),
    ],
)
async def test_after_a_ping_errors_are_events_and_nothing_else_is_seen(fault, code):
    async with streaming(more=PINGED) as (proxy, upstream):
        upstream.always(SOME[CHAT.path] + wait(3) + fault)

        answer = await ask(proxy)

    assert not answer.whole
    pings, _, last = answer.body.rpartition(b": ping\n\n")
    assert pings == b""
    assert last.count(b"\n\n") == 1
    assert is_ours(answer, code)
    assert upstream.requests == 1


# --- callers

PHASES = {
    "before the head": ("", hang(), "waiting"),
    "while the head is held": ("", begin() + hang(), "waiting"),
    "while all is held": (VERIFIED, SOME[CHAT.path] + hang(), "waiting"),
    "while pinged": (PINGED, SOME[CHAT.path] + hang(), "response"),
    "live": ("", SOME[CHAT.path] + hang(), "response"),
}


@pytest.mark.parametrize("phase", PHASES)
async def test_a_caller_who_leaves_ends_it_upstream_at_once_and_blames_nobody(phase):
    settings, steps, told = PHASES[phase]
    async with streaming(more=settings) as (proxy, upstream):
        upstream.always(steps)
        now = asyncio.get_running_loop().time

        async with listening(proxy) as (reader, writer):
            seen = await upstream.asked()
            if told == "response":
                await reader.readuntil(b"\n\n")
            left = now()
        await seen.over.wait()

        assert seen.left_at is not None
        assert seen.left_at - left < 0.1
        assert await metric(proxy, "octollm_proxy_client_disconnects_total", phase=told) == 1
        assert await metric(proxy, "octollm_proxy_attempts_total", outcome="cancelled") == 1
        assert await metric(proxy, "octollm_proxy_requests_total", status="499") == 1
        assert await metric(proxy, "octollm_proxy_breaker_failure_ratio", upstream="up") == 0


async def test_a_caller_who_reads_slowly_stops_the_upstream_and_blames_nobody():
    event = b"data: " + b"x" * 60_000 + b"\n\n"
    count = 400
    async with both("timeouts: {idle: 5s}") as (proxy, upstream):
        upstream.always(event_stream([event] * count))
        reader, writer = await connect(proxy.addresses[""])
        writer.write(request(proxy.addresses[""], "/up/events"))
        seen = await upstream.asked()
        await asyncio.sleep(60)

        # An upstream that had said all of it would be done; idle stood still meanwhile.
        assert not seen.answered
        told = await answer(reader)

        assert (told.whole, len(told.body)) == (True, len(event) * count)
        assert await metric(proxy, "octollm_proxy_breaker_failure_ratio", upstream="up") == 0
        assert await metric(proxy, "octollm_proxy_attempts_total", outcome="success") == 1
        writer.close()


# --- what is counted


async def test_events_are_counted_and_timed():
    async with streaming() as (proxy, upstream):
        upstream.always(event_stream(CHAT.events, every=1))
        await ask(proxy)

        for name, count in {
            "octollm_proxy_events_total": len(CHAT.events),
            "octollm_proxy_first_event_seconds_count": 1,
            "octollm_proxy_event_gap_seconds_count": len(CHAT.events) - 1,
        }.items():
            assert await metric(proxy, name, upstream="up") == count


# --- the end of the proxy

DRAINING = """
version: 1
listen: {port: 0}
admin: {port: 0}
drain: {timeout: 5s}
defaults: {stream: {mode: "${MODE}"}}
upstreams:
  up: {kind: llm, provider: "${PROVIDER}", url: "${UP}"}
"""


@asynccontextmanager
async def draining(wire, mode="live"):
    """Run a proxy that gives its callers five seconds to end."""
    async with (
        Upstream() as upstream,
        proxied(DRAINING, up=upstream.url, provider=wire.provider, mode=mode) as proxy,
    ):
        yield proxy, upstream


@each_provider
async def test_at_the_end_of_draining_a_stream_is_told_so(wire):
    async with draining(wire) as (proxy, upstream):
        upstream.always(SOME[wire.path] + hang())
        now = asyncio.get_running_loop().time

        asked = asyncio.create_task(ask(proxy, wire))
        await upstream.asked()
        began = now()
        drained = await proxy.drain()
        told = await asked

        assert not drained
        assert now() - began == pytest.approx(5, abs=0.2)
        assert not told.whole
        assert told.body.startswith(b"".join(wire.events[:3]))
        assert is_ours(told, "CAPACITY_EXCEEDED")
        ratio = next(proxy.gateway.runtime.breakers()).failure_ratio
        assert ratio == 0


async def test_at_the_end_of_draining_a_held_stream_is_the_envelope():
    async with draining(CHAT, "verified") as (proxy, upstream):
        upstream.always(SOME[CHAT.path] + hang())

        asked = asyncio.create_task(ask(proxy))
        await upstream.asked()
        await proxy.drain()
        told = await asked

    assert (told.status, told.code) == (503, "CAPACITY_EXCEEDED")
    assert told["retry-after"] == "1"
    assert upstream.requests == 1


async def test_a_stream_that_ends_while_draining_ends_well():
    async with draining(CHAT) as (proxy, upstream):
        upstream.always(event_stream(CHAT.events, every=0.5))

        asked = asyncio.create_task(ask(proxy))
        await upstream.asked()
        drained = await proxy.drain()
        told = await asked

    assert drained
    assert (told.whole, told.body) == (True, b"".join(CHAT.events))


async def test_a_caller_who_does_not_read_does_not_hold_up_the_end():
    event = b"data: " + b"x" * 60_000 + b"\n\n"
    async with draining(CHAT) as (proxy, upstream):
        upstream.always(begin(*[event] * 400) + hang())
        now = asyncio.get_running_loop().time

        async with listening(proxy) as (reader, _):
            await reader.readuntil(b"\r\n\r\n")
            began = now()
            assert not await proxy.drain()

            assert now() - began == pytest.approx(6, abs=0.2)


async def test_a_caller_who_goes_after_the_last_byte_leaves_no_task_behind():
    async with both("kind: llm, provider: openai") as (proxy, upstream):
        stream = event_stream(sse.chat("a b"))
        events = len(sse.chat("a b"))
        upstream.always(stream.until(events) + script.wait(0.2) + stream.beyond(events))
        reader, writer = await connect(proxy.addresses[""])
        writer.write(request(proxy.addresses[""], "/up/v1/chat/completions", "POST", b"{}"))
        assert (await answer(reader)).whole
        writer.close()
        await asyncio.sleep(5)

        assert not [task for task in asyncio.all_tasks() if "Caller._serve" in repr(task)]
