"""Pools as a caller meets them: several upstreams under one name, in virtual time."""

import asyncio
import io
import json
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from e2e.support import call, metric, proxied

from proxy.observe import logs
from proxy.testing.script import hang, ok, status, wait
from proxy.testing.upstream import Upstream

QUICK = "retry: {max_retries: 0}, breaker: {failure_threshold: 1, timeout: 30s}"


@asynccontextmanager
async def pool(settings="", *, kind="http", more=QUICK, **members):
    """Run the proxy with a pool named `all`; *members* are their settings, `a`, `b` … by name."""
    names = members or {"a": "", "b": ""}
    lines = "\n".join(
        f'  {name}: {{kind: {kind}, url: "${{{name.upper()}}}/{name}", {more}, {own}}}'
        for name, own in names.items()
    )
    text = f"""
version: 1
listen: {{port: 0}}
admin: {{port: 0}}
upstreams:
{lines}
pools:
  all: {{members: [{", ".join(names)}], {settings}}}
"""
    async with AsyncExitStack() as stack:
        upstreams = {name: await stack.enter_async_context(Upstream()) for name in names}
        for name, upstream in upstreams.items():
            upstream.always(ok(name))
        urls = {name: upstream.url for name, upstream in upstreams.items()}
        proxy = await stack.enter_async_context(proxied(text, **urls))
        yield proxy, *upstreams.values()


async def ask(proxy, target="/all/x", method="GET", body=None, **headers):
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return await call(proxy.addresses[""], target, method, body, fields)


async def tally(proxy, times, **headers):
    """Who answered, how often."""
    return Counter([(await ask(proxy, **headers)).body.decode() for _ in range(times)])


async def at_once(proxy, times):
    answers = await asyncio.gather(*[ask(proxy) for _ in range(times)])
    return Counter(told.body.decode() for told in answers)


# --- who is asked


async def test_the_first_listed_takes_everything_while_it_can():
    async with pool() as (proxy, a, b):
        told = await ask(proxy, "/all/deep/x?q=%20")

        assert (told.body, told["x-octollm-upstream"], told["x-octollm-attempts"]) == (
            b"a",
            "a",
            "1",
        )
        assert a.seen[0].target == "/a/deep/x?q=%20"
        assert (await tally(proxy, 9), b.connections) == ({"a": 9}, 0)


async def test_by_weight_each_member_has_its_share():
    async with pool("strategy: weighted, weights: {a: 3}") as (proxy, _, _):
        shares = await tally(proxy, 400)

    assert 260 < shares["a"] < 340
    assert shares.total() == 400


async def test_the_one_with_the_fewest_calls_in_flight_is_asked():
    async with pool("strategy: least_in_flight") as (proxy, a, b):
        a.always(wait(10) + ok("a"))
        b.always(wait(10) + ok("b"))

        assert await at_once(proxy, 20) == {"a": 10, "b": 10}


async def test_calls_by_the_members_own_name_weigh_too():
    async with pool("strategy: least_in_flight") as (proxy, a, b):
        a.always(wait(10) + ok("a"))
        busy = [asyncio.create_task(ask(proxy, "/a/x")) for _ in range(5)]
        await a.asked(5)

        assert await tally(proxy, 5) == {"b": 5}
        await asyncio.gather(*busy)


async def test_a_heavier_member_bears_more_calls_in_flight():
    async with pool("strategy: least_in_flight, weights: {a: 3}") as (proxy, a, b):
        a.always(wait(10) + ok("a"))
        b.always(wait(10) + ok("b"))

        assert await at_once(proxy, 40) == {"a": 30, "b": 10}


# --- required capabilities


ABLE = {"a": "capabilities: [chat]", "b": "capabilities: [chat, vision]", "c": ""}


@pytest.mark.parametrize(
    ("needed", "who"),
    [("chat", "a"), ("vision", "b"), ("vision, chat", "b"), ("", "a"), (" , ", "a")],
)
async def test_only_who_can_what_is_required_is_asked(needed, who):
    async with pool(**ABLE) as (proxy, *upstreams):
        assert await tally(proxy, 3, X_Required_Capabilities=needed) == {who: 3}
        for upstream in upstreams:
            assert {seen.header("x-required-capabilities") for seen in upstream.seen} <= {None}


async def test_where_nobody_can_what_is_required_waiting_does_not_help():
    async with pool(**ABLE) as (proxy, *upstreams):
        told = await ask(proxy, X_Required_Capabilities="chat,audio")

    assert (told.status, told.code) == (503, "ARM_UNAVAILABLE")
    assert told.json()["details"]["required_capabilities"] == ["chat", "audio"]
    assert (told.get("retry-after"), told.get("x-should-retry")) == (None, None)
    assert [upstream.connections for upstream in upstreams] == [0, 0, 0]


