import asyncio

import pytest

from proxy import errors
from proxy.wire.message import Reply, Request

from .support import GET, calling, said, serving

OLD = b"GET / HTTP/1.0\r\n\r\n"
OLD_KEPT = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n"


async def told(request: bytes, act, *, ends: bool = False) -> bytes:
    """Give the bytes that *act* makes of its reply to *request*, up to a second request's."""

    async def handle(request: Request, reply: Reply) -> None:
        if request.target == "/next":
            reply.send(200, [(b"Date", b"today")], b"next")
        else:
            await act(reply)

    async with serving(handle) as (_, port), calling(port) as (reader, writer):
        writer.write(request)
        if not ends:
            writer.write(b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n")
            data = await reader.readuntil(b"next")
            return data[: data.rindex(b"HTTP/1.1")]
        return await reader.read()


def sending(status, body=b"", *headers):
    async def act(reply: Reply) -> None:
        reply.send(status, [(b"Date", b"today"), *headers], body)

    return act


def streaming(status, length, *parts):
    async def act(reply: Reply) -> None:
        reply.start(status, [(b"Date", b"today")], length)
        for part in parts:
            reply.write(part)
        reply.finish()

    return act


@pytest.mark.parametrize(
    ("request_bytes", "act", "expected"),
    [
        (GET, sending(200, b"ab"), b"200 OK\r\nDate: today\r\nContent-Length: 2\r\n\r\nab"),
        (GET, sending(204), b"204 No Content\r\nDate: today\r\n\r\n"),
        (GET, sending(304), b"304 Not Modified\r\nDate: today\r\n\r\n"),
        (GET, sending(299), b"299 \r\nDate: today\r\nContent-Length: 0\r\n\r\n"),
        (HEAD, sending(200, b"ab"), b"200 OK\r\nDate: today\r\nContent-Length: 2\r\n\r\n"),
        (
            GET,
            sending(200, b"", (b"A", b"1"), (b"a", b"2")),
            b"200 OK\r\nDate: today\r\nA: 1\r\na: 2\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            GET,
            streaming(200, 4, b"ab", b"", b"cd"),
            b"200 OK\r\nDate: today\r\nContent-Length: 4\r\n\r\nabcd",
        ),
        (
            GET,
            streaming(200, None, b"ab", b"", b"cd"),
            b"200 OK\r\nDate: today\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n",
        ),
        (
            GET,
            streaming(200, None),
            b"200 OK\r\nDate: today\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (HEAD, streaming(200, 9), b"200 OK\r\nDate: today\r\nContent-Length: 9\r\n\r\n"),
        (HEAD, streaming(200, None, b"ab"), b"200 OK\r\nDate: today\r\n\r\n"),
        (
            GET,
            streaming(304, 9, b"ab"),
            b"304 Not Modified\r\nDate: today\r\nContent-Length: 9\r\n\r\n",
        ),
        (GET, streaming(204, 9, b"ab"), b"204 No Content\r\nDate: today\r\n\r\n"),
        (
            OLD_KEPT,
            sending(200, b"ab"),
            b"200 OK\r\nDate: today\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nab",
        ),
    ],
)
async def test_an_answer_is_framed_by_its_status_and_its_request(request_bytes, act, expected):
    assert await told(request_bytes, act) == b"HTTP/1.1 " + expected


@pytest.mark.parametrize(
    ("request_bytes", "act", "expected"),
    [
        (
            OLD,
            sending(200, b"ab"),
            b"200 OK\r\nDate: today\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab",
        ),
        (
            OLD_KEPT,
            streaming(200, None, b"ab", b"cd"),
            b"200 OK\r\nDate: today\r\nConnection: close\r\n\r\nabcd",
        ),
    ],
)
async def test_an_old_caller_gets_a_body_that_ends_with_the_connection(
    request_bytes, act, expected
):
    assert await told(request_bytes, act, ends=True) == b"HTTP/1.1 " + expected


async def test_a_date_is_added_only_where_there_is_none():
    async def act(reply: Reply) -> None:
        reply.send(200, [(b"X", b"1")])

    answer = await told(GET, act)

    assert answer.lower().count(b"\r\ndate: ") == 1
    assert answer.index(b"Date: ") > answer.index(b"X: 1")


async def test_interim_answers_go_to_those_who_know_them():
    async def act(reply: Reply) -> None:
        reply.interim(103, [(b"Link", b"</a>")])
        reply.send(200, [(b"Date", b"today")])

    new = await told(GET, act)
    old = await told(OLD, act, ends=True)

    assert new.startswith(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK")
    assert old.startswith(b"HTTP/1.1 200 OK")


async def test_a_head_waits_for_the_first_bytes_unless_it_is_flushed():
    gate = asyncio.Event()

    async def act(request: Request, reply: Reply) -> None:
        reply.start(200, [], None)
        reply.flush()
        reply.flush()
        await gate.wait()
        reply.finish()

    async with serving(act) as (_, port), calling(port) as (reader, writer):
        writer.write(GET)
        await reader.readuntil(b"\r\n\r\n")
        gate.set()
        assert await reader.readexactly(5) == b"0\r\n\r\n"


@pytest.mark.parametrize("value", [b"a\r\nb", b"a\nb", b"a\rb", b"a\x00", b"\x7f", b"\r\n"])
@pytest.mark.parametrize("form", ["send", "start", "interim"])
async def test_a_head_that_would_split_is_refused_before_anything_is_sent(value, form):
    async def act(reply: Reply) -> None:
        headers = [(b"Date", b"today"), (b"X", value)]
        send = {
            "send": lambda: reply.send(200, headers),
            "start": lambda: reply.start(200, headers, 1),
            "interim": lambda: reply.interim(103, headers),
        }
        with pytest.raises(errors.NetworkError) as caught:
            send[form]()
        assert (caught.value.condition, reply.started) == ("protocol", False)
        reply.send(502, [(b"Date", b"today")])

    assert (await told(GET, act)).startswith(b"HTTP/1.1 502 Bad Gateway\r\nDate: today\r\n")


async def test_nothing_but_one_whole_answer_can_be_given():
    async def act(reply: Reply) -> None:
        reply.start(200, [(b"Date", b"today")], 2)
        with pytest.raises(ValueError, match="one answer"):
            reply.send(200, [])
        with pytest.raises(ValueError, match="shorter"):
            reply.finish()
        with pytest.raises(ValueError, match="longer"):
            reply.write(b"abc")
        reply.abort()

    await told(GET, act, ends=True)


@pytest.mark.real_time("asyncio", "uvloop")
@pytest.mark.parametrize(
    ("request_bytes", "length", "seen"),
    [(GET, None, b"2\r\nab\r\n"), (GET, 9, b"ab"), (GET, 2, None), (OLD, None, None)],
)
async def test_an_answer_that_is_not_whole_never_looks_whole(request_bytes, length, seen):
    async def act(request: Request, reply: Reply) -> None:
        reply.start(200, [], length)
        reply.write(b"ab")
        reply.abort()
        reply.abort()

    async with serving(act) as (_, port), calling(port) as (reader, writer):
        writer.write(request_bytes)
        if seen is None:  # no framing could tell: only a reset does
            with pytest.raises(ConnectionResetError):
                await reader.read()
        else:
            answer = await reader.read()
            assert answer.partition(b"\r\n\r\n")[2] == seen


async def test_a_large_answer_is_not_copied_to_be_sent():
    body = b"x" * 200_000

    async def act(request: Request, reply: Reply) -> None:
        reply.send(200, [], body)

    async with serving(act) as (_, port), calling(port) as (reader, writer):
        writer.write(GET)
        assert (await said(reader)).body == body


async def test_twenty_megabytes_go_out_only_as_fast_as_they_are_taken():
    most = 0

    async def act(request: Request, reply: Reply) -> None:
        nonlocal most
        reply.start(200, [], 20_000_000)
        for _ in range(2000):
            reply.write(b"x" * 10_000)
            if reply.congested:
                await reply.drain()
        reply.finish()

    async with serving(act) as (_, port), calling(port) as (reader, writer):
        writer.write(GET)
        await asyncio.sleep(1)
        assert len((await said(reader)).body) == 20_000_000
