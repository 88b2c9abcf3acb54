"""Batches as their callers meet them, over real sockets in virtual time."""

import asyncio
import base64
import contextlib
import json
import re
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from e2e.support import Answer, answer, call, connect, metric, proxied, request

from proxy.app import Proxy
from proxy.testing import script
from proxy.testing.request import Seen
from proxy.testing.script import hang, ok, status, wait
from proxy.testing.upstream import Upstream

ROOT = Path(__file__).parents[2]

CONFIG = """
version: 1
listen: {port: 0}
admin: {port: 0}
batch: {%s}
upstreams:
  up: {url: "${UP}", kind: llm, provider: openai, %s}

defaults:
  retry: {max_retries: 0}
  breaker: {mode: disabled}
"""


@contextlib.asynccontextmanager
async def batching(batch: str = "", up: str = "") -> AsyncIterator[tuple[Proxy, Upstream]]:
    async with Upstream() as upstream, proxied(CONFIG % (batch, up), up=upstream.url) as proxy:
        yield proxy, upstream


def get(id: str, path: str = "/up/x", **more: Any) -> dict[str, Any]:
    return {"id": id, "method": "GET", "path": path, **more}


async def ask(proxy: Proxy, items: Sequence[Any], headers: Any = None, **order: Any) -> Answer:
    body = json.dumps({"requests": items, **order}).encode()
    fields = {"Content-Type": "application/json", **(headers or {})}
    return await call(proxy.addresses[""], "/-/batch", "POST", body, fields)


async def ask_lines(proxy: Proxy, items: Sequence[Any], query: str = "", **headers: str) -> Answer:
    body = b"".join(json.dumps(item).encode() + b"\n" for item in items)
    fields = {"Content-Type": "application/jsonl", **headers}
    return await call(proxy.addresses[""], f"/-/batch{query}", "POST", body, fields)


def one_in_ten_fails(seen: Seen) -> script.Answer:
    number = int(seen.path.rpartition("/")[2])
    return status(500) if number % 10 == 3 else ok({"number": number})


async def test_of_500_items_the_50_that_fail_cost_no_other():
    async with batching() as (proxy, upstream):
        upstream.always(one_in_ten_fails)

        answer = await ask(proxy, [get(f"n{n}", f"/up/{n}") for n in range(500)], concurrency=50)

        told = answer.json()
        assert (answer.status, answer["content-type"]) == (200, "application/json")
        assert [it["id"] for it in told["successes"]] == [
            f"n{n}" for n in range(500) if n % 10 != 3
        ]
        assert [it["id"] for it in told["failures"]] == [f"n{n}" for n in range(500) if n % 10 == 3]
        assert all(it["body"] == {"number": int(it["id"][1:])} for it in told["successes"])
        assert {it["error"] for it in told["failures"]} == {"LLM_API_ERROR"}
        assert upstream.peak <= 50
        assert (
            await metric(proxy, "octollm_proxy_requests_total", upstream="up", status="200") == 450
        )
        assert (
            await metric(proxy, "octollm_proxy_requests_total", upstream="up", status="502") == 50
        )
        assert await metric(proxy, "octollm_proxy_requests_total", upstream="-", status="200") == 1


async def test_a_success_has_status_headers_and_body():
    async with batching() as (proxy, upstream):
        upstream.script(ok({"a": 1}, x_thing="yes", set_cookie="a=1\r\nset-cookie: b=2"))

        answer = await ask(proxy, [get("one")], headers={"X-Request-ID": "mine"})

        (success,) = answer.json()["successes"]
        assert list(success) == ["id", "status", "headers", "body"]
        assert (success["id"], success["status"], success["body"]) == ("one", 200, {"a": 1})
        assert success["headers"]["x-thing"] == "yes"
        assert success["headers"]["set-cookie"] == ["a=1", "b=2"]
        assert success["headers"]["x-octollm-request-id"] == "mine.0"
        assert success["headers"]["x-octollm-upstream"] == "up"
        assert answer["x-octollm-request-id"] == "mine"


