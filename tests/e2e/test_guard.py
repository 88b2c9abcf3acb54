"""The guard, end to end: what it keeps in, what it lets out, and that it tells nobody."""

import asyncio
import io
import json

import pytest
from e2e.support import answer, call, connect, metric, proxied, request

from proxy.observe import logs
from proxy.testing.script import hang, ok, status
from proxy.testing.upstream import Upstream

CONFIG = """
version: 1
listen: {{port: 0}}
admin: {{port: 0}}
upstreams:
  up:
    url: "${{UP}}"
    retry: {{max_retries: 1, jitter: false, unsafe_methods: always}}
    guard: {}
"""
CANARY = "zoe.canary@example.com"
ASKED = json.dumps({"model": "m", "messages": [{"role": "user", "content": f"I am {CANARY}"}]})
SENT = ASKED.encode()
REDACTED = ASKED.replace(CANARY, "[EMAIL_1]").encode()
FINDINGS, PASSED = "octollm_proxy_guard_findings_total", "octollm_proxy_guard_passed_total"


def guarded(upstream: Upstream, guard: str, more: str = "", **urls: str):
    return proxied(CONFIG.format(guard) + more, up=upstream.url, **urls)


async def ask(proxy, body=SENT, **fields):
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    return await call(proxy.addresses[""], "/up/v1/x", "POST", body, headers)


async def chunked(proxy, *pieces: bytes, seconds=0.0, **fields):
    reader, writer = await connect(proxy.addresses[""])
    try:
        headers = {"Transfer-Encoding": "chunked"}
        headers |= {name.replace("_", "-"): value for name, value in fields.items()}
        writer.write(request(proxy.addresses[""], "/up/v1/x", "POST", headers=headers))
        for piece in pieces:
            await asyncio.sleep(seconds)
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        writer.write(b"0\r\n\r\n")
        return await answer(reader, "POST")
    finally:
        writer.close()


async def test_redact_sends_marks_and_every_attempt_the_same():
    async with Upstream() as up, guarded(up, "{pii: redact}") as proxy:
        up.script(status(503), ok("told"))

        told = await ask(proxy)

        assert (told.status, told.body, told["x-octollm-attempts"]) == (200, b"told", "2")
        assert [seen.body for seen in up.seen] == [REDACTED, REDACTED]
        assert await metric(proxy, FINDINGS, pattern="email", action="redact") == 1
        assert proxy.gateway.runtime.memory.used == 0


async def test_report_counts_and_sends_what_came():
    async with Upstream() as up, guarded(up, "{pii: report}") as proxy:
        up.always(ok())
        await ask(proxy)
        assert up.seen[0].body == SENT
        assert await metric(proxy, FINDINGS, pattern="email", action="report") == 1


async def test_block_names_pattern_and_place_and_the_value_is_nowhere():
    stream = io.BytesIO()
    logs.configure("debug", "json", stream)
    try:
        async with Upstream() as up, guarded(up, "{pii: block}") as proxy:
            told = await ask(proxy, accept="application/json")
            problem = await ask(proxy, accept="application/problem+json")
            scraped = await call(proxy.addresses["admin"], "/metrics")
            assert await metric(proxy, FINDINGS, pattern="email", action="block") == 2
            assert up.requests == 0
    finally:
        logs.close()

    assert (told.status, told.code) == (400, "PII_DETECTED")
    assert told.json()["details"]["found"] == [{"pattern": "email", "path": "messages[0].content"}]
    assert told["x-octollm-attempts"] == "0"
    said = told.body + problem.body + scraped.body + stream.getvalue()
    assert b"PII_DETECTED" in stream.getvalue()
    assert b"canary" not in said


