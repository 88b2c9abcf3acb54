import asyncio
import gzip
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
import zlib

import aiohttp
import pytest

from proxy.testing.script import (
    ask,
    body,
    chunks,
    close,
    cut_chunk,
    drip,
    early,
    event_stream,
    garbage,
    half_a_head,
    hang,
    head,
    http_date,
    interim,
    last_chunk,
    long,
    no_last_chunk,
    ok,
    reset,
    send,
    short,
    status,
    until_close,
    wait,
)
from proxy.testing.upstream import Upstream, _serve


def loop_time() -> float:
    return asyncio.get_running_loop().time()


@pytest.fixture
async def upstream():
    async with Upstream() as upstream:
        yield upstream


@pytest.fixture
async def client(upstream):
    async with aiohttp.ClientSession(upstream.url) as session:
        yield session


async def talk(upstream: Upstream, data: bytes) -> bytes:
    """Say *data* and give what is answered before the connection ends; a reset raises."""
    reader, writer = await asyncio.open_connection(upstream.host, upstream.port)
    try:
        writer.write(data)
        return await reader.read()
    finally:
        writer.close()


GET = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


async def test_answers_follow_the_script_and_then_the_path(upstream, client):
    upstream.script(status(503), ok("at last"))
    statuses = []
    for path in ("/a", "/b", "/status/418"):
        async with client.get(path) as response:
            statuses.append(response.status)
    assert statuses == [503, 200, 418]
    assert [seen.target for seen in upstream.seen] == ["/a", "/b", "/status/418"]


async def test_what_is_told_with_always_stands_behind_the_script_until_it_is_taken_back(
    upstream, client
):
    upstream.always(status(500))
    upstream.script(ok())
    statuses = []
    for _ in range(3):
        async with client.get("/status/204") as response:
            statuses.append(response.status)
    upstream.always(None)
    async with client.get("/status/204") as response:
        statuses.append(response.status)
    assert statuses == [200, 500, 500, 204]


async def test_an_answer_can_depend_on_the_whole_request(upstream, client):
    upstream.script(lambda seen: ok(bytes(seen.body[::-1])))
    async with client.post("/", data=b"abc") as response:
        assert await response.read() == b"cba"


async def test_a_request_is_remembered_as_it_came(upstream):
    await talk(
        upstream,
        b"PUT /a%2Fb?c=%20 HTTP/1.1\r\nHOST: x\r\nX-Two: 1\r\nx-two:  2 \r\n"
        b'Connection: close\r\nContent-Length: 8\r\n\r\n{"a": 1}',
    )
    [seen] = upstream.seen
    assert (seen.method, seen.target, seen.path) == ("PUT", "/a%2Fb?c=%20", "/a%2Fb")
    assert seen.version == (1, 1)
    assert seen.headers[:3] == [(b"HOST", b"x"), (b"X-Two", b"1"), (b"x-two", b"2")]
    assert (seen.values("x-two"), seen.header("X-TWO"), seen.header("x-three")) == (
        ["1", "2"],
        "1, 2",
        None,
    )
    assert (seen.body, seen.json()) == (b'{"a": 1}', {"a": 1})
    assert seen.complete
    assert seen.answered
    assert seen.last_on_connection


async def test_a_chunked_request_is_read_with_its_trailers(upstream):
    await talk(
        upstream,
        b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: Chunked\r\n\r\n"
        b"3;note=x\r\nabc\r\nA\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n",
    )
    assert upstream.seen[0].body == b"abc0123456789"
    assert upstream.seen[0].trailers == [(b"X-Sum", b"1")]


async def test_a_connection_is_kept_and_numbered(upstream, client):
    for _ in range(2):
        async with client.get("/ok") as response:
            await response.read()
    await talk(upstream, GET)
    assert [seen.connection for seen in upstream.seen] == [1, 1, 2]
    assert upstream.connections == 2


async def test_requests_sent_in_one_go_are_answered_in_order(upstream):
    upstream.script(ok("one"), ok("two"))
    told = await talk(upstream, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + GET)
    assert told.index(b"one") < told.index(b"two")


async def test_an_http_1_0_connection_ends_after_its_answer_unless_asked_otherwise(upstream):
    upstream.script(ok("one"), ok("two"))
    old = b"GET / HTTP/1.0\r\n"
    assert b"two" in await talk(upstream, old + b"Connection: Keep-Alive\r\n\r\n" + old + b"\r\n")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: \x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\na",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 70_000 + b"\r\n\r\n",
    ],
)
async def test_a_malformed_head_is_a_fault_and_no_request(upstream, request_bytes):
    assert (await talk(upstream, request_bytes)).startswith(b"HTTP/1.1 400 ")
    assert (len(upstream.faults), len(upstream.seen)) == (1, 0)


