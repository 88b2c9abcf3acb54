import asyncio
import socket
import threading
import time

import pytest
import uvloop

from proxy.testing.clock import Clock, VirtualLoop


def loop_time() -> float:
    return asyncio.get_running_loop().time()


def test_a_clock_moves_only_when_told():
    clock = Clock()
    began = clock()
    clock.advance(2.5)
    assert clock() - began == 2.5


def test_a_clock_does_not_run_backwards():
    with pytest.raises(ValueError, match="cannot pass"):
        Clock().advance(-1)


async def test_tests_run_in_virtual_time_unless_they_say_otherwise():
    assert isinstance(asyncio.get_running_loop(), VirtualLoop)


@pytest.mark.real_time
async def test_a_test_in_real_time_has_an_ordinary_loop():
    assert not isinstance(asyncio.get_running_loop(), VirtualLoop)


@pytest.mark.real_time("asyncio", "uvloop")
async def test_a_test_can_run_on_each_loop_it_names(request):
    expected = uvloop.Loop if "uvloop" in request.node.name else asyncio.SelectorEventLoop
    assert isinstance(asyncio.get_running_loop(), expected)


async def test_a_day_passes_at_once():
    virtual, real = loop_time(), time.monotonic()
    await asyncio.sleep(30 * 86_400)
    assert loop_time() - virtual == 30 * 86_400
    assert time.monotonic() - real < 10


async def test_time_stands_still_while_code_runs():
    began = loop_time()
    for _ in range(100):
        await asyncio.sleep(0)
    assert loop_time() == began


async def test_timers_fire_in_order_each_at_its_own_time():
    began, fired = loop_time(), []

    async def wait(seconds: float) -> None:
        await asyncio.sleep(seconds)
        fired.append((seconds, pytest.approx(loop_time() - began)))

    await asyncio.gather(*(wait(s) for s in (600, 0.1, 30, 0.25, 1)))
    assert fired == [(s, s) for s in (0.1, 0.25, 1, 30, 600)]


async def test_time_does_not_overtake_bytes_on_their_way_through_a_socket():
    size = 8 << 20

    async def serve(reader, writer):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        began, received = loop_time(), 0
        async with asyncio.timeout(0.001):
            writer.write(b"x" * size)
            writer.write_eof()
            while data := await reader.read(1 << 16):
                received += len(data)
        assert (received, loop_time()) == (size, began)
        writer.close()
        await writer.wait_closed()


async def test_a_silent_peer_costs_the_whole_timeout_and_no_more():
    silence = asyncio.Event()

    async def serve(_, writer):
        await silence.wait()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        began = loop_time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(600):
                await reader.read()
        assert loop_time() - began == 600
        silence.set()
        writer.close()
        await writer.wait_closed()


async def test_time_does_not_overtake_a_thread_the_loop_has_started():
    timer = asyncio.get_running_loop().call_later(3600, pytest.fail, "the clock ran ahead")
    release = threading.Event()
    asyncio.get_running_loop().call_soon(release.set)
    began = loop_time()
    assert await asyncio.to_thread(release.wait)
    assert loop_time() - began < 3600
    timer.cancel()


async def test_time_does_not_overtake_the_look_up_of_a_name():
    async with asyncio.timeout(60):
        found = await asyncio.get_running_loop().getaddrinfo("localhost", 80)
    assert found


async def test_waits_pass_as_on_the_wall_while_a_thread_waits_for_the_loop():
    loop, release = asyncio.get_running_loop(), threading.Event()
    loop.call_later(0.02, release.set)
    real, virtual = time.monotonic(), loop_time()
    assert await asyncio.to_thread(release.wait, 30)
    assert time.monotonic() - real >= 0.02
    assert loop_time() - virtual == pytest.approx(0.02, abs=0.001)


async def test_a_thread_nobody_waits_for_does_not_hold_time_back():
    release = threading.Event()
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.to_thread(release.wait)
        began = time.monotonic()
        await asyncio.sleep(3600)
        assert time.monotonic() - began < 60
    finally:
        release.set()


async def test_a_foreign_thread_wakes_a_loop_that_has_nothing_to_wait_for():
    loop, woken = asyncio.get_running_loop(), asyncio.Event()
    thread = threading.Thread(target=loop.call_soon_threadsafe, args=(woken.set,))
    thread.start()
    await woken.wait()
    thread.join()


def test_a_loop_of_its_own_can_be_run_and_closed():
    async def sleep() -> float:
        left, right = socket.socketpair()
        left.close()
        right.close()
        await asyncio.to_thread(int)
        await asyncio.sleep(60)
        return loop_time()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        before = runner.get_loop().time()
        assert runner.run(sleep()) - before >= 60