async def test_what_is_no_list_of_capabilities_is_the_callers_fault():
    async with pool(**ABLE) as (proxy, *_):
        told = await ask(proxy, X_Required_Capabilities="chat;vision")

    assert (told.status, told.code) == (400, "VALIDATION_ERROR")


async def test_where_all_who_can_are_out_the_soonest_return_is_told():
    async with pool(**ABLE) as (proxy, _, b, _):
        b.always(status(500))
        await ask(proxy, X_Required_Capabilities="vision")
        await asyncio.sleep(10)

        told = await ask(proxy, X_Required_Capabilities="vision")
        rest = await ask(proxy)

    assert (told.status, told.code, told["retry-after"]) == (503, "ARM_UNAVAILABLE", "20")
    assert told.json()["details"]["required_capabilities"] == ["vision"]
    assert rest.body == b"a"


async def test_where_all_are_out_the_soonest_of_circuits_and_gates_is_told():
    async with pool() as (proxy, a, b):
        a.script(status(500))
        b.script(status(429, retry_after=12))
        failed = await ask(proxy)

        told = await ask(proxy)
        await asyncio.sleep(13)
        later = await ask(proxy)

    assert [each["code"] for each in failed.json()["details"]["tried"]] == [
        "THIRD_PARTY_API_ERROR",
        "RATE_LIMIT_EXCEEDED",
    ]
    assert (told.code, told["retry-after"]) == ("ARM_UNAVAILABLE", "12")
    assert later.body == b"b"


async def test_a_name_of_its_own_asks_itself_and_its_fallbacks_for_what_is_required():
    text = """
version: 1
listen: {port: 0}
admin: {port: 0}
upstreams:
  a: {url: "${A}", capabilities: [chat], fallback: [{upstream: b, set: {model: m}}]}
  b: {url: "${B}", capabilities: [vision]}
"""
    async with Upstream() as a, Upstream() as b, proxied(text, a=a.url, b=b.url) as proxy:
        b.always(ok("b"))
        can = await ask(proxy, "/a/x", "POST", b'{"model": "x"}', X_Required_Capabilities="vision")
        no_object = await ask(proxy, "/a/x", "POST", b"text", X_Required_Capabilities="vision")
        nobody = await ask(proxy, "/a/x", X_Required_Capabilities="vision,chat")

    assert (can.body, b.seen[0].json()) == (b"b", {"model": "m"})
    assert can["x-octollm-upstream"] == "b"
    assert (no_object.code, nobody.code) == ("ARM_UNAVAILABLE", "ARM_UNAVAILABLE")
    assert no_object.json()["details"]["required_capabilities"] == ["vision"]
    assert (a.connections, b.requests) == (0, 1)


# --- who is passed by


async def test_a_member_whose_circuit_is_open_is_passed_by_until_it_is_probed():
    async with pool() as (proxy, a, b):
        a.script(status(500))

        assert await tally(proxy, 10) == {"b": 10}
        assert a.requests == 1
        await asyncio.sleep(30)
        assert await tally(proxy, 10) == {"a": 10}
        # Passed by in the choice, and not turned away by the circuit.
        assert await metric(proxy, "octollm_proxy_breaker_rejections_total", upstream="a") == 0


async def test_while_one_call_probes_a_member_the_others_go_elsewhere():
    async with pool() as (proxy, a, b):
        a.script(status(500), wait(5) + ok("a"))
        await ask(proxy)
        await asyncio.sleep(30)
        probe = asyncio.create_task(ask(proxy))
        await a.asked(2)

        assert await tally(proxy, 5) == {"b": 5}
        assert (await probe).body == b"a"


async def test_a_member_that_told_this_key_to_wait_is_passed_by_for_that_key_alone():
    async with pool("forward_credentials: true") as (proxy, a, b):
        a.script(status(429, retry_after=20))

        assert await tally(proxy, 5, authorization="mine") == {"b": 5}
        assert await tally(proxy, 5, authorization="other") == {"a": 5}
        await asyncio.sleep(21)
        assert await tally(proxy, 5, authorization="mine") == {"a": 5}


@pytest.mark.parametrize("strategy", ["priority", "weighted", "least_in_flight"])
async def test_a_member_that_is_back_gets_its_share_little_by_little(strategy):
    async with pool(f"strategy: {strategy}, ramp: 100s") as (proxy, a, b):
        a.script(status(500))
        while not a.requests:
            await ask(proxy)
        await asyncio.sleep(30)
        while a.requests < 2:  # the probe
            await ask(proxy)

        fresh = await tally(proxy, 200)
        await asyncio.sleep(100)
        warm = await tally(proxy, 200)

    least = 0 if strategy == "least_in_flight" else 1  # alone in flight, the other one is asked
    assert least <= fresh["a"] <= 50
    assert warm["a"] >= 60


# --- who is asked next


