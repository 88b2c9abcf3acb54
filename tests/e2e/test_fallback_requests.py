"""What of a request and its answer goes between caller and fallback: body, keys, writes, streams."""

import asyncio
import json

import pytest
from e2e.pair import CHAT, NO_RETRY, ONE_STRIKE, QUESTION, ask, pair
from e2e.support import answer, call, connect, metric, proxied, request

from proxy.testing import script, sse
from proxy.testing.script import chunk, event_stream, hang, head, ok, reset, status, wait
from proxy.testing.upstream import Upstream

EXPECTING = {"Expect": "100-continue"}


# --- what is changed for the target


async def test_fields_of_the_body_and_the_path_are_replaced_and_the_query_is_kept():
    entry = 'set: {model: small, stop: null, extra: {deep: [1]}}, path: "/v2/chat"'
    async with pair(entry=entry) as (proxy, first, second):
        first.always(status(500))
        asked = {"model": "large", "messages": [{"content": "grüß 𝄞 \ud834"}], "stop": ["x"]}

        told = await ask(proxy, f"{CHAT}?api-version=1&x=%20", json.dumps(asked).encode())

        seen = second.seen[0]
        assert told.body == b"second"
        assert seen.target == "/base/v2/chat?api-version=1&x=%20"
        assert seen.json() == {**asked, "model": "small", "stop": None, "extra": {"deep": [1]}}
        assert seen.header("content-length") == str(len(seen.body))
        assert first.seen[0].json() == asked
        assert first.seen[0].target == "/v1/chat/completions?api-version=1&x=%20"
        assert proxy.gateway.runtime.memory.used == 0


async def test_an_empty_object_is_a_body_in_which_fields_can_be_put():
    async with pair(entry="set: {model: small}") as (proxy, first, second):
        first.always(status(500))

        assert (await ask(proxy, body=b"{}")).body == b"second"
        assert second.seen[0].json() == {"model": "small"}


async def test_a_changed_body_is_sent_again_as_often_as_the_target_needs():
    async with pair(entry="set: {model: small}", second="retry: {base_delay: 1ms}") as (
        proxy,
        first,
        second,
    ):
        first.always(status(500))
        second.script(status(503), reset(), ok("at last"))

        told = await ask(proxy)

        assert (told.body, told["x-octollm-attempts"]) == (b"at last", "4")
        assert {seen.json()["model"] for seen in second.seen} == {"small"}


TWO_TARGETS = """
version: 1
listen: {port: 0}
admin: {port: 0}
defaults: {retry: {max_retries: 0}}
upstreams:
  first:
    url: "${FIRST}"
    replay_limit: 1KiB
    fallback: [{upstream: changed, set: {model: small}}, {upstream: second}]
  changed: {url: "${CHANGED}"}
  second: {url: "${SECOND}"}
"""


@pytest.mark.parametrize("body", [b"no JSON", b"[1]", b'"text"', b'{"half":', b""])
async def test_a_target_with_set_is_passed_by_where_the_body_is_no_json_object(body):
    async with Upstream() as first, Upstream() as changed, Upstream() as second:
        text = TWO_TARGETS
        async with proxied(text, first=first.url, changed=changed.url, second=second.url) as proxy:
            first.always(status(500))
            second.always(ok("second"))

            told = await ask(proxy, "/first/x", body)
            without = await call(proxy.addresses[""], "/first/x")

    assert (told.body, without.body, changed.connections) == (b"second", b"second", 0)
    assert bytes(second.seen[0].body) == body


async def test_a_body_beyond_the_replay_limit_goes_nowhere_else():
    async with Upstream() as first, Upstream() as changed, Upstream() as second:
        text = TWO_TARGETS
        async with proxied(text, first=first.url, changed=changed.url, second=second.url) as proxy:
            first.always(status(500))

            told = await ask(proxy, "/first/x", b'"%b"' % bytes(2000))

            assert (told.status, changed.connections, second.connections) == (502, 0, 0)
            assert proxy.gateway.runtime.memory.used == 0


