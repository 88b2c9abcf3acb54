import asyncio
import gc
import socket
import struct

import pytest

from proxy import errors
from proxy.wire.body import Memory, Replay, Whole
from proxy.wire.message import Outgoing

from .support import closing, get, limits, origin, saying

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def reset(writer: asyncio.StreamWriter) -> None:
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


async def read(exchange) -> bytes:
    parts = []
    while part := await exchange.read():
        parts.append(part)
    return b"".join(parts)


async def ask(client, request=None, within=None) -> tuple[int, bytes]:
    with await client.exchange(request or get(), within or limits()) as exchange:
        return exchange.status, await read(exchange)


class Slow:
    """A body that comes when it is given."""

    def __init__(self, length=None):
        self.length = length
        self.parts: asyncio.Queue[bytes | Exception] = asyncio.Queue()

    def read_nowait(self):
        return None if self.parts.empty() else self._take(self.parts.get_nowait())

    async def read(self):
        return self._take(await self.parts.get())

    @staticmethod
    def _take(part):
        if isinstance(part, Exception):
            raise part
        return part


@pytest.mark.real_time("asyncio", "uvloop")
async def test_one_connection_serves_one_request_after_the_other():
    async with origin(saying(OK, OK)) as client:
        for reused in (False, True):
            with await client.exchange(get(), limits()) as exchange:
                assert (await read(exchange), exchange.reused) == (b"ok", reused)
                assert (exchange.timings.connected is None) == reused
                assert exchange.timings.began <= exchange.timings.sent <= exchange.timings.head
        assert client.pool.connections == 1


async def test_a_small_body_leaves_in_one_packet_with_its_head():
    seen = []

    async def script(reader, writer):
        seen.append(await reader.read(65536))
        writer.write(OK)

    async with origin(script) as client:
        await ask(client, get("/a?b", "POST", Whole(b"abc")))

    assert seen == [b"POST /a?b HTTP/1.1\r\nHost: up\r\nContent-Length: 3\r\n\r\nabc"]


@pytest.mark.parametrize(
    ("answer", "method", "length", "body"),
    [
        (OK, "GET", 2, b"ok"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "GET", 0, b""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "HEAD", 0, b""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HEAD", 0, b""),
        (b"HTTP/1.1 200 OK\r\n\r\n", "HEAD", 0, b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "GET", 0, b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "GET", 0, b""),
        (
            b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na",
            "GET",
            1,
            b"a",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nok\r\n0\r\nT: 1\r\n\r\n",
            "GET",
            None,
            b"ok",
        ),
    ],
)
async def test_an_answer_ends_where_its_head_says(answer, method, length, body):
    async with origin(saying(answer, OK)) as client:
        with await client.exchange(get(method=method), limits()) as exchange:
            assert exchange.length == length
            assert await read(exchange) == body
            assert exchange.read_nowait() == b""
        with await client.exchange(get(), limits()) as exchange:
            kept = not (
                method == "HEAD" and b"Content-Length" not in answer and b"chunked" not in answer
            )
            assert exchange.reused == kept
            assert await read(exchange) == b"ok"


async def test_a_body_without_a_length_ends_with_the_connection():
    for version in (b"1.0", b"1.1"):
        async with origin(closing(b"HTTP/" + version + b" 200 OK\r\n\r\nall of it")) as client:
            assert await ask(client) == (200, b"all of it")


@pytest.mark.real_time("asyncio", "uvloop")
async def test_a_body_without_a_length_that_ends_in_a_reset_is_cut():
    taken = asyncio.Event()

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\npart")
        await taken.wait()
        reset(writer)

    async with origin(script) as client:
        with await client.exchange(get(), limits()) as exchange:
            assert await exchange.read() == b"part"
            taken.set()
            with pytest.raises(errors.NetworkError) as caught:
                await exchange.read()
    assert caught.value.condition == "cut"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\npart",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n0\r\n",
    ],
)
async def test_a_body_that_ends_early_gives_what_there_was_and_is_cut(answer):
    async with origin(closing(answer)) as client:
        with await client.exchange(get(), limits()) as exchange:
            assert await exchange.read() == b"part"
            with pytest.raises(errors.NetworkError) as caught:
                await exchange.read()
    assert (caught.value.condition, caught.value.sent) == ("cut", True)


async def test_a_chunk_that_is_malformed_later_is_a_cut():
    taken = asyncio.Event()

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n")
        await taken.wait()
        writer.write(b"zz\r\nmore")
        await reader.read()

    async with origin(script) as client:
        with await client.exchange(get(), limits()) as exchange:
            assert await exchange.read() == b"part"
            taken.set()
            with pytest.raises(errors.NetworkError) as caught:
                await exchange.read()
    assert caught.value.condition == "cut"