async def test_a_failure_is_the_items_id_and_the_envelope():
    async with batching() as (proxy, upstream):
        upstream.script(status(429, retry_after=7))

        answer = await ask(proxy, [get("one")], headers={"X-Request-ID": "mine"})

        (failure,) = answer.json()["failures"]
        assert list(failure) == ["id", "error", "message", "details", "retry_after"]
        assert (failure["error"], failure["retry_after"]) == ("RATE_LIMIT_EXCEEDED", 7)
        assert failure["details"]["request_id"] == "mine.0"


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (ok({"a": [1.0, "\u00e9"]}), {"body": {"a": [1.0, "\u00e9"]}}),
        (ok(b'{\r\n "a":\n 1}', {"content-type": "application/problem+json"}), {"body": {"a": 1}}),
        (ok("text"), {"body": "text"}),
        (ok(b"{broken", {"content-type": "application/json"}), {"body": "{broken"}),
        (ok(b"NaN", {"content-type": "application/json"}), {"body": "NaN"}),
        (ok(b""), {"body": None}),
        (status(204), {"body": None}),
        (ok(b"\xff\x00"), {"body": base64.b64encode(b"\xff\x00").decode(), "encoding": "base64"}),
        (script.chunks(b"in ", b"pieces"), {"body": "in pieces"}),
        (status(302, location="/y"), {"body": None}),
    ],
)
@pytest.mark.parametrize("lines", [False, True])
async def test_a_body_is_told_as_json_as_text_or_as_base64(sent, told, lines):
    async with batching() as (proxy, upstream):
        upstream.script(sent)

        if lines:
            success = json.loads((await ask_lines(proxy, [get("one")])).body)
        else:
            (success,) = (await ask(proxy, [get("one")])).json()["successes"]

        assert {key: success[key] for key in ("body", "encoding") if key in success} == told


async def test_an_event_stream_is_told_whole_as_text():
    events = [b'data: {"a": 1}\n\n', b"data: [DONE]\n\n"]
    async with batching() as (proxy, upstream):
        upstream.script(script.event_stream(events, every=1))

        (success,) = (await ask(proxy, [get("one")])).json()["successes"]

        assert success["body"].encode() == b"".join(events)


async def test_a_stream_that_is_cut_is_asked_for_again_because_nobody_has_seen_it():
    events = [b'data: {"a": 1}\n\n', b"data: [DONE]\n\n"]
    whole = script.event_stream(events)
    async with batching(up="retry: {max_retries: 1}") as (proxy, upstream):
        upstream.script(whole.until(1) + script.reset(), whole)

        (success,) = (await ask(proxy, [get("one")])).json()["successes"]

        assert success["body"].encode() == b"".join(events)
        assert success["headers"]["x-octollm-attempts"] == "2"


async def test_a_body_that_is_cut_is_asked_of_the_fallback():
    async with Upstream() as spare, Upstream() as upstream:
        text = CONFIG % ("", "fallback: [{upstream: spare}]")
        text = text.replace("upstreams:", f"upstreams:\n  spare: {{url: {spare.url}}}")
        upstream.always(script.short("half"))
        spare.always(ok("whole"))
        async with proxied(text, up=upstream.url) as proxy:
            (success,) = (await ask(proxy, [get("one")])).json()["successes"]

        assert (success["body"], success["headers"]["x-octollm-upstream"]) == ("whole", "spare")


async def test_an_error_late_in_a_stream_makes_the_item_a_failure():
    events = [b'data: {"a": 1}\n\n', b'data: {"error": {"message": "no more", "code": 500}}\n\n']
    async with batching() as (proxy, upstream):
        upstream.script(script.event_stream(events))

        told = (await ask(proxy, [get("one")])).json()

        assert [it["error"] for it in told["failures"]] == ["LLM_API_ERROR"]


async def test_a_cut_body_is_a_failure_and_no_part_of_it_is_told():
    async with batching() as (proxy, upstream):
        upstream.script(script.short("half"))

        told = (await ask(proxy, [get("one")])).json()

        assert (told["successes"], told["failures"][0]["error"]) == ([], "NETWORK_ERROR")


