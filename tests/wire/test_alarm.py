import asyncio
from math import inf

from proxy.wire.alarm import Alarm


async def test_it_rings_once_at_the_last_time_it_was_set_to():
    loop, rung = asyncio.get_running_loop(), []
    began = loop.time()
    alarm = Alarm(loop, lambda: rung.append(loop.time() - began))

    alarm.set(began + 30)
    alarm.set(began + 10)
    await asyncio.sleep(5)
    alarm.set(began + 20)
    await asyncio.sleep(100)

    assert [round(at) for at in rung] == [20]


async def test_a_cleared_or_endless_alarm_never_rings_and_can_be_set_again():
    loop, rung = asyncio.get_running_loop(), []
    alarm = Alarm(loop, lambda: rung.append(True))

    alarm.set(loop.time() + 1)
    alarm.clear()
    await asyncio.sleep(10)
    alarm.set(inf)
    await asyncio.sleep(10)
    assert rung == []

    alarm.set(loop.time() + 1)
    await asyncio.sleep(10)
    assert rung == [True]


async def test_a_stopped_alarm_leaves_the_loop_nothing():
    loop, rung = asyncio.get_running_loop(), []
    alarm = Alarm(loop, lambda: rung.append(True))

    alarm.stop()
    alarm.set(loop.time() + 1)
    alarm.stop()
    await asyncio.sleep(10)

    assert rung == []