async def test_a_large_body_of_which_nothing_was_sent_moves_on():
    async with pair(f"{NO_RETRY}, replay_limit: 1KiB") as (proxy, first, second):
        await first.stop()

        told = await ask(proxy, body=bytes(100_000))

        assert (told.body, len(second.seen[0].body)) == (b"second", 100_000)


async def test_a_large_body_is_not_lost_to_a_target_that_would_have_had_to_read_it():
    async with Upstream() as first, Upstream() as changed, Upstream() as second:
        text = TWO_TARGETS
        async with proxied(text, first=first.url, changed=changed.url, second=second.url) as proxy:
            await first.stop()

            told = await ask(proxy, "/first/x", b'{"a": "%b"}' % (b"x" * 100_000))

    assert (told.status, told.code) == (502, "NETWORK_ERROR")
    assert (changed.connections, second.connections) == (0, 0)


async def test_a_body_that_still_comes_is_waited_for_no_longer_than_the_call_may_take():
    settings = f"{NO_RETRY}, timeouts: {{total: 5s}}"
    async with pair(settings, "set: {model: small}") as (proxy, first, second):
        first.always(script.early(status(503)))
        reader, writer = await connect(proxy.addresses[""])
        writer.write(
            request(proxy.addresses[""], CHAT, "POST", b'{"half', {"Content-Length": "100"})
        )

        told = await asyncio.wait_for(answer(reader), 6)
        writer.close()

    assert (told.status, second.connections) == (503, 0)


@pytest.mark.parametrize("entry", ["", "set: {model: small}"])
async def test_a_body_that_still_comes_goes_whole_to_the_second(entry):
    body = json.dumps({**QUESTION, "padding": "x" * 100_000}).encode()
    async with pair(entry=entry) as (proxy, first, second):
        first.always(script.early(status(503)))
        reader, writer = await connect(proxy.addresses[""])
        whole = request(proxy.addresses[""], CHAT, "POST", body)
        writer.write(whole[:50_000])
        await first.asked()
        await asyncio.sleep(1)
        writer.write(whole[50_000:])

        told = await answer(reader)
        writer.close()

    changes = {"model": "small"} if entry else {}
    assert (told.body, second.seen[0].json()) == (b"second", {**json.loads(body), **changes})


async def test_a_target_is_not_asked_to_wait_for_a_body_that_is_here():
    async with pair() as (proxy, first, second):
        first.always(status(500))
        reader, writer = await connect(proxy.addresses[""])
        writer.write(request(proxy.addresses[""], CHAT, "POST", b"{}", EXPECTING))

        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        told = await answer(reader)
        writer.close()

    assert (told.body, second.seen[0].header("expect")) == (b"second", None)


async def test_a_caller_who_waits_to_be_told_is_told_where_only_a_changed_body_can_go_out():
    settings = f"{NO_RETRY}, {ONE_STRIKE}"
    async with pair(settings, "set: {model: small}") as (proxy, first, second):
        first.always(status(500))
        await ask(proxy)
        reader, writer = await connect(proxy.addresses[""])
        head, _, body = request(
            proxy.addresses[""], CHAT, "POST", b"{}", {**EXPECTING, "Connection": "close"}
        ).rpartition(b"\n")
        writer.write(head + b"\n")

        assert b" 100 " in await reader.readuntil(b"\r\n\r\n")
        writer.write(body)
        told = await reader.read()
        writer.close()

    assert told.endswith(b"\r\n\r\nsecond")
    assert second.seen[1].json() == {"model": "small"}


async def test_a_target_has_its_own_headers_and_policies():
    second_settings = (
        "headers: {set: {x-of: second}, remove: [x-private]}, retry: {base_delay: 1ms}"
    )
    async with pair(second=second_settings) as (proxy, first, second):
        first.always(status(500))
        second.script(status(500), status(500))

        told = await ask(proxy, x_private="1")

        seen = second.seen[0]
        assert (told.body, second.requests, first.requests) == (b"second", 3, 1)
        assert (seen.header("x-of"), seen.header("x-private")) == ("second", None)
        assert seen.header("host") == second.url.removeprefix("http://")
        assert first.seen[0].header("x-private") == "1"


# --- credentials


KEYS = {
    "authorization": "Bearer mine",
    "x-api-key": "mine",
    "api-key": "mine",
    "x-goog-api-key": "mine",
    "cookie": "mine",
}