async def test_an_error_that_passes_as_the_upstream_said_it_is_a_failure_of_which_nothing_is_lost():
    said = {"error": {"message": "no such model"}, "x": "y" * 9000}
    async with batching(up="rewrite_client_errors: false") as (proxy, upstream):
        upstream.script(status(404, said, x_thing="yes"))

        (failure,) = (await ask(proxy, [get("one")])).json()["failures"]

        assert (failure["error"], failure["details"]["error_message"]) == (
            "LLM_API_ERROR",
            "no such model",
        )
        assert (failure["status"], failure["body"]) == (404, said)
        assert failure["headers"]["x-thing"] == "yes"


async def test_an_envelope_that_an_upstream_gives_is_told_as_it_is():
    said = {"error": "TASK_NOT_FOUND", "message": "gone", "details": {}}
    async with batching(up="rewrite_client_errors: false") as (proxy, upstream):
        upstream.script(status(404, said))

        assert (await ask(proxy, [get("one")])).json()["failures"] == [{"id": "one", **said}]


@pytest.mark.parametrize(
    "said", [b"not json", {"error": "E"}, {"error": "E", "message": "m", "id": 3}, [1]]
)
async def test_what_only_looks_like_an_envelope_is_kept_whole(said):
    async with batching(up="rewrite_client_errors: false") as (proxy, upstream):
        upstream.script(status(404, said, {"content-type": "application/json"}))

        (failure,) = (await ask(proxy, [get("one")])).json()["failures"]

        assert failure["body"] == (said.decode() if isinstance(said, bytes) else said)
        assert (failure["id"], failure["error"]) == ("one", "LLM_API_ERROR")


async def test_what_passes_from_an_upstream_that_a_reload_took_away_is_a_failure_still():
    async with batching(up="rewrite_client_errors: false") as (proxy, upstream):
        upstream.always(lambda _: proxy.gateway.runtime.upstreams.pop("up") and status(404))

        (failure,) = (await ask(proxy, [get("one")])).json()["failures"]

        assert (failure["error"], failure["status"]) == ("THIRD_PARTY_API_ERROR", 404)


# What is sent


async def test_bodies_go_out_as_json_or_as_the_text_they_are():
    def post(id: str, body: Any, **headers: str) -> dict[str, Any]:
        return {"id": id, "method": "POST", "path": f"/up/{id}", "headers": headers, "body": body}

    async with batching() as (proxy, upstream):
        items = [
            post("object", {"a": "\u00e9\ud800"}),
            post("named", [1], **{"content-type": "application/x"}),
            post("text", "plain \u00e9"),
            post("empty", ""),
            post("none", None),
        ]
        assert len((await ask(proxy, items, concurrency=1)).json()["successes"]) == 5

        sent = {seen.path[1:]: seen for seen in upstream.seen}
        assert bytes(sent["object"].body) == '{"a":"\u00e9\\ud800"}'.encode()
        assert sent["object"].header("content-type") == "application/json"
        assert sent["named"].header("content-type") == "application/x"
        assert (bytes(sent["text"].body), sent["text"].header("content-type")) == (
            "plain \u00e9".encode(),
            None,
        )
        assert sent["empty"].header("content-length") == "0"
        assert sent["none"].header("content-length") is None


async def test_an_item_has_the_credentials_of_its_batch_unless_it_brings_its_own():
    async with batching() as (proxy, upstream):
        items = [get("a"), get("b", headers={"authorization": "own", "X-Request-ID": "b-id"})]
        answer = await ask(
            proxy,
            items,
            headers={"Authorization": "batch's", "X-Api-Key": "k", "X-Else": "e", "Cookie": "c=1"},
            concurrency=1,
        )

        first, second = upstream.seen
        assert (first.values("authorization"), first.values("x-api-key")) == (["batch's"], ["k"])
        assert (first.values("cookie"), first.header("x-else")) == (["c=1"], None)
        assert (second.values("authorization"), second.values("x-api-key")) == (["own"], ["k"])
        ids = [it["headers"]["x-octollm-request-id"] for it in answer.json()["successes"]]
        assert ids == [answer["x-octollm-request-id"] + ".0", "b-id"]