@pytest.mark.parametrize(
    ("answer", "condition"),
    [
        (b"", "reset"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "reset"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "reset"),
        (b"SSH-2.0-OpenSSH\r\n", "protocol"),
        (b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", "protocol"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", "protocol"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok", "protocol"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", "protocol"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "protocol"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "protocol"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n",
            "protocol",
        ),
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "protocol"),
        (b"HTTP/1.1 200 OK\r\nA: \x01\r\nContent-Length: 2\r\n\r\nok", "protocol"),
        (b"HTTP/1.1 200 OK\r\nA : 1\r\nContent-Length: 2\r\n\r\nok", "protocol"),
        (b"HTTP/1.1 204 No Content\r\n\r\nbody", "protocol"),
    ],
)
async def test_what_is_not_one_clear_answer_says_why(answer, condition):
    async with origin(closing(answer)) as client:
        with pytest.raises(errors.NetworkError) as caught:
            await client.exchange(get(), limits())
        assert (caught.value.condition, caught.value.sent) == (condition, True)
        await asyncio.sleep(0.1)
        assert client.pool.connections == 0


@pytest.mark.parametrize("status", [99, 101, 600, 999])
async def test_a_status_out_of_range_is_the_gateways_to_judge(status):
    async with origin(
        saying(b"HTTP/1.1 %03d x\r\nContent-Length: 0\r\n\r\n" % status, OK)
    ) as client:
        with await client.exchange(get(), limits()) as exchange:
            assert exchange.status == status
        with await client.exchange(get(), limits()) as exchange:
            assert not exchange.reused


async def test_interim_answers_are_passed_on_in_order():
    seen = []
    answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK
    async with origin(saying(answer, answer)) as client:
        with await client.exchange(get(), limits(), lambda *it: seen.append(it)) as exchange:
            assert await read(exchange) == b"ok"
        assert await ask(client) == (200, b"ok")
    assert seen == [(100, ()), (103, ((b"Link", b"x"),))]


@pytest.mark.parametrize(
    "extra", [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", b"HTTP/1.1 2", b"x"]
)
async def test_what_is_left_over_is_never_somebody_elses_answer(extra):
    async with origin(saying(OK + extra, OK)) as client:
        if extra == b"x":  # the parser cannot tell which of the two is wrong
            with pytest.raises(errors.NetworkError):
                await ask(client)
        else:
            assert await ask(client) == (200, b"ok")
        with await client.exchange(get(), limits()) as exchange:
            assert not exchange.reused
            assert await read(exchange) == b"ok"


async def test_what_an_idle_connection_says_ends_it():
    said = asyncio.Event()

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await said.wait()
        writer.write(OK)
        await reader.read()

    async with origin(script) as client:
        await ask(client)
        said.set()
        await asyncio.sleep(0.1)
        assert client.pool.connections == 0


async def test_a_body_after_an_answer_to_head_costs_the_connection():
    async with origin(saying(OK, OK)) as client:
        await ask(client, get(method="HEAD"))
        with await client.exchange(get(), limits()) as exchange:
            assert not exchange.reused


async def test_connection_close_is_obeyed():
    answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
    async with origin(saying(answer)) as client:
        assert await ask(client) == (200, b"ok")
        await asyncio.sleep(0.1)
        assert client.pool.connections == 0


@pytest.mark.real_time("asyncio", "uvloop")
async def test_a_connection_that_is_closed_while_idle_is_not_used():
    async with origin(closing(OK)) as client:
        for _ in range(3):
            assert await ask(client) == (200, b"ok")
            await asyncio.sleep(0.1)
        assert client.pool.connections == 0


@pytest.mark.real_time("asyncio", "uvloop")
async def test_a_stale_connection_is_a_reset_that_was_reused():
    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await reader.readuntil(b"\r\n\r\n")
        reset(writer)

    async with origin(script) as client:
        await ask(client)
        with pytest.raises(errors.NetworkError) as caught:
            await ask(client)
    assert (caught.value.condition, caught.value.sent) == ("reset", True)


async def test_a_head_without_end_is_no_answer():
    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"A: b\r\n" * 1000)
            await writer.drain()

    async with origin(script) as client:
        with pytest.raises(errors.NetworkError) as caught:
            await client.exchange(get(), limits())
    assert caught.value.condition == "protocol"