@pytest.mark.parametrize("guard", ["{pii: report}", "{pii: redact}", "{max_prompt_chars: 100}"])
async def test_what_the_guard_reads_stands_in_no_log(guard):
    stream = io.BytesIO()
    logs.configure("debug", "json", stream)
    try:
        async with Upstream() as up, guarded(up, guard) as proxy:
            up.always(status(500))
            await ask(proxy)
            await ask(proxy, b'{"prompt": "' + CANARY.encode() * 9 + b'"}')
            await ask(proxy, b'{"prompt": "' + CANARY.encode())
    finally:
        logs.close()
    assert b"request.failed" in stream.getvalue()
    assert b"canary" not in stream.getvalue()


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        (b'{"prompt": "x", }', "body", "is not JSON: expected a string at character 16"),
        (b"\xff", "body", "is not JSON: expected UTF-8 at byte 0"),
        (b'{"prompt": "' + b"x" * 11 + b'"}', "messages, input, prompt", "has 11 characters"),
    ],
)
async def test_what_is_no_json_or_too_long_is_refused(body, field, words):
    async with Upstream() as up, guarded(up, "{max_prompt_chars: 10}") as proxy:
        told = await ask(proxy, body)
        assert (told.status, told.code) == (422, "VALIDATION_ERRORS")
        (fault,) = told.json()["details"]["errors"]
        assert fault["field"] == field
        assert words in fault["message"]
        assert up.requests == 0


async def test_what_has_no_body_passes():
    async with Upstream() as up, guarded(up, "{pii: block}") as proxy:
        up.always(ok())
        assert (await call(proxy.addresses[""], f"/up/x?q={CANARY}")).status == 200
        assert (await ask(proxy, b"")).status == 200
        assert (await chunked(proxy)).status == 200
        assert await metric(proxy, PASSED) == 0


