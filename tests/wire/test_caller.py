import asyncio
import socket
import struct

import pytest

from proxy import errors
from proxy.wire.message import Reply, Request

from .support import GET, ask, calling, echo, said, serving


def post(body: bytes, *lines: bytes) -> bytes:
    head = [b"POST /a HTTP/1.1", b"Host: x", *(lines or [b"Content-Length: %d" % len(body)])]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


@pytest.mark.real_time("asyncio", "uvloop")
async def test_requests_follow_one_another_on_one_connection():
    async with serving() as (server, port), calling(port) as (reader, writer):
        for body in (b"one", b"", b"three"):
            writer.write(post(body))
            assert (await said(reader)).body == body
        assert server.connections == 1


async def test_a_head_may_come_a_byte_at_a_time():
    async with serving() as (_, port):
        answer = await ask(port, *(bytes([byte]) for byte in post(b"abc")))

    assert (answer.status, answer.body) == (200, b"abc")


@pytest.mark.real_time("asyncio", "uvloop")
async def test_pipelined_requests_are_answered_in_order():
    async with serving() as (_, port), calling(port) as (reader, writer):
        writer.write(post(b"one") + post(b"two") + GET[:10])
        assert (await said(reader)).body == b"one"
        assert (await said(reader)).body == b"two"
        writer.write(GET[10:])
        assert (await said(reader)).status == 200


@pytest.mark.real_time("asyncio", "uvloop")
async def test_what_comes_during_an_answer_waits_in_the_socket():
    gate = asyncio.Event()

    async def slowly(request: Request, reply: Reply) -> None:
        await gate.wait()
        await echo(request, reply)

    async with serving(slowly) as (_, port), calling(port) as (reader, writer):
        writer.write(post(b"one"))
        await asyncio.sleep(0.1)
        writer.write(post(b"two"))
        await asyncio.sleep(0.1)
        gate.set()
        assert (await said(reader)).body == b"one"
        assert (await said(reader)).body == b"two"


@pytest.mark.real_time("asyncio", "uvloop")
async def test_a_valid_request_before_garbage_is_answered_first():
    async with serving() as (_, port), calling(port) as (reader, writer):
        writer.write(post(b"one") + b"\x16\x03garbage\r\n\r\n")
        assert (await said(reader)).body == b"one"
        refusal = await said(reader)
        assert (refusal.status, refusal.headers[b"connection"]) == (400, b"close")
        assert await reader.read() == b""


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: \x01\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: x\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA_b: c\r\n\r\n", 400),
        (b"SNARK / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"GET /\r\n\r\n", 505),
        (post(b"", b"Content-Length: 1", b"Content-Length: 1"), 400),
        (post(b"", b"Content-Length: +1"), 400),
        (post(b"", b"Content-Length: 1, 1"), 400),
        (post(b"", b"Content-Length: 1", b"Transfer-Encoding: chunked"), 400),
        (post(b"", b"Transfer-Encoding: gzip, chunked"), 501),
        (post(b"", b"Transfer-Encoding: ,chunked"), 501),
        (post(b"", b"Transfer-Encoding: xchunked"), 400),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (post(b"", b"Expect: the-spanish-inquisition"), 417),
        (post(b"", b"Expect: 100-continue", b"Expect: more"), 417),
        (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 5000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: bc\r\n" * 30 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + (b"A: " + b"b" * 500 + b"\r\n") * 9 + b"\r\n", 431),
    ],
)
async def test_what_is_not_exactly_http_is_refused_and_never_echoed(request_bytes, status):
    server = serving(header_size=4096, header_count=20)
    async with server as (_, port), calling(port) as (reader, writer):
        writer.write(request_bytes)
        answer = await said(reader)
        rest = await reader.read()

    assert (answer.status, rest) == (status, b"")
    assert answer.headers[b"connection"] == b"close"
    assert b"inquisition" not in answer.body
    assert b"aaa" not in answer.body


async def test_a_head_in_many_pieces_has_the_same_limit():
    async with serving(header_size=4096) as (_, port):
        pieces = [b"A: " + b"b" * 500 + b"\r\n"] * 9
        answer = await ask(port, b"GET / HTTP/1.1\r\nHost: x\r\n", *pieces)

    assert answer.status == 431


async def test_a_head_that_takes_too_long_is_told_so():
    async with serving(head_timeout=10) as (_, port), calling(port) as (reader, writer):
        writer.write(GET[:-2])
        answer = await said(reader)

    assert answer.status == 408


async def test_a_caller_who_says_nothing_is_let_go_without_a_word():
    async with serving(head_timeout=10) as (_, port), calling(port) as (reader, _):
        assert await reader.read() == b""


