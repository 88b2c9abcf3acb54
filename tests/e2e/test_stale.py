"""A connection that was kept, and that the upstream no longer wants: nobody's failure."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from e2e.support import call, metric, proxied

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@asynccontextmanager
async def forgetful(settings, answers=1, said=b"", together=1):
    """An upstream that answers so often on a connection, and then says *said* and closes it.

    It answers /a to so many *together*.
    """
    heads = []
    crowd = asyncio.Barrier(together)

    async def connected(reader, writer):
        try:
            for _ in range(answers):
                heads.append(await reader.readuntil(b"\r\n\r\n"))
                if b"/a" in heads[-1]:
                    await crowd.wait()
                writer.write(OK)
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(said)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listener = await asyncio.start_server(connected, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    text = (
        f'{{version: 1, listen: {{port: 0}}, admin: {{port: 0}}, upstreams: {{up: {{url: "${{UP}}",'
        f" {settings}}}}}}}"
    )
    try:
        async with proxied(text, up=f"http://127.0.0.1:{port}") as proxy:
            yield proxy, heads
    finally:
        listener.close()


@pytest.mark.parametrize(
    ("settings", "method"),
    [
        ("kind: llm", "POST"),
        ("kind: http", "GET"),
        ("kind: http", "PUT"),
        ("limits: {connections: 1, pending: 0}", "GET"),
    ],
)
async def test_a_call_on_a_stale_connection_goes_out_again_at_once_on_a_fresh_one(settings, method):
    async with forgetful(f"{settings}, breaker: {{failure_threshold: 1}}") as (proxy, heads):
        loop = asyncio.get_running_loop()
        body = None if method == "GET" else b"{}"
        first = await call(proxy.addresses[""], "/up/a", method, body)
        began = loop.time()
        second = await call(proxy.addresses[""], "/up/b", method, body)

        assert loop.time() - began < 0.1
        assert [first["X-OctoLLM-Attempts"], second["X-OctoLLM-Attempts"]] == ["1", "2"]
        assert (second.status, second.body) == (200, b"ok")
        assert [head.split()[1] for head in heads] == [b"/a", b"/b", b"/b"]
        name = "octollm_proxy_attempts_total"
        assert await metric(proxy, name, outcome="reset") == 1
        assert await metric(proxy, name, outcome="success") == 2
        assert await metric(proxy, "octollm_proxy_retries_total", reason="reset") == 1
        assert await metric(proxy, "octollm_proxy_breaker_state", state="closed") == 1


async def test_when_one_connection_is_stale_the_older_ones_are_not_tried():
    async with forgetful("retry: {jitter: false}", together=5) as (proxy, heads):
        await asyncio.gather(*[call(proxy.addresses[""], "/up/a") for _ in range(5)])

        last = await call(proxy.addresses[""], "/up/b")

        assert (last.status, last["X-OctoLLM-Attempts"], len(heads)) == (200, "2", 7)


async def test_a_fresh_connection_that_ends_so_too_is_a_failure_with_its_wait():
    async with forgetful(
        "retry: {base_delay: 8s, jitter: false, max_retries: 2}", answers=0
    ) as (proxy, heads):  # fmt: skip
        began = asyncio.get_running_loop().time()
        failed = await call(proxy.addresses[""], "/up/a")

        assert asyncio.get_running_loop().time() - began == pytest.approx(24, abs=1)
        assert (failed.code, len(heads)) == ("NETWORK_ERROR", 3)
        # The upstream is blamed for each of them.
        assert await metric(proxy, "octollm_proxy_breaker_failure_ratio") == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("unsafe_methods: never", b""),  # it may have been acted on
        ("max_retries: 0", b""),
        ("unsafe_methods: always, jitter: false, max_retries: 0", b"HTTP/1.1 2"),
    ],
)
async def test_where_the_rules_forbid_a_repeat_the_caller_is_told(settings, said):
    async with forgetful(f"retry: {{{settings}}}", said=said) as (proxy, heads):
        await call(proxy.addresses[""], "/up/a", "POST", b"{}")
        failed = await call(proxy.addresses[""], "/up/b", "POST", b"{}")

        assert (failed.status, failed.code, len(heads)) == (502, "NETWORK_ERROR", 2)
        # An answer that has begun is the upstream's to end.
        ratio = await metric(proxy, "octollm_proxy_breaker_failure_ratio")
        assert ratio == (0.5 if said else 0)


async def test_a_half_answer_on_a_kept_connection_is_a_failure_with_its_wait():
    settings = "retry: {base_delay: 8s, jitter: false}"
    async with forgetful(settings, said=b"HTTP/1.1 2") as (proxy, _):
        await call(proxy.addresses[""], "/up/a")
        began = asyncio.get_running_loop().time()
        assert (await call(proxy.addresses[""], "/up/b")).status == 200
        assert asyncio.get_running_loop().time() - began == pytest.approx(8, abs=1)