@pytest.mark.parametrize(
    "chunks", [b"0x1\r\na\r\n0\r\n\r\n", b"1\r\nab\r\n0\r\n\r\n", b"-1\r\n\r\n", b"1" * 70_000]
)
async def test_a_malformed_body_is_a_fault_of_a_request_seen(upstream, chunks):
    start = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert (await talk(upstream, start + chunks)).startswith(b"HTTP/1.1 400 ")
    assert (len(upstream.faults), len(upstream.seen)) == (1, 1)
    assert not upstream.seen[0].complete
    assert not await upstream.seen[0].hung_up()


async def test_who_leaves_half_a_head_behind_was_never_there(upstream):
    _, writer = await asyncio.open_connection(upstream.host, upstream.port)
    writer.write(b"GET / HT")
    writer.close()
    await writer.wait_closed()
    await talk(upstream, GET)
    assert (len(upstream.seen), upstream.faults) == (1, [])


async def test_a_caller_who_hangs_up_is_noticed_at_once(upstream):
    upstream.script(hang())
    _, writer = await asyncio.open_connection(upstream.host, upstream.port)
    writer.write(GET)
    seen = await upstream.asked()
    assert upstream.in_flight == 1
    await asyncio.sleep(2)
    writer.close()
    assert await seen.hung_up()
    assert seen.left_at - seen.at == pytest.approx(2)
    assert not seen.answered
    assert (upstream.in_flight, upstream.peak) == (0, 1)


@pytest.mark.parametrize("answer", [wait(600) + ok(), drip(b"abc", 60), wait(600)])
async def test_a_caller_who_leaves_ends_the_answer(upstream, answer):
    upstream.script(answer)
    _, writer = await asyncio.open_connection(upstream.host, upstream.port)
    writer.write(GET)
    seen = await upstream.asked()
    await asyncio.sleep(1)
    writer.close()
    assert await seen.hung_up()
    assert loop_time() - seen.at == pytest.approx(1)


async def test_a_caller_who_leaves_in_its_own_body_is_noticed(upstream):
    _, writer = await asyncio.open_connection(upstream.host, upstream.port)
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
    seen = await upstream.asked()
    writer.close()
    assert await seen.hung_up()
    assert (bytes(seen.body), seen.complete) == (b"abc", False)


@pytest.mark.parametrize("chunks", [b"3\r\nab", b"3\r\nabc\r\n1"])
async def test_a_caller_who_leaves_in_a_chunk_is_noticed(upstream, chunks):
    _, writer = await asyncio.open_connection(upstream.host, upstream.port)
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
    seen = await upstream.asked()
    writer.close()
    assert await seen.hung_up()


async def test_a_caller_who_does_not_read_holds_the_answer_up(upstream):
    upstream.script(ok(b"x" * (32 << 20)))
    _, writer = await asyncio.open_connection(upstream.host, upstream.port)
    writer.write(GET)
    seen = await upstream.asked()
    await asyncio.sleep(60)
    assert not seen.over.is_set()
    writer.transport.abort()
    assert await seen.hung_up()


async def test_a_caller_who_does_not_stay_for_the_answer_is_noticed(upstream):
    _, writer = await asyncio.open_connection(upstream.host, upstream.port)
    writer.write(GET)
    writer.close()
    assert await (await upstream.asked()).hung_up()


async def test_a_caller_who_ends_its_half_of_the_connection_counts_as_one_who_left(upstream):
    upstream.script(send(b"x" * (32 << 20)) + send(b"more"))
    reader, writer = await asyncio.open_connection(upstream.host, upstream.port)
    writer.write(GET)
    writer.write_eof()
    assert set(await reader.read()) == set(b"x")
    assert await upstream.seen[0].hung_up()
    writer.close()


async def test_who_got_its_answer_has_not_hung_up(upstream):
    await talk(upstream, GET)
    assert not await upstream.seen[0].hung_up()


async def test_a_stopped_upstream_refuses_and_comes_back_on_its_port(upstream, client):
    port = upstream.port
    await upstream.stop()
    await upstream.stop()
    with pytest.raises(aiohttp.ClientConnectorError):
        await client.get("/ok")
    await upstream.start()
    assert upstream.port == port
    async with client.get("/ok") as response:
        assert response.status == 200


