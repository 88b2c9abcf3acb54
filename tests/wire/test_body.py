import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.body import Memory, Replay, Whole


class Source:
    """A body of *parts*; where it waits, it waits until it is told to go on."""

    def __init__(self, *parts: bytes, length: int | None = None) -> None:
        self.length = length
        self.parts = list(parts)
        self.go = asyncio.Event()

    def read_nowait(self) -> bytes | None:
        return (self.parts.pop(0) if self.parts else b"") if self.go.is_set() else None

    async def read(self) -> bytes:
        await self.go.wait()
        return self.parts.pop(0) if self.parts else b""


async def drawn(reader) -> bytes:
    data = b""
    while part := await reader.read():
        data += part
    return data


def ready(*parts: bytes) -> Source:
    source = Source(*parts)
    source.go.set()
    return source


async def test_a_body_that_is_here_is_read_once():
    for read in (Whole(b"ab").read, Whole(b"ab").read):
        assert (await read(), await read()) == (b"ab", b"")
    assert Whole(b"ab").length == 2


async def test_a_kept_body_can_be_read_again_and_again():
    memory = Memory(100)
    replay = Replay(ready(b"ab", b"cd"), 10, memory)

    for _ in range(3):
        assert await drawn(replay.open()) == b"abcd"
    assert (replay.whole, replay.ended, memory.used) == (True, True, 4)
    replay.release()
    assert (replay.whole, memory.used) == (False, 0)


async def test_a_second_reading_begins_with_what_was_kept_and_goes_on_live():
    source = ready(b"ab", b"cd", b"ef")
    replay = Replay(source, 10, Memory(100))
    first = replay.open()
    assert await first.read() == b"ab"

    second = replay.open()

    assert [await second.read(), second.read_nowait(), await second.read()] == [b"ab", b"cd", b"ef"]
    assert [second.read_nowait(), await second.read()] == [b"", b""]


async def test_an_abandoned_reading_takes_nothing():
    replay = Replay(ready(b"ab", b"cd"), 10, Memory(100))
    first = replay.open()
    second = replay.open()

    with pytest.raises(ValueError, match="another attempt"):
        await first.read()
    with pytest.raises(ValueError, match="another attempt"):
        first.read_nowait()
    assert await drawn(second) == b"abcd"


async def test_a_read_that_is_cancelled_half_way_loses_nothing():
    source = Source(b"ab", b"cd")
    replay = Replay(source, 10, Memory(100))
    task = asyncio.ensure_future(replay.open().read())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    reader = replay.open()
    assert reader.read_nowait() is None
    source.go.set()
    assert await drawn(reader) == b"abcd"


@pytest.mark.parametrize(("limit", "room"), [(3, 100), (100, 3)])
async def test_past_either_bound_the_stream_goes_on_and_nothing_is_kept(limit, room):
    memory = Memory(room)
    with Replay(ready(b"ab", b"cd", b"ef"), limit, memory) as replay:
        assert replay.whole
        reader = replay.open()
        assert (await reader.read(), replay.whole, memory.used) == (b"ab", True, 2)
        assert (await reader.read(), replay.whole, memory.used) == (b"cd", False, 0)
        assert await drawn(reader) == b"ef"
        with pytest.raises(ValueError, match="let go"):
            replay.open()
    assert memory.used == 0


async def test_letting_go_takes_nothing_from_a_reading_under_way():
    memory = Memory(100)
    replay = Replay(ready(b"ab", b"cd", b"ef", b"gh"), 100, memory)
    first = replay.open()
    for _ in range(3):
        await first.read()
    second = replay.open()
    assert await second.read() == b"ab"

    replay.release()

    assert memory.used == 0
    assert await drawn(second) == b"cdefgh"
    assert memory.used == 0


async def test_the_length_is_the_sources():
    assert Replay(Source(length=9), 1, Memory(1)).open().length == 9


@given(
    st.lists(st.binary(min_size=1, max_size=5), max_size=8),
    st.lists(st.integers(0, 8), max_size=4),
    st.integers(0, 40),
)
def test_any_number_of_half_readings_ends_in_the_whole_body(parts, readings, limit):
    async def story() -> None:
        memory = Memory(30)
        replay = Replay(ready(*parts), limit, memory)
        reader = replay.open()
        taken = b""
        for count in readings:
            if not replay.whole:
                break
            reader, taken = replay.open(), b""
            for _ in range(count):
                taken += await reader.read()
        assert taken + await drawn(reader) == b"".join(parts)
        replay.release()
        assert memory.used == 0

    asyncio.run(story())