@pytest.mark.parametrize("does", [status(500), status(429), status(429, retry_after=60), hang()])
async def test_a_failed_call_moves_to_the_next_member(does):
    more = "retry: {max_retries: 0}, timeouts: {first_byte: 5s}"
    async with pool(more=more, a="", b="", c="") as (proxy, a, b, c):
        a.always(does)
        b.always(status(503))

        told = await ask(proxy)

        assert (told.status, told.body, told["x-octollm-upstream"]) == (200, b"c", "c")
        assert told["x-octollm-attempts"] == "3"
        fallbacks = "octollm_proxy_fallbacks_total"
        assert await metric(proxy, fallbacks, upstream="all", target="b") == 1
        assert await metric(proxy, fallbacks, upstream="all", target="c", reason="status_5xx") == 1


async def test_a_callers_fault_stays_with_the_member_that_told_it():
    async with pool() as (proxy, a, b):
        a.always(status(404))

        told = await ask(proxy)

    assert (told.status, told["x-octollm-upstream"], b.connections) == (404, "a", 0)


async def test_where_all_members_fail_the_first_ones_failure_is_told_and_all_are_named():
    async with pool() as (proxy, a, b):
        a.always(status(500))
        b.always(status(429))

        told = await ask(proxy)

    assert (told.status, told["x-octollm-upstream"]) == (502, "a")
    assert told.json()["details"]["tried"] == [
        {"upstream": "a", "code": "THIRD_PARTY_API_ERROR"},
        {"upstream": "b", "code": "RATE_LIMIT_EXCEEDED"},
    ]


async def test_a_members_own_fallback_is_for_calls_by_its_own_name():
    async with pool(a="fallback: [{upstream: b}]", b="") as (proxy, a, b):
        a.always(status(500))

        assert (await ask(proxy, "/a/x")).body == b"b"
        assert (await ask(proxy)).body == b"b"
        assert await metric(proxy, "octollm_proxy_fallbacks_total", upstream="a") == 1


@pytest.mark.parametrize(("writes", "answered"), [("false", 502), ("true", 200)])
async def test_what_is_written_stays_with_one_member_unless_told_otherwise(writes, answered):
    more = f"retry: {{max_retries: 0}}, provider: qdrant, fallback_writes: {writes}"
    async with pool(kind="vectordb", more=more) as (proxy, a, b):
        a.always(status(500))

        write = await ask(proxy, "/all/collections/c/points", "PUT", b"{}")
        read = await ask(proxy, "/all/collections/c/points/search", "POST", b"{}")

    assert (write.status, read.status) == (answered, 200)


# --- credentials


async def test_a_callers_credential_goes_to_no_member_unasked():
    async with pool(a="", b="auth: {header: Authorization, value: Bearer ours}") as (proxy, a, b):
        a.always(status(500))

        await ask(proxy, "/all/x?key=mine&n=1", authorization="Bearer mine", x_api_key="mine")

        assert (a.seen[0].header("authorization"), a.seen[0].header("x-api-key")) == (None, None)
        assert b.seen[0].header("authorization") == "Bearer ours"
        assert [seen.target for seen in (a.seen[0], b.seen[0])] == ["/a/x?n=1", "/b/x?n=1"]


async def test_a_callers_credential_goes_to_members_without_a_key_where_that_is_said():
    members = {"a": "", "b": "auth: {header: Authorization, value: Bearer ours}"}
    async with pool("forward_credentials: true", **members) as (proxy, a, b):
        a.always(status(500))

        await ask(proxy, "/all/x?key=mine", authorization="Bearer mine")

        assert a.seen[0].header("authorization") == "Bearer mine"
        assert b.seen[0].header("authorization") == "Bearer ours"
        assert [seen.target for seen in (a.seen[0], b.seen[0])] == ["/a/x?key=mine", "/b/x"]


# --- what shows it


async def test_a_pool_is_counted_and_logged_under_its_name_and_attempts_under_the_members():
    stream = io.BytesIO()
    logs.configure("info", "json", stream)
    try:
        async with pool() as (proxy, a, _):
            a.always(status(500))
            await ask(proxy, x_request_id="one")

            requests = "octollm_proxy_requests_total"
            assert await metric(proxy, requests, upstream="all", status="200") == 1
            assert await metric(proxy, requests) == 1
            attempts = "octollm_proxy_attempts_total"
            assert await metric(proxy, attempts, upstream="a", outcome="status_5xx") == 1
            assert await metric(proxy, attempts, upstream="b", outcome="success") == 1
            assert await metric(proxy, attempts) == 2
            assert await metric(proxy, "octollm_proxy_in_flight", upstream="all") == 0
    finally:
        logs.close()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    (end,) = [line for line in lines if line["event"] == "request.completed"]

    assert (end["request_id"], end["upstream"], end["answered_by"]) == ("one", "all", "b")
