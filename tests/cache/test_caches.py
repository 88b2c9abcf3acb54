"""The caches of a process."""

import subprocess
import sys
import time

import pytest
from cache.answers import entry

from proxy.cache.caches import Caches, Place
from proxy.testing.clock import Clock

HERE = Place(5000, None, 0.05)


def caches(told=None):
    return Caches(Clock(), time.time, (told if told is not None else []).append)


def test_the_same_place_is_one_cache_and_another_place_another():
    made = caches()

    assert made.at(HERE) is made.at(Place(5000, None, 0.05))
    assert made.at(HERE) is not made.at(Place(6000, None, 0.05))


def test_all_memory_is_counted_together():
    made = caches()
    assert made.used == 0
    made.at(HERE).memory.put(b"k", entry())
    made.at(Place(6000, None, 0.05)).memory.put(b"k", entry())

    assert made.used == 2 * entry().size


async def test_what_is_configured_no_more_is_let_go():
    made = caches()
    here, there = made.at(HERE), made.at(Place(6000, None, 0.05))
    await made.keep([HERE])

    assert made.at(HERE) is here
    assert made.at(Place(6000, None, 0.05)) is not there
    await made.keep(())


async def test_a_redis_that_fails_is_told_of(tmp_path):
    told = []
    made = caches(told)
    cache = made.at(Place(5000, f"unix://{tmp_path}/nobody", 0.05))
    assert await cache.redis.get(b"k") is None
    await made.keep(())

    assert [error.error_code for error in told] == ["CACHE_ERROR"]
    assert await cache.redis.get(b"k") is None  # whose call still goes on there


@pytest.mark.parametrize("address", ["http://x", "redis://x:port", "redis://x?socket_timeout=y"])
def test_an_address_that_is_none_is_known_at_once(address):
    with pytest.raises(ValueError):
        caches().at(Place(5000, address, 0.05))


def test_redis_py_is_not_loaded_where_no_redis_is_configured():
    code = (
        "import sys, proxy.cache.caches as it;"
        "it.Caches(None, None, None).at(it.Place(1, None, 1.0));"
        "assert 'redis' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
