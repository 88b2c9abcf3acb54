import asyncio

import pytest

from proxy import errors

from .support import closing, get, limits, origin, saying

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


async def test_who_finds_no_connection_waits_in_line():
    async with origin(saying(*[OK] * 9), connections=1, pending=2) as client:
        first = await client.exchange(get(), limits())
        order = []

        async def later(name: int) -> None:
            with await client.exchange(get(), limits()) as exchange:
                order.append((name, exchange.reused))
                assert await exchange.read() == b""

        tasks = [asyncio.ensure_future(later(name)) for name in (1, 2)]
        await asyncio.sleep(0)
        with pytest.raises(errors.CapacityExceededError) as caught:
            await client.exchange(get(), limits())
        assert caught.value.sent is False
        assert await first.read() == b""
        first.close()
        await asyncio.gather(*tasks)

        assert order == [(1, True), (2, True)]
        assert client.pool.connections == 1


async def test_a_connection_that_is_lost_gives_its_place_to_the_next_in_line():
    async with origin(closing(OK), connections=1, pending=9) as client:

        async def one() -> None:
            with await client.exchange(get(), limits()) as exchange:
                assert not exchange.reused

        await asyncio.gather(*(one() for _ in range(5)))


async def test_a_deadline_in_line_blames_nobody():
    async with origin(saying(OK), connections=1) as client:
        held = await client.exchange(get(), limits())
        with pytest.raises(errors.TimeoutError) as caught:
            await client.exchange(get(), limits(connect=1, deadline=5))
        held.close()
    assert (caught.value.condition, caught.value.sent) == (None, False)


@pytest.mark.parametrize("moment", ["waiting", "chosen", "told to connect"])
async def test_who_stops_waiting_takes_no_place_with_them(moment):
    async with origin(saying(OK, OK, OK), connections=1) as client:
        held = await client.exchange(get(), limits())
        leaving = asyncio.ensure_future(client.exchange(get(), limits()))
        staying = asyncio.ensure_future(client.exchange(get(), limits()))
        await asyncio.sleep(0)
        if moment == "chosen":
            assert await held.read() == b""
            held.close()
        elif moment == "told to connect":
            held.close()
            await asyncio.sleep(0)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert await held.read() == b"" if moment == "waiting" else True
        held.close()
        with await staying as exchange:
            assert exchange.status == 200
            assert await exchange.read() == b""
        assert client.pool.connections == 1


async def test_a_connection_lost_between_two_hands_is_replaced():
    async with origin(saying(OK, OK), connections=1) as client:
        held = await client.exchange(get(), limits())
        waiting = asyncio.ensure_future(client.exchange(get(), limits()))
        await asyncio.sleep(0)
        assert await held.read() == b""
        held.close()
        client.pool.close()
        with await waiting as exchange:
            assert not exchange.reused


async def test_the_most_recently_used_goes_out_first_and_the_oldest_goes_away():
    async with origin(saying(*[OK] * 9), keepalive=15) as client:
        exchanges = [await client.exchange(get(), limits()) for _ in range(3)]
        for exchange in exchanges:
            assert await exchange.read() == b""
            exchange.close()
            await asyncio.sleep(5)
        await asyncio.sleep(2)
        assert client.pool.connections == 2
        with await client.exchange(get(), limits()) as exchange:
            assert exchange.reused
            assert await exchange.read() == b""
        await asyncio.sleep(14)
        assert client.pool.connections == 1
        await asyncio.sleep(60)
        assert client.pool.connections == 0


async def test_a_connection_that_has_just_grown_too_old_is_not_used():
    async with origin(saying(OK, OK), keepalive=15) as client:
        with await client.exchange(get(), limits()) as exchange:
            assert await exchange.read() == b""
        loop = asyncio.get_running_loop()
        assert client.pool.take_idle(loop.time() + 15) is None


async def test_a_closed_pool_keeps_nothing():
    async with origin(saying(OK, OK), keepalive=15) as client:
        held = await client.exchange(get(), limits())
        with await client.exchange(get(), limits()) as exchange:
            assert await exchange.read() == b""
        assert await held.read() == b""
        await client.close()
        held.close()
        await asyncio.sleep(1)
        assert client.pool.connections == 0


async def test_a_retired_pool_serves_who_is_there_and_keeps_nothing():
    async with origin(saying(*[OK] * 9), connections=2, keepalive=15) as client:
        held = await client.exchange(get(), limits())
        with await client.exchange(get(), limits()) as exchange:
            assert await exchange.read() == b""
        client.retire()
        await asyncio.sleep(0.1)
        assert client.pool.connections == 1
        with await client.exchange(get(), limits()) as late:
            assert await late.read() == b""
        assert await held.read() == b""
        held.close()
        await asyncio.sleep(0.1)
        assert client.pool.connections == 0


async def test_who_waits_at_a_pool_that_is_retired_gets_a_connection_still():
    async with origin(saying(*[OK] * 9), connections=1) as client:
        held = await client.exchange(get(), limits())
        waiting = asyncio.ensure_future(client.exchange(get(), limits()))
        await asyncio.sleep(0)
        client.retire()
        assert await held.read() == b""
        held.close()
        with await waiting as exchange:
            assert await exchange.read() == b""
        await asyncio.sleep(0.1)
        assert client.pool.connections == 0


async def test_a_connection_that_has_idled_too_long_makes_room_at_once():
    async with origin(saying(OK, OK), connections=1, pending=0, keepalive=0) as client:
        for _ in range(2):
            with await client.exchange(get(), limits()) as exchange:
                while await exchange.read():
                    pass
        assert not exchange.reused