async def test_a_batch_in_chunks_whose_caller_waits_to_be_told_is_told_to_go_on():
    async with batching() as (proxy, _):
        base = proxy.addresses[""]
        reader, writer = await connect(base)
        fields = {
            "Content-Type": "application/json",
            "Expect": "100-continue",
            "Transfer-Encoding": "chunked",
        }
        writer.write(request(base, "/-/batch", "POST", headers=fields))
        assert (await answer(reader, "HEAD")).status == 100
        writer.write(b'10\r\n{"requests": []}\r\n0\r\n\r\n')

        assert (await answer(reader)).json() == {"successes": [], "failures": []}
        writer.close()


# Who may ask, and for what


async def test_without_a_batch_block_there_is_no_such_path():
    async with batching() as (proxy, upstream):
        text = (CONFIG % ("", "")).replace("batch: {}\n", "")
        async with proxied(text, up=upstream.url) as plain:
            assert (await ask(plain, [get("a")])).code == "ROUTE_NOT_FOUND"


async def test_a_listener_of_an_upstream_alone_has_every_path_for_it():
    async with batching(up="listen: {port: 0}") as (proxy, upstream):
        answer = await call(proxy.addresses["up"], "/-/batch", "POST", b"x")

        assert (answer.status, upstream.seen[0].path) == (200, "/-/batch")


async def test_a_batch_is_refused_without_the_token_before_it_is_read():
    text = (CONFIG % ("", "")).replace("listen: {port: 0}", "listen: {port: 0, token: sesame}")
    async with Upstream() as upstream, proxied(text, up=upstream.url) as proxy:
        refused = await ask(proxy, "nonsense")
        passed = await ask(proxy, [get("a")], headers={"Proxy-Authorization": "Bearer sesame"})
        own = [get("a", headers={"Proxy-Authorization": "Bearer else"})]
        not_passed = await ask(proxy, own, headers={"Proxy-Authorization": "Bearer sesame"})

        assert (refused.status, refused.code) == (401, "AUTHENTICATION_ERROR")
        assert len(passed.json()["successes"]) == 1
        assert not_passed.json()["failures"][0]["error"] == "AUTHENTICATION_ERROR"
        assert (upstream.requests, upstream.seen[0].header("proxy-authorization")) == (1, None)


async def test_a_page_of_another_origin_gets_no_item_to_an_upstream_with_our_key():
    async with batching(up="auth: {header: Authorization, value: ours}") as (proxy, upstream):
        told = (await ask(proxy, [get("a")], headers={"Sec-Fetch-Site": "cross-site"})).json()

        assert [it["error"] for it in told["failures"]] == ["AUTHORIZATION_ERROR"]
        assert upstream.requests == 0


async def test_a_batch_that_has_been_through_this_proxy_is_a_loop():
    async with batching() as (proxy, _):
        via = proxy.gateway.runtime.via.decode()

        assert (await ask(proxy, [get("a")], headers={"Via": via})).status == 508


@pytest.mark.parametrize(
    ("method", "headers", "body", "field"),
    [
        ("PUT", {"Content-Type": "application/json"}, b"{}", "method"),
        ("POST", {"Content-Type": "text/plain"}, b"{}", "Content-Type"),
        ("POST", {}, b"{}", "Content-Type"),
        (
            "POST",
            {"Content-Type": "application/json", "Content-Encoding": "gzip"},
            b"{}",
            "Content-Encoding",
        ),
        ("POST", {"Content-Type": "application/json"}, b"{", "body"),
        ("POST", {"Content-Type": "application/json"}, b"[]", "body"),
        ("POST", {"Content-Type": "application/json"}, None, "body"),
        (
            "POST",
            {"Content-Type": "application/json", "X-OctoLLM-Timeout": "soon"},
            b'{"requests": []}',
            "X-OctoLLM-Timeout",
        ),
    ],
)
async def test_what_is_no_batch_is_a_validation_error(method, headers, body, field):
    async with batching() as (proxy, _):
        answer = await call(proxy.addresses[""], "/-/batch", method, body, headers)

        assert (answer.status, answer.code) == (400, "VALIDATION_ERROR")
        assert answer.json()["details"]["field"] == field