async def test_a_head_that_does_not_come_is_a_timeout_of_the_upstream():
    async with origin(saying()) as client:
        with pytest.raises(errors.TimeoutError) as caught:
            await client.exchange(get(), limits(first_byte=15, deadline=60))
    assert caught.value.condition == "timeout"
    assert caught.value.message == "waiting for the answer timed out after 15s"


async def test_a_deadline_that_comes_first_blames_nobody():
    async with origin(saying()) as client:
        with pytest.raises(errors.TimeoutError) as caught:
            await client.exchange(get(), limits(first_byte=60, deadline=15))
    assert (caught.value.condition, caught.value.message) == (None, "the call timed out after 15s")


@pytest.mark.parametrize(
    ("seconds", "condition"), [({"idle": 30, "deadline": 99}, "timeout"), ({"deadline": 30}, None)]
)
async def test_a_body_that_stalls_is_timed(seconds, condition):
    async with origin(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart")) as client:
        with await client.exchange(get(), limits(**seconds)) as exchange:
            assert await exchange.read() == b"part"
            assert exchange.read_nowait() is None
            with pytest.raises(errors.TimeoutError) as caught:
                await exchange.read()
    assert caught.value.condition == condition


async def test_a_deadline_ends_even_a_body_that_never_stalls():
    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x")
            await asyncio.sleep(1)

    async with origin(script) as client:
        exchange = await client.exchange(get(), limits(deadline=10, idle=5))
        with pytest.raises(errors.TimeoutError) as caught:
            await read(exchange)
        exchange.close()
    assert caught.value.condition is None


async def test_idle_time_stands_still_while_nobody_reads():
    gate = asyncio.Event()

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok")
        await gate.wait()
        writer.write(b"ok")
        await reader.read()

    async with origin(script) as client:
        with await client.exchange(get(), limits(idle=5)) as exchange:
            assert await exchange.read() == b"ok"
            await asyncio.sleep(60)
            asyncio.get_running_loop().call_later(4, gate.set)
            assert await exchange.read() == b"ok"


@pytest.mark.parametrize("length", [6, None])
async def test_a_body_that_comes_slowly_is_sent_as_it_comes(length):
    seen = []

    async def script(reader, writer):
        seen.append(await reader.readuntil(b"abc"))
        body.parts.put_nowait(b"def")
        seen.append(await reader.readuntil(b"def"))
        body.parts.put_nowait(b"")
        if length is None:
            seen.append(await reader.readuntil(b"0\r\n\r\n"))
        writer.write(OK)
        await reader.read()

    body = Slow(length)
    body.parts.put_nowait(b"abc")
    async with origin(script) as client:
        assert await ask(client, get("/a", "POST", body)) == (200, b"ok")
        assert client.pool.connections == 1
    framing = (
        b"Transfer-Encoding: chunked\r\n\r\n3\r\n"
        if length is None
        else b"Content-Length: 6\r\n\r\n"
    )
    assert seen[0] == b"POST /a HTTP/1.1\r\nHost: up\r\n" + framing + b"abc"


@pytest.mark.parametrize("parts", [[b"abc"], []])
async def test_chunks_that_are_all_here_leave_at_once(parts):
    body = Slow()
    for part in (*parts, b""):
        body.parts.put_nowait(part)
    seen = []

    async def script(reader, writer):
        seen.append(await reader.read(65536))
        writer.write(OK)
        await reader.read()

    async with origin(script) as client:
        assert await ask(client, get("/a", "POST", body)) == (200, b"ok")
    assert len(seen) == 1
    assert seen[0].endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("parts", [[b"ab", b""], [b"", b""], [b"abcd", b""], [b"ab", b"cd"]])
async def test_a_body_is_never_sent_shorter_or_longer_than_announced(parts):
    body = Slow(3)
    body.parts.put_nowait(parts[0])
    asyncio.get_running_loop().call_later(0.1, body.parts.put_nowait, parts[1])
    async with origin(saying()) as client:
        with pytest.raises(errors.ValidationError):
            await ask(client, get("/a", "POST", body))
        await asyncio.sleep(0.1)
        assert client.pool.connections == 0


async def test_what_the_body_raises_is_what_the_exchange_raises():
    body = Slow(9)
    body.parts.put_nowait(b"abc")
    body.parts.put_nowait(errors.ValidationError("stalled", status=408))
    async with origin(saying()) as client:
        with pytest.raises(errors.ValidationError) as caught:
            await ask(client, get("/a", "POST", body))
    assert caught.value.status == 408


@pytest.mark.real_time("asyncio", "uvloop")
async def test_an_answer_before_the_upload_has_ended_is_delivered_and_ends_the_connection():
    body = Slow(9)
    body.parts.put_nowait(b"abc")
    async with origin(saying(b"HTTP/1.1 413 Too Much\r\nContent-Length: 2\r\n\r\nno")) as client:
        assert await ask(client, get("/a", "POST", body)) == (413, b"no")
        await asyncio.sleep(0.1)
        assert client.pool.connections == 0


@pytest.mark.parametrize(
    ("seconds", "condition"), [({"idle": 30, "deadline": 99}, "timeout"), ({"deadline": 30}, None)]
)
async def test_an_upload_that_nobody_takes_is_timed(seconds, condition):
    async def script(reader, writer):
        writer.transport.pause_reading()
        await asyncio.Event().wait()

    async with origin(script) as client:
        with pytest.raises(errors.TimeoutError) as caught:
            await client.exchange(get("/a", "POST", Whole(b"x" * 20_000_000)), limits(**seconds))
    assert caught.value.condition == condition


async def test_a_deadline_ends_an_upload_whose_caller_stalls():
    async with origin(saying()) as client:
        with pytest.raises(errors.TimeoutError) as caught:
            await client.exchange(get("/a", "POST", Slow(9)), limits(deadline=30))
    assert caught.value.condition is None


async def test_the_first_byte_is_timed_from_the_end_of_the_upload():
    body = Slow(3)
    asyncio.get_running_loop().call_later(60, body.parts.put_nowait, b"abc")
    began = asyncio.get_running_loop().time()
    async with origin(saying()) as client:
        with pytest.raises(errors.TimeoutError):
            await client.exchange(get("/a", "POST", body), limits(first_byte=15))
    assert asyncio.get_running_loop().time() - began >= 75


@pytest.mark.real_time("asyncio", "uvloop")
async def test_twenty_megabytes_up_and_down_in_bounded_memory():
    size, most = 20_000_000, 0

    class Big:
        length = size

        def __init__(self):
            self.left = size

        def read_nowait(self):
            return None

        async def read(self):
            self.left -= 50_000
            return b"x" * 50_000

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(size)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(400):
            writer.write(b"y" * 50_000)
            await writer.drain()
        await reader.read()

    async with origin(script) as client:
        with await client.exchange(get("/a", "POST", Big()), limits()) as exchange:
            await asyncio.sleep(1)
            total = 0
            while chunk := await exchange.read():
                total, most = total + len(chunk), max(most, len(chunk))
        assert client.pool.connections == 1
    assert total == size
    assert most < 1_000_000


@pytest.mark.parametrize("phase", ["connect", "upload", "head", "body"])
async def test_cancellation_leaves_nothing_behind(phase):
    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        if phase == "body":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart")
        await reader.read()

    async with origin(script) as client:
        body = Slow(9) if phase == "upload" else None
        task = asyncio.ensure_future(ask(client, get("/a", "POST", body)))
        if phase != "connect":
            await asyncio.sleep(1)
        else:
            await asyncio.sleep(0)
        others = asyncio.all_tasks()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(1)
        assert client.pool.connections == 0
        assert not [left for left in asyncio.all_tasks() - others if "upload" in repr(left)]
    gc.collect()


async def test_a_head_of_ours_that_would_split_is_refused_unsent():
    async with origin(saying()) as client:
        with pytest.raises(errors.ValidationError) as caught:
            await client.exchange(Outgoing("GET", "/", [(b"A", b"b\r\nc")], None), limits())
    assert caught.value.sent is False


async def test_a_replayed_body_is_sent_again_from_its_beginning():
    seen = []

    async def script(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        seen.append(await reader.readexactly(6))
        if len(seen) == 1:
            reset(writer)
        else:
            writer.write(OK)
        assert b"Content-Length: 6" in head
        await reader.read()

    source = Slow(6)
    source.parts.put_nowait(b"abc")
    asyncio.get_running_loop().call_later(1, source.parts.put_nowait, b"def")
    async with origin(script) as client:
        with Replay(source, 100, Memory(100)) as replay:
            with pytest.raises(errors.NetworkError):
                await ask(client, get("/a", "POST", replay.open()))
            assert await ask(client, get("/a", "POST", replay.open())) == (200, b"ok")
    assert seen == [b"abcdef", b"abcdef"]


async def test_interim_answers_without_end_are_no_answer():
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 100
    async with origin(saying(hints + OK)) as client:
        with pytest.raises(errors.NetworkError) as caught:
            await client.exchange(get(), limits())
    assert caught.value.condition == "protocol"
