"""What two servers could read in two ways never reaches either of them."""

from contextlib import AsyncExitStack

import pytest
from e2e.support import answer, connect, proxied
from exactness import asking
from exactness.readers import LENIENT, Asked, Recorder, answers, lenient, reread, strict, whole

REFUSED = asking.refused()
SERVED = asking.served()
READERS = ["strict", "lenient"]


async def exchange(raw, reading):
    """Send *raw* through the proxy; give what the caller got until the end, and what got through."""
    async with AsyncExitStack() as stack:
        if reading == "strict":
            url, upstream = await stack.enter_async_context(strict())
        else:
            # Every byte is kept, and read again by all the other habits.
            url, upstream = await stack.enter_async_context(lenient(LENIENT[0]))
        proxy = await stack.enter_async_context(proxied(up=url))
        reader, writer = await connect(proxy.addresses[""])
        writer.write(raw)
        said = bytearray()
        try:
            while data := await reader.read(65536):
                said += data
        except ConnectionResetError:
            pass
        writer.close()
    if isinstance(upstream, Recorder):
        seen = upstream.seen
        for habits in (None, *LENIENT):
            reread_all = [
                asked for raw in upstream.raw for asked in await reread(bytes(raw), habits)
            ]
            assert sorted(reread_all) == sorted(seen), habits
    else:
        assert upstream.faults == []
        seen = whole(upstream)
    return bytes(said), seen


@pytest.mark.parametrize("reading", READERS)
@pytest.mark.parametrize("name", REFUSED)
async def test_what_could_be_read_in_two_ways_is_refused_and_not_echoed(name, reading):
    said, seen = await exchange(REFUSED[name], reading)

    [told] = answers(said)
    assert 400 <= told.status < 600, told
    assert told.values(b"connection") == [b"close"]
    assert b'"error":' in told.body
    assert b"canary" not in said
    assert seen == []


@pytest.mark.parametrize("reading", READERS)
@pytest.mark.parametrize("name", SERVED)
async def test_what_is_clear_arrives_as_what_it_is(name, reading):
    raw, asked = SERVED[name]
    said, seen = await exchange(raw, reading)

    assert seen == asked
    assert [told.status for told in answers(said)] == [200] * len(asked)


@pytest.mark.parametrize(("start", "status"), asking.DECLINED)
async def test_what_is_not_served_here_is_declined_and_the_next_request_is_not(start, status):
    said, seen = await exchange(asking.head(start=start) + asking.SMUGGLED, "strict")

    declined, served = answers(said)
    assert (declined.status, served.status) == (status, 200)
    assert b"canary" not in said
    assert seen == [Asked("GET", "/smuggled")]


@pytest.mark.parametrize("trailer", [b"", b"X-Trailer: y\r\n", b"X: y\r\nAuthorization: evil\r\n"])
async def test_a_trailer_never_stands_in_the_next_request(trailer):
    async with strict() as (url, upstream), proxied(up=url) as proxy:
        reader, writer = await connect(proxy.addresses[""])
        for _ in range(3):
            writer.write(asking.chunked(b"5\r\nhello\r\n0\r\n" + trailer + b"\r\n"))
            assert (await answer(reader)).status == 200
        writer.write(asking.SMUGGLED)
        assert (await answer(reader)).status == 200
        writer.close()

    assert len({seen.connection for seen in upstream.seen}) == 1
    assert {name for seen in upstream.seen for name, _ in seen.headers} == {
        *(b"Host", b"Via", b"Transfer-Encoding")
    }