async def test_an_idle_connection_is_let_go_without_a_word():
    async with serving(keepalive=20) as (_, port), calling(port) as (reader, writer):
        began = asyncio.get_running_loop().time()
        writer.write(GET)
        assert (await said(reader)).status == 200
        assert await reader.read() == b""

    assert 20 <= asyncio.get_running_loop().time() - began < 25


async def test_a_stalled_body_is_a_408_to_whoever_reads_it():
    seen = []

    async def reading(request: Request, reply: Reply) -> None:
        try:
            await echo(request, reply)
        except errors.ValidationError as error:
            seen.append(error.status)
            reply.send(error.status, [])

    async with serving(reading, idle=30) as (_, port):
        answer = await ask(port, post(b"abc", b"Content-Length: 9"))

    assert (answer.status, answer.headers[b"connection"], seen) == (408, b"close", [408])


@pytest.mark.parametrize("pieces", [(b"zz\r\nabc",), (b"3\r\nabc\r\n", b"zz\r\n")])
async def test_a_malformed_chunk_is_a_400_to_whoever_reads_it(pieces):
    async def reading(request: Request, reply: Reply) -> None:
        try:
            await echo(request, reply)
        except errors.ValidationError as error:
            reply.send(error.status, [])

    async with serving(reading) as (_, port):
        answer = await ask(port, post(b"", b"Transfer-Encoding: chunked"), *pieces, b"more")

    assert (answer.status, answer.headers[b"connection"]) == (400, b"close")


async def test_chunks_are_joined_whatever_packets_they_came_in():
    body = b"5;ext=1\r\nhello\r\n1\r\n!\r\n0\r\nTrailer: x\r\n\r\n"
    async with serving() as (_, port):
        request = post(body, b"Transfer-Encoding: chunked")
        answer = await ask(port, *(bytes([byte]) for byte in request))

    assert answer.body == b"hello!"


@pytest.mark.real_time("asyncio", "uvloop")
@pytest.mark.parametrize("ending", ["reset", "half-close"])
@pytest.mark.parametrize("where", ["working", "reading", "writing"])
async def test_a_caller_who_leaves_cancels_the_handler_wherever_it_waits(ending, where):
    entered, cancelled = asyncio.Event(), asyncio.Event()

    async def handle(request: Request, reply: Reply) -> None:
        entered.set()
        try:
            if where == "reading":
                assert request.body is not None
                while await request.body.read():
                    pass
            elif where == "writing":
                reply.start(200, [], None)
                while True:
                    reply.write(b"x" * 65536)
                    await reply.drain()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with serving(handle) as (server, port), calling(port) as (_, writer):
        writer.write(post(b"abc", b"Content-Length: 9"))
        await entered.wait()
        if ending == "reset":
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        else:
            writer.write_eof()
        await cancelled.wait()
        server.drain()
        writer.transport.abort()
        assert await server.closed()


async def test_a_handler_that_cleans_up_is_cancelled_once():
    cleaned = asyncio.Event()

    async def handle(request: Request, reply: Reply) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(50):
                await asyncio.sleep(0.1)
            cleaned.set()

    async with serving(handle) as (_, port), calling(port) as (_, writer):
        writer.write(GET)
        await asyncio.sleep(0.1)
        writer.write_eof()
        await asyncio.sleep(1)
        writer.transport.abort()
        await cleaned.wait()


async def test_a_reader_who_stops_reading_is_left_after_the_idle_time():
    cancelled = asyncio.Event()

    async def flood(request: Request, reply: Reply) -> None:
        reply.start(200, [], None)
        try:
            while True:
                reply.write(b"x" * 65536)
                await reply.drain()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with serving(flood, idle=60) as (_, port), calling(port) as (_, writer):
        writer.write(GET)
        await cancelled.wait()


async def test_an_unread_body_that_is_nearly_here_does_not_cost_the_connection():
    async def early(request: Request, reply: Reply) -> None:
        reply.send(200, [], request.target.encode())

    async with serving(early) as (_, port), calling(port) as (reader, writer):
        writer.write(post(b"abc", b"Content-Length: 9"))
        first = await said(reader)
        writer.write(b"defghi" + GET)
        second = await said(reader)

    assert (first.status, second.status) == (200, 200)


async def test_an_unread_body_that_stays_away_costs_the_connection():
    async def early(request: Request, reply: Reply) -> None:
        reply.send(200, [])

    async with serving(early) as (_, port), calling(port) as (reader, writer):
        writer.write(post(b"abc", b"Content-Length: 9"))
        assert (await said(reader)).status == 200
        assert await reader.read() == b""


