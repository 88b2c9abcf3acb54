"""Two hundred reloads under load: no call fails, no circuit forgets, nothing is left behind."""

import asyncio
import contextlib
import gc
import os
import socket
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from e2e.support import connect, request

from proxy.app import Proxy
from proxy.config.load import load
from proxy.config.problem import ConfigError
from proxy.policy.breaker import State

RELOADS = 200
WARM = 40
"""Reloads before the measure: by then every cache and every thread there will be is there."""
CALLS_EACH = 100
WORKERS = 20
STREAMS = 50

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
FAILED = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class Origin(asyncio.Protocol):
    """Answers each request by its path: /x at once, /down with a failure, /stream bit by bit."""

    streams: list[asyncio.Transport]
    failures = 0

    @classmethod
    def fresh(cls) -> type["Origin"]:
        return type("Origin", (cls,), {"streams": []})

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        if b"/stream" in data:
            self.streams.append(self.transport)
            self.transport.write(STREAM + event(0))
        elif b"/down" in data:
            type(self).failures += 1
            self.transport.write(FAILED)
        else:
            self.transport.write(OK)

    @classmethod
    def tell(cls, chunk):
        for transport in cls.streams:
            transport.write(chunk)


def event(number):
    data = b"data: %d\n\n" % number
    return b"%x\r\n%s\r\n" % (len(data), data)


def configs(port: int, own: int) -> Iterator[str]:
    """Write configs that differ from each other in all that may change, every second one bad."""
    url = f"http://127.0.0.1:{port}"
    for number in range(RELOADS + 1):
        if number % 2:
            yield f"version: 1\nupstreams: {{up: {{url: '{url}', retry: {{max_retires: {number}}}}}}}"
            continue
        step = number // 2
        listen = f", listen: {{port: {own}}}" if step % 2 else ""
        come_and_gone = f"  n{step % 7}: {{url: '{url}'{listen}}}\n" if step % 3 else ""
        yield (
            "version: 1\nlisten: {port: 0}\nadmin: {port: 0}\nwatch: false\nupstreams:\n"
            f"  up: {{url: '{url}', replay_limit: {step + 1},"
            f" limits: {{connections: {100 + step % 3}}}}}\n"
            f"  down: {{url: '{url}', retry: {{max_retries: 0}},"
            f" breaker: {{failure_threshold: {1 + step % 2}, timeout: 10m, max_timeout: 10m}}}}\n"
            + come_and_gone
        )


class Load:
    """Callers that never stop, and what became of their calls."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.done = 0
        self.events: list[int] = []
        self.begun = asyncio.Semaphore(0)
        self._wanted = asyncio.Semaphore(0)
        self._awaited = 0
        self._reached = asyncio.Event()

    def more(self, calls: int) -> None:
        for _ in range(calls):
            self._wanted.release()

    async def made(self, calls: int) -> None:
        """Wait until so many have been made, and answered well."""
        self._awaited = calls
        if self.done < calls:
            self._reached.clear()
            await self._reached.wait()

    async def call(self) -> None:
        reader, writer = await connect(self.base)
        asked = request(self.base, "/up/x")
        with contextlib.closing(writer):
            while True:
                await self._wanted.acquire()
                writer.write(asked)
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200 "), head
                assert await reader.readexactly(2) == b"ok"
                self.done += 1
                if self.done == self._awaited:
                    self._reached.set()

    async def listen(self) -> None:
        reader, writer = await connect(self.base)
        with contextlib.closing(writer):
            writer.write(request(self.base, "/up/stream"))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 "), head
            self.begun.release()
            seen = (await reader.readuntil(b"0\r\n\r\n")).count(b"data: ")
            self.events.append(seen)


async def ask_down(base: str) -> bytes:
    reader, writer = await connect(base)
    with contextlib.closing(writer):
        writer.write(request(base, "/down/down"))
        return await reader.readuntil(b"\r\n\r\n")


@dataclass(frozen=True)
class Held:
    """What must not grow, at this moment."""

    descriptors: int
    tasks: int
    objects: int
    kib: int

    @classmethod
    def now(cls) -> "Held":
        gc.collect()
        resident = int(Path("/proc/self/statm").read_text().split()[1])
        return cls(
            sum(1 for _ in Path("/proc/self/fd").iterdir()),
            len(asyncio.all_tasks()),
            len(gc.get_objects()),
            resident * os.sysconf("SC_PAGE_SIZE") >> 10,
        )


async def reload(proxy: Proxy) -> str:
    try:
        return await proxy.reload()
    except ConfigError:
        return "rejected"


@asynccontextmanager
async def loaded(file, texts: Iterator[str]) -> AsyncIterator[tuple[Proxy, Load]]:
    """Run the proxy on the first of *texts*, under load."""
    file.write_text(next(texts))
    proxy = Proxy(load(file), file)
    await proxy.start()
    under = Load(proxy.addresses[""])
    callers = [asyncio.ensure_future(under.call()) for _ in range(WORKERS)]
    try:
        yield proxy, under
    finally:
        for caller in callers:
            caller.cancel()
        ended = await asyncio.gather(*callers, return_exceptions=True)
        await proxy.stop()
    assert {type(end) for end in ended} == {asyncio.CancelledError}


@asynccontextmanager
async def serving(origin: type[Origin]) -> AsyncIterator[int]:
    listener = await asyncio.get_running_loop().create_server(origin, "127.0.0.1", 0)
    yield listener.sockets[0].getsockname()[1]
    listener.close()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.mark.real_time("uvloop")
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
async def test_two_hundred_reloads_under_load_cost_no_call_and_leave_nothing_behind(tmp_path):
    origin = Origin.fresh()
    file = tmp_path / "proxy.yaml"
    results = Counter()
    runtimes = weakref.WeakSet()
    async with serving(origin) as port:
        texts = configs(port, free_port())
        async with loaded(file, texts) as (proxy, under), asyncio.timeout(60):
            streams = [asyncio.ensure_future(under.listen()) for _ in range(STREAMS)]
            for _ in streams:
                await under.begun.acquire()
            await ask_down(under.base)
            for number in range(1, RELOADS + 1):
                file.write_text(next(texts))
                under.more(CALLS_EACH)
                results[await reload(proxy)] += 1
                runtimes.add(proxy.gateway.runtime)
                origin.tell(event(number))
                await under.made(number * CALLS_EACH)
                assert proxy.gateway.runtime.upstreams["down"].breaker.state is State.OPEN
                if number == WARM:
                    before = Held.now()
            after = Held.now()
            rejected = await ask_down(under.base)
            origin.tell(b"0\r\n\r\n")
            await asyncio.gather(*streams)

    assert results == {"reloaded": RELOADS // 2, "rejected": RELOADS // 2}
    assert under.done == RELOADS * CALLS_EACH
    assert under.events == [RELOADS + 1] * STREAMS
    assert b"X-OctoLLM-Attempts: 0" in rejected
    assert origin.failures == 1
    # One more for each good reload since would be 80. How many connections lie idle is chance.
    assert len(runtimes) == 1
    assert after.descriptors - before.descriptors <= WORKERS
    assert after.tasks - before.tasks <= WORKERS
    assert after.objects - before.objects < 8_000
    assert after.kib - before.kib < 16 << 10
