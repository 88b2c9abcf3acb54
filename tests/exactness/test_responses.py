"""An answer is whole, or an error, or cut; and the next caller gets nothing of it."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from e2e.support import connect, proxied, request
from exactness import answering
from exactness.readers import answers

NEXT = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Next: yes\r\n\r\nnext"

ONCE = """
version: 1
listen: {port: 0}
admin: {port: 0}
upstreams:
  up: {url: "${UP}", retry: {max_retries: 0}, timeouts: {idle: 5s, first_byte: 5s}}
"""


@asynccontextmanager
async def saying(first, later=b""):
    """An upstream that says *first*, and to every later request NEXT, on whatever connection."""
    heads = []
    tasks = set()

    async def connected(reader, writer):
        tasks.add(asyncio.current_task())
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                heads.append(head)
                if len(heads) > 1:
                    writer.write(NEXT)
                    continue
                writer.write(first)
                if later:
                    await asyncio.sleep(1)
                    writer.write(later)
                if ends(first):
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    listener = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}", heads
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def ends(raw):
    """Tell whether only the end of the connection can end this answer."""
    head, end, _ = raw.partition(b"\r\n\r\n")
    return not end or (b"ength:" not in head and b"oding:" not in head and b" 20" in head[:15])


async def ask(proxy, method="GET", target="/up/x"):
    reader, writer = await connect(proxy.addresses[""])
    headers = {"Connection": "close"}
    writer.write(request(proxy.addresses[""], target, method, headers=headers))
    said = bytearray()
    try:
        while data := await reader.read(65536):
            said += data
    except ConnectionResetError:
        # What ends with the connection can only be told from its proper end by a reset.
        return answers(bytes(said), method)[0]._replace(whole=False)
    finally:
        writer.close()
    [told] = answers(bytes(said), method)
    return told


async def first_and_next(raw, method="GET", later=b""):
    """Give what the first caller got of *raw*, having seen that the next one got the next answer."""
    async with saying(raw, later) as (url, heads), proxied(ONCE, up=url) as proxy:
        first = await ask(proxy, method)
        await asyncio.sleep(2)
        after = await ask(proxy)

    assert (after.status, after.body, after.whole) == (200, b"next", True)
    assert after.values(b"x-next") == [b"yes"]
    assert b"evil" not in str(after).encode()
    assert len(heads) == 2
    return first


@pytest.mark.parametrize("name", answering.REFUSED)
async def test_an_answer_that_could_be_read_in_two_ways_is_a_bad_gateway(name):
    told = await first_and_next(answering.REFUSED[name])

    assert told.status in (502, 504)
    assert b'"error":' in told.body
    assert b"canary" not in str(told).encode()
    assert told.values(b"set-cookie") == []


@pytest.mark.parametrize("name", answering.CUT)
async def test_an_answer_that_goes_wrong_never_looks_whole(name):
    head, end, body = answering.CUT[name].partition(b"\r\n\r\n")
    at_once = await first_and_next(answering.CUT[name])
    told = await first_and_next(head + end, later=body)

    assert at_once.status == 502 or not at_once.whole
    assert (told.status, told.whole) == (200, False)


@pytest.mark.parametrize("name", answering.EXCESS)
async def test_what_follows_an_answer_is_nobodys(name):
    raw, more, status = answering.EXCESS[name]
    at_once = await first_and_next(raw + more)
    told = await first_and_next(raw, later=more)

    # In one piece with the answer, the parser refuses both.
    assert at_once.status in (status, 502)
    assert (told.status, told.whole) == (status, True)


@pytest.mark.parametrize("name", answering.LENIENT)
async def test_what_is_read_leniently_is_written_strictly(name):
    raw, body = answering.LENIENT[name]
    told = await first_and_next(raw)

    assert (told.status, told.body, told.whole) == (200, body, True)
    assert not [pair for pair in told.headers if b"\n" in pair[0] + pair[1]]


@pytest.mark.parametrize("name", answering.PASSED)
async def test_an_answer_that_is_clear_arrives_as_what_it_is(name):
    raw, status, body = answering.PASSED[name]
    told = await first_and_next(raw)

    assert (told.status, told.body, told.whole) == (status, body, True)
    assert told.values(b"set-cookie") == []
    assert b"evil" not in str(told).encode()


@pytest.mark.parametrize(
    "raw",
    [
        answering.head(b"Content-Length: 6"),
        answering.head(b"Transfer-Encoding: chunked"),
        answering.plain(),
        answering.head(b"Content-Length: 4") + answering.EVIL,
        answering.head(b"Transfer-Encoding: chunked") + answering.CHUNKS,
    ],
)
async def test_what_follows_an_answer_to_head_is_nobodys(raw):
    told = await first_and_next(raw, "HEAD")

    assert told.status in (200, 502)
    assert told.body == b""