async def test_all_that_is_wrong_is_told_at_once_and_nothing_is_sent():
    async with batching() as (proxy, upstream):
        items = [get("a"), get("b", method="BREW"), get("c", "x"), "d"]
        answer = await ask(proxy, items, deadline="soon")

        assert (answer.status, answer.code) == (422, "VALIDATION_ERRORS")
        assert [it["field"] for it in answer.json()["details"]["errors"]] == [
            "deadline",
            "requests[1].method",
            "requests[2].path",
            "requests[3]",
        ]
        assert upstream.requests == 0


async def test_an_upstream_that_is_not_there_is_the_failure_of_one_item():
    async with batching() as (proxy, _):
        told = (await ask(proxy, [get("a", "/nobody/x"), get("b")])).json()

        assert [it["error"] for it in told["failures"]] == ["ROUTE_NOT_FOUND"]
        assert [it["id"] for it in told["successes"]] == ["b"]


# Bounds


@pytest.mark.parametrize("announced", [True, False])
async def test_a_batch_that_is_too_large_is_refused(announced):
    async with batching("size: 1KiB") as (proxy, _):
        body = b" " * 2000
        headers = {"Content-Type": "application/json"}
        reader, writer = await connect(proxy.addresses[""])
        if announced:
            headers["Content-Length"] = str(len(body))
        else:
            headers["Transfer-Encoding"] = "chunked"
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        writer.write(request(proxy.addresses[""], "/-/batch", "POST", headers=headers) + body)
        refused = await answer(reader)
        writer.close()

        assert (refused.status, refused.code) == (413, "PAYLOAD_TOO_LARGE")


@pytest.mark.parametrize(
    ("wish", "peak"), [({"concurrency": 2}, 2), ({"concurrency": 99}, 3), ({}, 3)]
)
async def test_a_batch_has_as_many_items_under_way_as_it_asks_for_and_the_config_allows(wish, peak):
    async with batching("concurrency: 3") as (proxy, upstream):
        upstream.always(wait(1) + ok())

        await ask(proxy, [get(str(n)) for n in range(10)], **wish)

        assert upstream.peak == peak


@pytest.mark.parametrize(
    "sent", [ok(b"x" * 700), script.chunks(*[b"x" * 70] * 10)], ids=["at once", "in pieces"]
)
async def test_answers_beyond_the_memory_of_a_batch_are_failures(sent):
    async with batching("size: 2KiB") as (proxy, upstream):
        upstream.always(sent)

        told = (await ask(proxy, [get(str(n)) for n in range(5)], concurrency=1)).json()

        assert [it["id"] for it in told["successes"]] == ["0", "1"]
        assert {it["error"] for it in told["failures"]} == {"CAPACITY_EXCEEDED"}


async def test_what_grows_in_the_telling_is_bounded_too():
    async with batching("size: 1KiB") as (proxy, upstream):
        upstream.always(ok(b"\xff" * 1000))

        told = (await ask(proxy, [get("a")])).json()

        assert [it["error"] for it in told["failures"]] == ["CAPACITY_EXCEEDED"]


async def test_failures_take_no_more_memory_than_answers():
    async with batching("size: 1KiB", up="rewrite_client_errors: false") as (proxy, upstream):
        upstream.always(status(404, "x" * 900))

        told = (await ask(proxy, [get("a"), get("b")])).json()

        assert [it["error"] for it in told["failures"]] == ["CAPACITY_EXCEEDED"] * 2


async def test_lines_need_no_more_memory_than_what_is_under_way():
    async with batching("size: 2KiB") as (proxy, upstream):
        upstream.always(ok(b"x" * 1000))

        answer = await ask_lines(proxy, [get(str(n)) for n in range(20)], "?concurrency=1")

        assert answer.body.count(b'"status":200') == 20


async def test_the_memory_of_a_large_batch_is_bounded():
    async with batching("size: 4MiB") as (proxy, upstream):
        upstream.always(ok(b"x" * 50_000))
        base = proxy.addresses[""]
        items = [get(str(n)) for n in range(300)]
        text = json.dumps({"requests": items}).encode()
        fields = {"Content-Type": "application/json"}
        tracemalloc.start()
        try:
            reader, writer = await connect(base)
            writer.write(request(base, "/-/batch", "POST", text, fields))
            await reader.readuntil(b"\r\n\r\n")
            while not (await reader.read(1 << 16)).endswith(b"0\r\n\r\n"):
                pass
            writer.close()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert peak < 12 << 20  # 15 MiB were sent; 4 are kept, and some on their way twice