async def with_keys(proxy):
    return await call(proxy.addresses[""], "/first/x?a=1&key=mine&b=2", "POST", b"{}", KEYS)


async def test_a_callers_credential_stays_with_the_upstream_it_was_meant_for():
    async with pair() as (proxy, first, second):
        first.always(status(500))

        await with_keys(proxy)

        assert {name: first.seen[0].header(name) for name in KEYS} == KEYS
        assert first.seen[0].target == "/x?a=1&key=mine&b=2"
        assert {name: second.seen[0].header(name) for name in KEYS} == dict.fromkeys(KEYS)
        assert second.seen[0].target == "/base/x?a=1&b=2"


async def test_a_callers_credential_goes_along_where_that_is_said():
    async with pair(entry="forward_credentials: true") as (proxy, first, second):
        first.always(status(500))

        await with_keys(proxy)

        assert {name: second.seen[0].header(name) for name in KEYS} == KEYS
        assert second.seen[0].target == "/base/x?a=1&key=mine&b=2"


@pytest.mark.parametrize("entry", ["", "forward_credentials: true"])
async def test_a_targets_own_key_takes_the_place_of_the_callers(entry):
    auth = "auth: {header: Authorization, value: Bearer ours}"
    async with pair(entry=entry, second=auth) as (proxy, first, second):
        first.always(status(500))

        await with_keys(proxy)

        assert {name: second.seen[0].header(name) for name in KEYS} == {
            **dict.fromkeys(KEYS),
            "authorization": "Bearer ours",
        }
        assert second.seen[0].target == "/base/x?a=1&b=2"
        assert first.seen[0].header("authorization") == "Bearer mine"


async def test_a_key_of_ours_for_the_first_is_not_shown_to_the_second():
    auth = f"auth: {{header: X-Special, value: ours}}, {NO_RETRY}"
    async with pair(auth) as (proxy, first, second):
        first.always(status(500))

        await with_keys(proxy)

        assert first.seen[0].header("x-special") == "ours"
        assert second.seen[0].header("x-special") is None
        assert {name: second.seen[0].header(name) for name in KEYS} == dict.fromkeys(KEYS)


async def test_the_listeners_token_never_travels():
    text = """
version: 1
listen: {port: 0, token: ours-alone}
admin: {port: 0}
defaults: {retry: {max_retries: 0}}
upstreams:
  first: {url: "${FIRST}", fallback: [{upstream: second, forward_credentials: true}]}
  second: {url: "${SECOND}"}
"""
    async with Upstream() as first, Upstream() as second:
        async with proxied(text, first=first.url, second=second.url) as proxy:
            first.always(status(500))
            for name in ("authorization", "x-api-key", "proxy-authorization"):
                await call(proxy.addresses[""], "/first/x", headers={name: "Bearer ours-alone"})

    assert (first.requests, second.requests) == (3, 3)
    for seen in (*first.seen, *second.seen):
        assert not any(b"ours-alone" in value for _, value in seen.headers)


async def test_a_page_of_another_origin_cannot_use_a_targets_key_either():
    async with pair(second="auth: {header: Authorization, value: Bearer ours}") as (
        proxy,
        first,
        second,
    ):
        told = await ask(proxy, origin="https://evil.example")

    assert (told.status, first.requests, second.requests) == (403, 0, 0)


# --- writes


WRITE, SEARCH = "/first/collections/c/points", "/first/collections/c/points/search"
ASKED_OF_A_VECTORDB = [
    ("PUT", WRITE, False),
    ("POST", f"{WRITE}/delete", False),
    ("DELETE", "/first/collections/c", False),
    ("POST", SEARCH, True),
    ("GET", "/first/collections", True),
    ("HEAD", "/first/collections", True),
]


@pytest.mark.parametrize(("method", "target", "reads"), ASKED_OF_A_VECTORDB)
@pytest.mark.parametrize("writes", [False, True])
async def test_what_a_vector_database_writes_is_not_carried_on_unasked(
    method, target, reads, writes
):
    settings = f"{NO_RETRY}, fallback_writes: {str(writes).lower()}"
    async with pair(settings, kind="vectordb, provider: qdrant") as (proxy, first, second):
        first.always(status(500))

        told = await call(proxy.addresses[""], target, method, b"{}" if method[0] == "P" else None)

    moves = reads or writes
    assert (told.status, second.requests) == ((200, 1) if moves else (502, 0))


