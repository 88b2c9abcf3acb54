"""The cache, end to end: what is kept, for whom, and what happens while the upstream fails."""

import asyncio

from e2e.support import call, proxied

from proxy.testing import script
from proxy.testing.upstream import Upstream

TEXT = """
version: 1
listen: {port: 0}
admin: {port: 0}
upstreams:
  up:
    url: "${UP}"
    retry: {max_retries: 0}
    cache: {ttl: 60s, stale_if_error: 1h, match: [{path: /v1/embeddings, methods: [POST]}, {}]}
"""

KEY, OTHER = {"Authorization": "Bearer a"}, {"Authorization": "Bearer b"}


def told(answer):
    return answer.status, answer.body, answer.get("x-octollm-cache")


async def test_the_same_question_is_asked_once_for_each_credential():
    async with Upstream() as up, proxied(TEXT, up=up.url) as proxy:
        base = proxy.addresses[""]
        up.script(script.ok("one", set_cookie="a=b"), script.ok("two"))

        first = await call(base, "/up/x", headers=KEY)
        again = await call(base, "/up/x", headers=KEY)
        assert told(first) == (200, b"one", "miss")
        assert told(again) == (200, b"one", "hit")
        assert (first["set-cookie"], again.get("set-cookie")) == ("a=b", None)
        assert again["age"] == "0"
        assert again["x-octollm-attempts"] == "0"
        assert told(await call(base, "/up/x", headers=OTHER)) == (200, b"two", "miss")


async def test_a_post_is_kept_by_its_body():
    async with Upstream() as up, proxied(TEXT, up=up.url) as proxy:
        base = proxy.addresses[""]
        up.always(script.ask(lambda seen: script.ok(seen.body)))
        path = "/up/v1/embeddings"

        assert told(await call(base, path, "POST", b"a")) == (200, b"a", "miss")
        assert told(await call(base, path, "POST", b"b")) == (200, b"b", "miss")
        assert told(await call(base, path, "POST", b"a")) == (200, b"a", "hit")
        assert told(await call(base, "/up/v1/chat", "POST", b"a")) == (200, b"a", None)
        assert told(await call(base, path, "POST", b"a", {"Cache-Control": "no-store"}))[2] is None


async def test_a_hundred_who_ask_the_same_are_one_call_whoever_leaves_first():
    async with Upstream() as up, proxied(TEXT, up=up.url) as proxy:
        base = proxy.addresses[""]
        up.always(script.wait(5) + script.ok("one"))
        first = asyncio.create_task(call(base, "/up/x"))
        await up.asked()
        others = [asyncio.create_task(call(base, "/up/x")) for _ in range(100)]
        await asyncio.sleep(1)
        first.cancel()

        answers = await asyncio.gather(*others)
        assert {told(answer) for answer in answers} == {(200, b"one", "hit")}
        assert up.requests == 1


async def test_all_who_leave_end_the_call():
    async with Upstream() as up, proxied(TEXT, up=up.url) as proxy:
        base = proxy.addresses[""]
        up.always(script.hang())
        callers = [asyncio.create_task(call(base, "/up/x")) for _ in range(3)]
        await up.asked()
        await asyncio.sleep(1)
        for caller in callers:
            caller.cancel()
        await asyncio.sleep(1)
        assert proxy.gateway.runtime.upstreams["up"].load.count == 0
        assert up.in_flight == 0


async def test_a_stream_and_a_large_answer_go_on_live():
    async with Upstream() as up, proxied(TEXT, up=up.url) as proxy:
        base = proxy.addresses[""]
        up.script(
            script.event_stream([b"data: a\n\n", b"data: [DONE]\n\n"]), script.ok(b"x" * (2 << 20))
        )

        stream = await call(base, "/up/x")
        assert (stream.status, stream["x-octollm-cache"]) == (200, "miss")
        large = await call(base, "/up/x")
        assert (len(large.body), large["x-octollm-cache"]) == (2 << 20, "miss")


async def test_a_cut_answer_is_an_envelope():
    async with Upstream() as up, proxied(TEXT, up=up.url) as proxy:
        up.script(script.short("hello"), script.ok("one"))
        cut = await call(proxy.addresses[""], "/up/x")
        assert (cut.status, cut.code) == (502, "NETWORK_ERROR")
        assert told(await call(proxy.addresses[""], "/up/x")) == (200, b"one", "miss")


async def test_an_older_answer_stands_in_while_the_upstream_fails():
    text = TEXT.replace("ttl: 60s", "ttl: 1ms")
    async with Upstream() as up, proxied(text, up=up.url) as proxy:
        base = proxy.addresses[""]
        up.script(script.ok("one"))
        up.always(script.status(503))
        while (await call(base, "/up/x"))["x-octollm-cache"] != "stale":
            pass  # the wall's clock is real: a millisecond has to pass
        answers = [told(await call(base, "/up/x")) for _ in range(8)]
        assert set(answers) == {(200, b"one", "stale")}
        assert up.requests <= 6  # the circuit is open
        assert (await call(base, "/up/y")).status == 503


async def test_a_caller_in_a_hurry_does_not_hurry_the_others():
    async with Upstream() as up, proxied(TEXT, up=up.url) as proxy:
        base = proxy.addresses[""]
        up.always(script.wait(5) + script.ok("one"))
        hurried = asyncio.create_task(call(base, "/up/x", headers={"X-OctoLLM-Timeout": "2s"}))
        await up.asked()
        other = asyncio.create_task(call(base, "/up/x"))
        brief = asyncio.create_task(call(base, "/up/x", headers={"X-OctoLLM-Timeout": "1s"}))

        assert (await brief).code == (await hurried).code == "TIMEOUT_ERROR"
        assert told(await other) == (200, b"one", "miss")
        assert up.requests == 2


async def test_what_a_fallback_says_is_not_kept():
    text = TEXT.replace("    retry:", "    fallback: [{upstream: other}]\n    retry:")
    text += '  other: {url: "${OTHER}"}\n'
    async with (
        Upstream() as up,
        Upstream() as other,
        proxied(text, up=up.url, other=other.url) as it,
    ):
        up.script(script.status(503), script.ok("one"))
        other.script(script.ok("theirs"))
        base = it.addresses[""]

        assert told(await call(base, "/up/x")) == (200, b"theirs", "miss")
        assert told(await call(base, "/up/x")) == (200, b"one", "miss")
        assert told(await call(base, "/up/x")) == (200, b"one", "hit")