# Ends


async def test_what_is_not_done_by_the_deadline_is_a_timeout():
    async with batching() as (proxy, upstream):
        upstream.always(lambda seen: ok("done") if seen.path == "/fast" else hang())
        items = [get("a", "/up/fast"), get("b"), get("c"), get("d", "/up/fast")]

        told = (await ask(proxy, items, concurrency=1, deadline="30s")).json()

        assert [it["id"] for it in told["successes"]] == ["a"]
        assert [(it["id"], it["error"]) for it in told["failures"]] == [
            ("b", "TIMEOUT_ERROR"),
            ("c", "TIMEOUT_ERROR"),
            ("d", "TIMEOUT_ERROR"),
        ]
        assert told["failures"][0]["details"] == {
            "operation": "the batch",
            "timeout": 30,
            "request_id": told["failures"][0]["details"]["request_id"],
        }
        assert upstream.requests == 2
        assert await upstream.seen[1].hung_up()


@pytest.mark.real_time("asyncio", "uvloop")
async def test_the_loops_that_serve_keep_the_deadline_too():
    async with batching() as (proxy, upstream):
        upstream.always(lambda seen: ok() if seen.path == "/fast" else hang())
        items = [get("a", "/up/fast"), get("b"), get("c", "/up/fast")]

        told = (await ask(proxy, items, deadline="100ms")).json()

        assert [it["id"] for it in told["successes"]] == ["a", "c"]
        assert [it["error"] for it in told["failures"]] == ["TIMEOUT_ERROR"]


async def test_the_callers_own_deadline_counts_for_a_batch():
    async with batching() as (proxy, upstream):
        upstream.always(hang())

        answer = await ask(proxy, [get("a")], {"X-OctoLLM-Timeout": "2s"}, deadline="30s")

        assert answer.json()["failures"][0]["details"]["timeout"] == 2


async def test_a_caller_who_leaves_ends_the_rest_and_blames_nobody():
    async with batching() as (proxy, upstream):
        upstream.always(hang())
        base = proxy.addresses[""]
        _, writer = await connect(base)
        text = json.dumps({"requests": [get(str(n)) for n in range(50)], "concurrency": 5}).encode()
        writer.write(request(base, "/-/batch", "POST", text, {"Content-Type": "application/json"}))
        await upstream.asked(5)

        writer.close()

        assert [await seen.hung_up() for seen in upstream.seen] == [True] * 5
        await asyncio.sleep(10)
        assert upstream.requests == 5
        assert await metric(proxy, "octollm_proxy_requests_total", upstream="up", status="499") == 5
        assert await metric(proxy, "octollm_proxy_requests_total", upstream="-", status="499") == 1
        assert await metric(proxy, "octollm_errors_total") == 0
        assert await metric(proxy, "octollm_proxy_in_flight") == 0


async def test_while_draining_no_batch_begins_and_the_rest_of_one_is_turned_away():
    async with batching() as (proxy, upstream):
        upstream.always(wait(1) + ok())
        under_way = asyncio.ensure_future(ask(proxy, [get("a"), get("b")], concurrency=1))
        await upstream.asked()

        proxy.gateway.draining = True
        refused = await ask(proxy, [get("a")])
        told = (await under_way).json()

        assert (refused.status, refused.code) == (503, "CAPACITY_EXCEEDED")
        assert [it["id"] for it in told["successes"]] == ["a"]
        assert [(it["id"], it["error"]) for it in told["failures"]] == [("b", "CAPACITY_EXCEEDED")]


# JSON Lines