async def test_stopping_resets_those_who_wait(upstream):
    upstream.script(hang())
    call = asyncio.create_task(talk(upstream, GET))
    seen = await upstream.asked()
    await upstream.stop()
    with pytest.raises(ConnectionResetError):
        await call
    assert not await seen.hung_up()


@pytest.mark.parametrize("steps", range(6))
async def test_stopping_resets_who_has_just_come_in(upstream, steps):
    with socket.create_connection((upstream.host, upstream.port)) as late:
        for _ in range(steps):
            await asyncio.sleep(0)
        await upstream.stop()
        late.setblocking(False)
        with pytest.raises(ConnectionResetError):
            await asyncio.get_running_loop().sock_recv(late, 1)


async def test_a_port_that_is_taken_is_said_so(upstream):
    with pytest.raises(OSError, match="in use"):
        await Upstream(port=upstream.port).start()


async def test_many_callers_at_once_are_counted(upstream):
    upstream.always(wait(1) + ok())
    await asyncio.gather(*(talk(upstream, GET) for _ in range(200)))
    assert (upstream.requests, upstream.in_flight, upstream.peak) == (200, 0, 200)


async def test_a_reset_comes_before_or_after_the_head(upstream, client):
    upstream.script(reset(), head(200, length=10) + body(b"abc") + wait(1) + reset())
    with pytest.raises(aiohttp.ClientOSError):
        await client.post("/")
    async with client.get("/") as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    assert [seen.answered for seen in upstream.seen] == [True, True]