@pytest.mark.real_time("asyncio", "uvloop")
@pytest.mark.parametrize(
    "lines",
    [
        [b"Content-Length: 9000000"],
        [b"Transfer-Encoding: chunked"],
        [b"Content-Length: 9", b"Expect: 100-continue"],
    ],
)
async def test_an_answer_before_the_body_closes_but_is_never_lost(lines):
    async def early(request: Request, reply: Reply) -> None:
        reply.send(413, [], b"too much")

    async with serving(early) as (_, port), calling(port) as (reader, writer):
        writer.write(post(b"", *lines))
        await asyncio.sleep(0.1)
        for _ in range(20):  # a caller who sends on must not have the answer reset away
            writer.write(b"x" * 1000)
            await asyncio.sleep(0.01)
        answer = await said(reader)
        assert (answer.status, answer.headers[b"connection"]) == (413, b"close")
        assert await reader.read() == b""


@pytest.mark.real_time("asyncio", "uvloop")
async def test_a_body_that_was_asked_for_with_100_keeps_the_connection():
    async def willing(request: Request, reply: Reply) -> None:
        reply.interim(100, [])
        await echo(request, reply)

    async with serving(willing) as (_, port), calling(port) as (reader, writer):
        writer.write(post(b"", b"Content-Length: 3", b"Expect: 100-continue"))
        assert (await said(reader)).status == 100
        writer.write(b"abc")
        answer = await said(reader)

    assert answer.body == b"abc"
    assert b"connection" not in answer.headers


async def test_an_upgrade_is_not_taken_and_ends_the_connection():
    async with serving() as (_, port):
        answer = await ask(port, post(b"", b"Upgrade: h2c", b"Connection: Upgrade") + GET)

    assert (answer.status, answer.headers[b"connection"]) == (200, b"close")


async def test_connect_reaches_the_handler_without_a_body():
    async def look(request: Request, reply: Reply) -> None:
        reply.send(405, [], f"{request.target} {request.body}".encode())

    async with serving(look) as (_, port):
        answer = await ask(port, b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n\x16\x03")

    assert (answer.body, answer.headers[b"connection"]) == (b"a:1 None", b"close")


@pytest.mark.real_time("asyncio", "uvloop")
async def test_twenty_megabytes_stay_in_the_socket_until_they_are_read():
    most, total = 0, 0

    async def sink(request: Request, reply: Reply) -> None:
        nonlocal most, total
        assert request.body is not None
        await asyncio.sleep(0.2)
        while chunk := await request.body.read():
            most, total = max(most, len(chunk)), total + len(chunk)
            await asyncio.sleep(0)
        reply.send(200, [])

    async with serving(sink) as (_, port), calling(port) as (reader, writer):
        size = 20_000_000
        writer.write(post(b"", b"Content-Length: %d" % size) + b"x" * size)
        assert (await said(reader)).status == 200

    assert total == size
    assert most < 1_000_000


@pytest.mark.real_time("asyncio", "uvloop")
async def test_draining_closes_the_idle_and_lets_the_busy_finish():
    entered, gate = asyncio.Event(), asyncio.Event()

    async def handle(request: Request, reply: Reply) -> None:
        entered.set()
        await gate.wait()
        reply.send(200, [])

    async with serving(handle) as (server, port):
        async with calling(port) as (idle, _), calling(port) as (busy, writer):
            writer.write(GET)
            await entered.wait()
            server.drain()
            assert await idle.read() == b""
            assert not await server.closed(0.05)
            gate.set()
            answer = await said(busy)
            assert answer.headers[b"connection"] == b"close"
            assert await busy.read() == b""
            assert await server.closed(5)
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", port)


async def test_draining_after_the_head_ends_the_connection_all_the_same():
    entered, gate = asyncio.Event(), asyncio.Event()

    async def handle(request: Request, reply: Reply) -> None:
        reply.start(200, [], 2)
        reply.flush()
        entered.set()
        await gate.wait()
        reply.write(b"ok")
        reply.finish()

    async with serving(handle) as (server, port), calling(port) as (reader, writer):
        writer.write(GET)
        await entered.wait()
        server.drain()
        gate.set()
        assert (await said(reader)).body == b"ok"
        assert await reader.read() == b""


async def test_a_handler_that_fails_costs_its_caller_only_this_connection():
    seen = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context))

    async def handle(request: Request, reply: Reply) -> None:
        raise LookupError

    async with serving(handle) as (_, port), calling(port) as (reader, writer):
        writer.write(GET)
        with pytest.raises(ConnectionResetError):
            await reader.read()

    assert [type(context["exception"]) for context in seen] == [LookupError]


@pytest.mark.real_time("asyncio", "uvloop")
async def test_it_listens_on_a_unix_socket_and_leaves_no_file(tmp_path):
    path = tmp_path / "socket"
    async with serving() as (server, _):
        assert await server.listen(f"unix:{path}") == [str(path)]
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(GET)
        assert (await said(reader)).status == 200
        writer.close()

    assert not path.exists()