async def test_a_write_that_stays_has_all_the_retries_it_would_have_alone():
    settings = "retry: {base_delay: 1s, jitter: false, fallback_wait: 0s}"
    async with pair(settings, kind="vectordb, provider: qdrant") as (proxy, first, second):
        first.script(status(503, retry_after=30), ok("first"))

        told = await call(proxy.addresses[""], WRITE, "PUT", b"{}")

    assert (told.body, first.requests, second.connections) == (b"first", 2, 0)


async def test_a_write_is_not_carried_on_for_what_it_requires_either():
    second = "capabilities: [large]"
    async with pair(second=second, kind="vectordb, provider: qdrant") as (proxy, first, second):
        needs = {"X-Required-Capabilities": "large"}
        write = await call(proxy.addresses[""], WRITE, "PUT", b"{}", needs)
        read = await call(proxy.addresses[""], SEARCH, "POST", b"{}", needs)

    assert (write.code, read.body) == ("ARM_UNAVAILABLE", b"second")
    assert (first.connections, second.requests) == (0, 1)


async def test_what_is_posted_elsewhere_moves_on_though_it_would_not_be_repeated():
    async with pair("retry: {base_delay: 1s}", kind="http") as (proxy, first, second):
        first.always(reset())

        told = await ask(proxy, "/first/orders")

    assert (told.body, first.requests, second.requests) == (b"second", 1, 1)


# --- streams


EVENTS = sse.chat("from the second")
HEADERS = {"content-type": "text/event-stream"}


def begun(*events):
    told = head(200, HEADERS, chunked=True)
    for event in events:
        told += chunk(event)
    return told


@pytest.mark.parametrize(
    "cut",
    [begun() + reset(), begun(EVENTS[0][:9]) + reset(), event_stream([]), begun() + hang()],
    ids=["before", "mid-event", "empty", "mute"],
)
async def test_a_stream_cut_before_its_first_event_comes_whole_from_the_second(cut):
    settings = f"{NO_RETRY}, timeouts: {{first_event: 5s}}"
    async with pair(settings) as (proxy, first, second):
        first.always(cut)
        second.always(event_stream(EVENTS))

        told = await ask(proxy)

    assert (told.status, told.whole, told.body) == (200, True, b"".join(EVENTS))
    assert told["x-octollm-upstream"] == "second"


@pytest.mark.parametrize(
    "end", [reset(), hang(), chunk(b"data: {no JSON}\n\n") + script.last_chunk()]
)
async def test_a_verified_stream_that_is_cut_leaves_nothing_but_the_second_ones_answer(end):
    settings = f"{NO_RETRY}, stream: {{mode: verified}}, timeouts: {{idle: 5s}}"
    async with pair(settings) as (proxy, first, second):
        first.always(begun(*sse.chat("from the first")[:4]) + end)
        second.always(event_stream(EVENTS))

        told = await ask(proxy)

        assert (told.status, told.whole, told.body) == (200, True, b"".join(EVENTS))
        assert (first.requests, second.requests) == (1, 1)
        assert told["x-octollm-upstream"] == "second"
        assert await metric(proxy, "octollm_proxy_stream_aborts_total") == 0


async def test_a_live_stream_that_is_cut_ends_with_an_error_and_is_not_carried_on():
    async with pair() as (proxy, first, second):
        first.always(begun(*EVENTS[:3]) + wait(1) + reset())

        told = await ask(proxy)

    assert (told.status, told.whole, second.connections) == (200, False, 0)
    assert told.body.startswith(b"".join(EVENTS[:3]))
    assert b"NETWORK_ERROR" in told.body


async def test_a_plain_answer_that_is_cut_is_not_carried_on():
    async with pair() as (proxy, first, second):
        first.always(head(200, length=100) + script.body(b"half") + wait(1) + reset())

        told = await ask(proxy)

    assert (told.body, told.whole, second.connections) == (b"half", False, 0)
