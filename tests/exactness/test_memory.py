"""The real process, on uvloop: what it holds in memory does not grow with what passes through."""

import asyncio
import re
import resource
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from e2e.support import answer, connect, request

SIZE = 100 << 20
IDLE = 2000
MOST = 48 << 20
"""Bytes of growth for any of this: a fraction of what passes, generous for any allocator."""

CONFIG = """
version: 1
listen: {{port: 0}}
admin: {{port: 0}}
log: {{level: info, format: json}}
upstreams:
  up: {{url: "{url}", timeouts: {{total: 110s}}}}
"""

pytestmark = pytest.mark.real_time("asyncio")


def memory(pid):
    """Bytes the process holds now, and the most it ever held."""
    text = Path(f"/proc/{pid}/status").read_text()
    return [int(re.search(rf"{name}:\s+(\d+) kB", text)[1]) << 10 for name in ("VmRSS", "VmHWM")]


@asynccontextmanager
async def process(folder, url):
    """Run `octollm-proxy serve`, and give its address and its process's id."""
    config = folder / "proxy.yaml"
    config.write_text(CONFIG.format(url=url))
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "proxy", "serve", "-c", str(config)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        while b"proxy.started" not in (line := await running.stdout.readline()):
            assert line, "it did not start"
        found = re.search(rb'"addresses": ?\["(http://[^"]+)"', line)
        draining = asyncio.ensure_future(running.stdout.read())
        yield found[1].decode(), running.pid
    finally:
        running.terminate()
        await running.wait()
        await draining


@asynccontextmanager
async def upstream():
    """An upstream that takes any upload, and gives SIZE bytes for /down."""
    tasks = set()

    async def connected(reader, writer):
        tasks.add(asyncio.current_task())
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            left = int(re.search(rb"(?i)content-length: (\d+)|$", head)[1] or 0)
            while left:
                left -= len(await reader.read(1 << 20))
            size = SIZE if b" /down" in head else 0
            writer.write(
                b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size
            )
            for _ in range(size >> 20):
                writer.write(bytes(1 << 20))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    listener = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_hundred_megabytes_each_way_leave_nothing_behind(tmp_path):
    async with upstream() as url, process(tmp_path, url) as (base, pid):
        before, _ = memory(pid)
        reader, writer = await connect(base)
        writer.write(request(base, "/up/x", "POST", headers={"Content-Length": str(SIZE)}))
        for _ in range(SIZE >> 20):
            writer.write(bytes(1 << 20))
            await writer.drain()
        assert (await answer(reader)).status == 200

        writer.write(request(base, "/up/down"))
        head = await reader.readuntil(b"\r\n\r\n")
        left = SIZE
        while left:
            left -= len(await reader.read(1 << 20))
        writer.close()

        assert b" 200 " in head
        assert memory(pid)[1] - before < MOST


async def test_a_caller_who_does_not_read_holds_the_upstream_up_and_not_memory(tmp_path):
    async with upstream() as url, process(tmp_path, url) as (base, pid):
        before, _ = memory(pid)
        reader, writer = await connect(base)
        writer.write(request(base, "/up/down"))
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()
        quick, second = await connect(base)
        second.write(request(base, "/up/x", "POST", b"{}"))
        assert (await answer(quick)).status == 200
        assert memory(pid)[1] - before < MOST
        second.close()
        writer.transport.abort()


async def test_thousands_of_idle_connections_are_cheap_and_in_nobodys_way(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * IDLE:
        pytest.skip(f"no more than {hard} files may be open")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * IDLE), hard))
    async with upstream() as url, process(tmp_path, url) as (base, pid):
        before, _ = memory(pid)
        idle = [(await connect(base))[1] for _ in range(IDLE)]
        for writer in idle[::2]:
            writer.write(b"GET /up/x HTTP/1.1\r\nHost:")  # and nothing more
        reader, writer = await connect(base)
        writer.write(request(base, "/up/x", "POST", b"{}"))
        assert (await answer(reader)).status == 200
        assert memory(pid)[0] - before < IDLE * (24 << 10)
        for each in (*idle, writer):
            each.transport.abort()
        await asyncio.sleep(0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