@pytest.mark.parametrize("pieces", [1, 7])
async def test_an_upload_without_a_length_is_looked_into_when_it_is_here(pieces):
    size = -(-len(ASKED) // pieces)
    parts = [SENT[at : at + size] for at in range(0, len(ASKED), size)]
    async with Upstream() as up, guarded(up, "{pii: redact}") as proxy:
        up.always(ok())
        assert (await chunked(proxy, *parts, seconds=0.5)).status == 200
        assert up.seen[0].body == REDACTED
        assert up.seen[0].header("content-length") == str(len(REDACTED))
        assert up.seen[0].header("transfer-encoding") is None


LARGE = b'{"prompt": "' + b"x" * (40 << 10) + CANARY.encode() + b'"}'


@pytest.mark.parametrize("send", [ask, chunked])
@pytest.mark.parametrize("oversize", ["refuse", "pass"])
async def test_a_body_beyond_the_limit_is_refused_or_passed_and_counted(send, oversize):
    guard = f"{{pii: block, inspect_limit: 16KiB, oversize: {oversize}}}"
    async with Upstream() as up, guarded(up, guard) as proxy:
        up.always(ok())
        told = await send(proxy, LARGE)
        if oversize == "refuse":
            assert (told.status, told.code, up.requests) == (413, "PAYLOAD_TOO_LARGE", 0)
        else:
            assert (told.status, up.seen[0].body) == (200, LARGE)
        assert await metric(proxy, PASSED, upstream="up") == (oversize == "pass")


async def test_a_body_beyond_replay_limit_is_passed_where_that_is_said():
    guard = "{pii: block, inspect_limit: 16KiB, oversize: pass}\n    replay_limit: 16KiB"
    async with Upstream() as up, guarded(up, guard) as proxy:
        up.always(ok())
        assert (await ask(proxy, LARGE)).status == 200
        assert up.seen[0].body == LARGE


async def test_of_an_upload_that_does_not_tell_its_length_the_beginning_must_be_kept():
    guard = "{pii: block, inspect_limit: 16KiB, oversize: pass}\n    replay_limit: 16KiB"
    async with Upstream() as up, guarded(up, guard) as proxy:
        up.always(ok())
        told = await chunked(proxy, LARGE)
        assert (told.status, told.code, up.requests) == (413, "PAYLOAD_TOO_LARGE", 0)


async def test_the_rate_turns_away_what_is_then_not_read():
    guard = "{pii: block}\n    limits: {rate: {limit: 1, window: 1h}}"
    async with Upstream() as up, guarded(up, guard) as proxy:
        up.always(ok())
        assert (await ask(proxy, b"{}")).status == 200
        loop = asyncio.get_running_loop()
        began = loop.time()
        reader, writer = await connect(proxy.addresses[""])
        about = {"Content-Length": "1000"}
        writer.write(request(proxy.addresses[""], "/up/x", "POST", headers=about))
        assert (await answer(reader, "POST")).status == 429
        assert loop.time() - began < 1
        writer.close()


async def test_a_compressed_body_cannot_be_looked_into():
    for oversize, expected in (("refuse", 413), ("pass", 200)):
        guard = f"{{pii: block, oversize: {oversize}}}"
        async with Upstream() as up, guarded(up, guard) as proxy:
            up.always(ok())
            told = await ask(proxy, b"\x1f\x8b...", content_encoding="gzip")
            assert told.status == expected
            assert up.requests == (expected == 200)


@pytest.mark.parametrize("oversize", ["refuse", "pass"])
async def test_a_body_that_does_not_come_in_time_is_a_timeout_and_goes_nowhere(oversize):
    guard = f"{{pii: block, oversize: {oversize}}}"
    async with Upstream() as up, guarded(up, guard) as proxy:
        up.always(ok())
        halves = ASKED[:20].encode(), ASKED[20:].encode()

        told = await chunked(proxy, *halves, seconds=2.0, X_OctoLLM_Timeout="3s")

        assert (told.status, told.code) == (504, "TIMEOUT_ERROR")
        assert up.requests == 0
        assert await metric(proxy, PASSED) == 0


async def test_a_body_for_which_there_is_no_memory_now_is_not_called_too_large():
    guard = "{pii: block}\nlimits: {replay_memory: 100B}"
    async with Upstream() as up, guarded(up, guard) as proxy:
        told = await ask(proxy, b'{"prompt": "' + b"x" * 200 + b'"}')
        assert (told.status, told.code) == (503, "CAPACITY_EXCEEDED")
        assert up.requests == 0


async def test_the_guard_belongs_to_the_upstream_that_it_protects():
    more = "    fallback: [{upstream: spare}]\n  spare: {url: '${SPARE}'}\n"
    async with Upstream() as up, Upstream() as spare:
        up.always(status(503))
        spare.always(ok("spare"))
        async with guarded(up, "{pii: redact}", more, spare=spare.url) as proxy:
            assert (await ask(proxy)).body == b"spare"
            assert up.seen[0].body == REDACTED
            assert spare.seen[0].body == SENT


async def test_a_blocked_request_is_the_callers_fault_and_goes_to_no_fallback():
    more = "    fallback: [{upstream: spare}]\n  spare: {url: '${SPARE}'}\n"
    async with Upstream() as up, Upstream() as spare:
        async with guarded(up, "{pii: block}", more, spare=spare.url) as proxy:
            assert (await ask(proxy)).code == "PII_DETECTED"
            assert up.requests == spare.requests == 0


async def test_a_fallback_with_a_guard_of_its_own_gets_what_that_lets_out():
    more = (
        "    fallback: [{upstream: spare, set: {model: small, user: me@example.com}}]\n"
        "  spare: {url: '${SPARE}', guard: {pii: redact}}\n"
    )
    async with Upstream() as up, Upstream() as spare:
        up.always(status(503))
        spare.always(ok("spare"))
        async with guarded(up, "{}", more, spare=spare.url) as proxy:
            assert (await ask(proxy)).body == b"spare"
            assert up.seen[0].body == SENT
            sent = spare.seen[0].json()
            assert sent["messages"][0]["content"] == "I am [EMAIL_1]"
            assert (sent["model"], sent["user"]) == ("small", "me@example.com")


async def test_no_hedge_carries_what_was_let_out_for_another():
    text = """
version: 1
listen: {port: 0}
admin: {port: 0}
defaults: {hedge: {delay: 300ms}, retry: {max_retries: 0}}
upstreams:
  one: {url: "${ONE}", provider: qdrant, kind: vectordb}
  two: {url: "${TWO}", provider: qdrant, kind: vectordb, guard: {pii: redact, fields: [query]}}
pools:
  both: {members: [one, two], strategy: priority}
"""
    body = json.dumps({"query": CANARY}).encode()
    async with Upstream() as one, Upstream() as two:
        one.script(hang())
        one.always(ok("one"))
        two.always(ok("two"))
        async with proxied(text, one=one.url, two=two.url) as proxy:
            path = "/both/collections/c/points/search"
            told = await call(proxy.addresses[""], path, "POST", body)
            assert (told.body, two.requests) == (b"one", 0)


async def test_an_answer_that_is_kept_was_asked_for_with_marks():
    guard = "{pii: redact}\n    cache: {ttl: 60s, methods: [POST]}"
    async with Upstream() as up, guarded(up, guard) as proxy:
        up.always(ok("told"))
        assert [(await ask(proxy))["x-octollm-cache"] for _ in range(2)] == ["miss", "hit"]
        other = ASKED.replace("zoe", "joe").encode()
        assert (await ask(proxy, other))["x-octollm-cache"] == "miss"
        assert [seen.body for seen in up.seen] == [REDACTED, REDACTED]


async def test_what_is_blocked_is_blocked_for_all_who_ask_the_same_and_nothing_is_kept():
    guard = "{pii: block}\n    cache: {ttl: 60s, stale_if_error: 1h, methods: [POST]}"
    async with Upstream() as up, guarded(up, guard) as proxy:
        answers = await asyncio.gather(*(ask(proxy) for _ in range(5)))
        assert {answer.code for answer in answers} == {"PII_DETECTED"}
        assert up.requests == 0
        assert await metric(proxy, "octollm_proxy_cache_bytes") == 0


async def test_a_route_has_a_guard_of_its_own():
    guard = "{pii: redact}\n    routes: [{match: {path: /v1/x}, guard: {pii: none}}]"
    async with Upstream() as up, guarded(up, guard) as proxy:
        up.always(ok())
        await ask(proxy)
        await call(proxy.addresses[""], "/up/v1/y", "POST", SENT)
        assert [seen.body for seen in up.seen] == [SENT, REDACTED]


async def test_who_waits_to_be_told_to_send_is_told_so():
    async with Upstream() as up, guarded(up, "{pii: redact}") as proxy:
        up.always(ok())
        reader, writer = await connect(proxy.addresses[""])
        about = {"Expect": "100-continue", "Content-Length": str(len(ASKED))}
        writer.write(request(proxy.addresses[""], "/up/x", "POST", headers=about))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        writer.write(SENT)
        while (told := await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 "):
            pass  # the upstream may say so too
        assert told.startswith(b"HTTP/1.1 200 ")
        writer.close()
        assert up.seen[0].body == REDACTED


async def until(true):
    """Let the loop go on until it is so."""
    while not true():  # noqa: ASYNC110 -- nothing says so but what is looked at
        await asyncio.sleep(0)


@pytest.mark.real_time("asyncio", "uvloop")
async def test_a_large_body_is_looked_into_beside_the_loop_and_a_caller_may_leave_meanwhile():
    body = b'{"prompt": "' + f"{CANARY} and then some prose. ".encode() * 20_000 + b'"}'
    async with Upstream() as up, guarded(up, "{pii: redact}") as proxy:
        up.always(ok())
        runtime = proxy.gateway.runtime
        leaving = asyncio.create_task(ask(proxy, body))
        await until(lambda: runtime.memory.used)
        leaving.cancel()
        staying = asyncio.create_task(ask(proxy, body))
        small = await ask(proxy)  # the loop is not held up by them
        assert small.status == 200
        assert not staying.done()
        assert (await staying).status == 200
        await until(lambda: not runtime.in_flight())

        assert runtime.memory.used == 0
        assert up.requests == 2
        assert all(b"canary" not in seen.body for seen in up.seen)