@pytest.mark.parametrize(
    "answer, told",
    [
        (close(), b""),
        (half_a_head(), b"HTTP/1.1 200 OK\r\ncontent-ty"),
        (garbage(), b"\x00\x01 this is not HTTP \xff\r\n\r\n"),
        (send(b"anything") + close(), b"anything"),
        (short("abc", missing=2), b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc"),
        (long("abc", b"de"), b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcde"),
        (cut_chunk(), b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10\r\nabc"),
        (no_last_chunk(b"ab"), b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n"),
        (
            chunks(b"a", b"b", x_y="z") + close(),
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx-y: z\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n",
        ),
        (
            head(200, chunked=True) + last_chunk(x_sum="1") + close(),
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-sum: 1\r\n\r\n",
        ),
        (until_close("abc"), b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabc"),
        (
            interim(103, link="</a>") + status(204),
            b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        ),
        (status(999, b""), b"HTTP/1.1 999 Unheard Of\r\n"),
        (status(503, retry_after=2), b"HTTP/1.1 503 Service Unavailable\r\n"),
    ],
)
async def test_an_answer_goes_out_byte_for_byte(upstream, answer, told):
    upstream.script(answer)
    assert (await talk(upstream, GET)).startswith(told)


async def test_an_answer_in_one_piece_is_typed_by_its_content(upstream, client):
    upstream.script(ok({"a": 1}), ok("text"), ok(b"bytes"), status(429, retry_after_ms=1500))
    types = []
    for _ in range(4):
        async with client.get("/") as response:
            await response.read()
            types.append(response.content_type)
    assert types == [
        "application/json",
        "text/plain",
        "application/octet-stream",
        "application/json",
    ]
    assert response.headers["retry-after-ms"] == "1500"
    assert await response.json() == {"error": {"message": "Too Many Requests", "type": "scripted"}}


async def test_a_body_can_be_packed(upstream, client):
    upstream.script(status(500, "a" * 99, coding="gzip"), status(500, "b" * 99, coding="deflate"))
    async with client.get("/", auto_decompress=False) as response:
        assert gzip.decompress(await response.read()) == b"a" * 99
    async with client.get("/", auto_decompress=False) as response:
        assert zlib.decompress(await response.read()) == b"b" * 99


async def test_head_is_answered_without_a_body(upstream, client):
    upstream.script(ok("hello"), ok("again"))
    async with client.head("/") as response:
        assert response.headers["content-length"] == "5"
    async with client.get("/") as response:
        assert await response.text() == "again"


async def test_a_wait_asked_for_as_a_date_is_one():
    assert http_date(0) == "Thu, 01 Jan 1970 00:00:00 GMT"


async def test_delays_are_kept_before_the_head_and_between_the_pieces(upstream, client):
    upstream.script(wait(5) + chunks(b"a", b"b", every=30), drip(b"abc", every=10))
    began = loop_time()
    async with client.get("/", timeout=aiohttp.ClientTimeout(None)) as response:
        assert loop_time() - began == pytest.approx(5)
        assert await response.read() == b"ab"
    assert loop_time() - began == pytest.approx(65)
    async with client.get("/", timeout=aiohttp.ClientTimeout(None)) as response:
        assert await response.read() == b"abc"
    assert loop_time() - began == pytest.approx(95)


async def test_an_answer_can_be_broken_at_any_piece_of_its_body():
    stream = event_stream([b"1", b"2", b"3"])
    assert stream.until(0) == head(200, content_type="text/event-stream", chunked=True)
    assert stream.until(2) + stream.beyond(2) == stream
    assert stream.until(9) == stream
    assert len(stream.until(2).steps) == 3


async def test_an_early_answer_comes_before_the_body_is_read(upstream):
    upstream.script(early(status(413)))
    told = await talk(
        upstream,
        b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9000000\r\n\r\n"
        + b"x" * 5_000_000,
    )
    assert told.startswith(b"HTTP/1.1 413 ")
    assert upstream.seen[0].answered
    assert not upstream.seen[0].complete


async def test_a_caller_who_leaves_after_an_early_answer_is_let_go(upstream):
    upstream.script(early(status(413)))
    reader, writer = await asyncio.open_connection(upstream.host, upstream.port)
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
    writer.transport.abort()
    assert not await upstream.seen[0].hung_up()


async def test_a_deaf_upstream_lets_the_upload_stall(upstream):
    upstream.script(early(hang()))
    _, writer = await asyncio.open_connection(upstream.host, upstream.port)
    writer.write(
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n" + bytes(40 << 20)
    )
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(60):
            await writer.drain()
    writer.transport.abort()


async def test_an_expectation_is_met_before_the_body_is_read(upstream):
    reader, writer = await asyncio.open_connection(upstream.host, upstream.port)
    writer.write(
        b"POST /ok HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
    )
    assert await reader.readline() == b"HTTP/1.1 100 Continue\r\n"
    writer.write(b"x")
    assert b"200 OK" in await reader.readuntil(b"ok\n")
    writer.close()


async def test_what_an_answer_asks_for_may_end_the_connection(upstream):
    upstream.script(ask(lambda _: send(b"no") + close()) + ok())
    assert await talk(upstream, GET) == b"no"


async def test_what_an_answer_asks_for_may_go_on(upstream):
    upstream.script(ask(lambda _: send(b"one ")) + send(b"two") + close())
    assert await talk(upstream, GET) == b"one two"


async def test_an_upstream_that_never_began_can_be_closed():
    await Upstream().aclose()


@pytest.mark.real_time("asyncio", "uvloop")
async def test_it_stops_starts_resets_and_answers_on_each_loop(upstream, client):
    upstream.script(reset(), ok("there"))
    with pytest.raises(aiohttp.ClientOSError):
        await client.post("/")
    async with client.get("/") as response:
        assert await response.text() == "there"
    for _ in range(3):
        await upstream.stop()
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.get("/")
        await upstream.start()
    async with client.get("/ok") as response:
        assert response.status == 200


def test_it_runs_in_a_thread_for_those_who_have_no_loop():
    with Upstream() as upstream:
        upstream.script(ok("hello"), reset())
        with urllib.request.urlopen(upstream.url) as response:
            assert response.read() == b"hello"
        with pytest.raises(ConnectionResetError):
            urllib.request.urlopen(upstream.url)
    assert upstream.requests == 2
    with pytest.raises(urllib.error.URLError, match="refused"):
        urllib.request.urlopen(upstream.url)


async def test_it_serves_until_a_signal_comes(upstream, capsys):
    other = Upstream()
    serving = asyncio.create_task(_serve(other))
    await asyncio.sleep(1)
    assert capsys.readouterr().out == f"listening on {other.url}\n"
    assert b"200 OK" in await talk(other, GET)
    signal.raise_signal(signal.SIGTERM)
    await serving


def test_it_runs_by_itself_until_it_is_told_to_end():
    command = [sys.executable, "-m", "proxy.testing.upstream", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        url = process.stdout.readline().split()[-1]
        with urllib.request.urlopen(f"{url}/ok") as response:
            assert response.read() == b"ok\n"
        process.terminate()
        assert process.wait(timeout=30) == 0