@pytest.mark.parametrize("media_type", ["application/jsonl", "application/x-ndjson; charset=utf-8"])
async def test_lines_are_answered_by_lines_as_each_is_done(media_type):
    def answered(seen: Seen) -> script.Answer:
        return wait(int(seen.path[1:])) + (ok({"a": 1}) if seen.path != "/2" else status(500))

    async with batching() as (proxy, upstream):
        upstream.always(answered)
        items = [get(f"after {n}", f"/up/{n}") for n in (3, 1, 2)]

        answer = await ask_lines(proxy, items, **{"Content-Type": media_type})

        lines = [json.loads(line) for line in answer.body.splitlines()]
        assert answer["content-type"] == media_type.partition(";")[0]
        assert [line["id"] for line in lines] == ["after 1", "after 2", "after 3"]
        assert [line.get("error") for line in lines] == [None, "LLM_API_ERROR", None]


async def test_a_line_is_there_before_the_next_is_done():
    async with batching() as (proxy, upstream):
        upstream.always(lambda seen: ok("done") if seen.path == "/fast" else hang())
        base = proxy.addresses[""]
        reader, writer = await connect(base)
        lines = json.dumps(get("a", "/up/fast")) + "\n\n" + json.dumps(get("b"))
        fields = {"Content-Type": "application/jsonl"}
        writer.write(request(base, "/-/batch?deadline=9s", "POST", lines.encode(), fields))
        await reader.readuntil(b"\r\n\r\n")

        first = await reader.readuntil(b"}\n\r\n")
        began = asyncio.get_running_loop().time()
        second = await reader.readuntil(b"}\n\r\n")

        assert (b'"id":"a"' in first, b'"id":"b"' in second) == (True, True)
        assert asyncio.get_running_loop().time() - began == pytest.approx(9, abs=0.5)
        writer.close()


async def test_no_lines_are_answered_by_none():
    async with batching() as (proxy, _):
        answer = await ask_lines(proxy, [])

        assert (answer.status, answer.body, answer.whole) == (200, b"", True)


async def test_of_lines_too_all_that_is_wrong_is_told_before_anything_is_sent():
    async with batching() as (proxy, upstream):
        answer = await ask_lines(proxy, [get("a"), 3, get("a")], "?concurrency=none&else=1")

        assert answer.code == "VALIDATION_ERRORS"
        assert [it["field"] for it in answer.json()["details"]["errors"]] == [
            "",
            "concurrency",
            "requests[1]",
            "requests[2].id",
        ]
        assert upstream.requests == 0


@pytest.mark.parametrize("lines", [True, False])
async def test_who_reads_slowly_gets_every_byte_and_holds_the_rest_up(lines):
    async with batching() as (proxy, upstream):
        upstream.always(ok(b"x" * 200_000))
        base = proxy.addresses[""]
        reader, writer = await connect(base)
        items = [get(str(n)) for n in range(60)]
        text = json.dumps({"requests": items}).encode()
        if lines:
            text = b"\n".join(json.dumps(item).encode() for item in items)
        media_type = "application/jsonl" if lines else "application/json"
        writer.write(request(base, "/-/batch", "POST", text, {"Content-Type": media_type}))
        await asyncio.sleep(5)
        if lines:
            assert upstream.requests < 60

        told = await answer(reader)

        assert told.whole
        assert told.body.count(b'"status":200') == 60
        writer.close()


# The page about it


async def test_the_example_of_the_page_is_answered_as_it_says():
    page = (ROOT / "docs" / "batch.md").read_text()
    (config,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    sent, told = re.findall(r"```json\n(.*?)```", page, re.DOTALL)

    def answered(seen: Seen) -> script.Answer:
        is_good = seen.path.endswith("/embeddings")
        return ok({"data": []}) if is_good else status(404, "no such model")

    async with Upstream() as upstream:
        upstream.always(answered)
        config = "listen: {port: 0}\nadmin: {port: 0}\n" + config
        async with proxied(config.replace("https://api.openai.com", upstream.url)) as proxy:
            fields = {"Content-Type": "application/json", "X-Request-ID": "b7"}
            answer = await call(proxy.addresses[""], "/-/batch", "POST", sent.encode(), fields)

    found, expected = answer.json(), json.loads(told)
    (success,), (wanted,) = found["successes"], expected["successes"]
    success["headers"] = {name: success["headers"][name] for name in wanted["headers"]}
    assert found == expected
