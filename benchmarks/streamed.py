"""What looking at the events of a stream costs, beside relaying the same bytes unseen.

Run by hand: `python benchmarks/streamed.py`. The same chunks are sent through the same proxy, once
as `text/event-stream` and once as a body of no particular kind, in turn; all streams move in step,
so that each event is a packet of its own. What counts is the CPU time of the proxy.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
from pathlib import Path
from typing import cast

from process import Process, cpus, free_port

STREAMS = 20
EVENT = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,'
    b'"model":"scripted","choices":[{"index":0,"delta":{"content":" word"},"logprobs":null,'
    b'"finish_reason":null}]}\n\n'
)
CONFIG = """
version: 1
listen: {{port: {port}}}
admin: {{port: 0}}
log: {{level: warning, format: json}}
upstreams:
  up: {{kind: llm, provider: openai, url: "http://127.0.0.1:{up}"}}
"""


class Sender(asyncio.Protocol):
    """The upstream: begins an answer of the type that the query names."""

    connected: list[asyncio.Transport] = []  # noqa: RUF012 -- one upstream, one list

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        kind = data.partition(b"?")[2].partition(b" ")[0]
        self.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: " + kind + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        self.connected.append(self.transport)
        send(self.transport)


class Reader(asyncio.Protocol):
    """One caller; `came` is a future of the next event."""

    def __init__(self, kind: str, port: int) -> None:
        self.request = (
            f"GET /up/v1/chat/completions?{kind} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"
        )
        self.came = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).write(self.request.encode())

    def data_received(self, data: bytes) -> None:
        if EVENT in data and not self.came.done():
            self.came.set_result(None)


def send(transport: asyncio.Transport) -> None:
    transport.write(b"%x\r\n%b\r\n" % (len(EVENT), EVENT))


class Group:
    """Streams of one kind, which move in step."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.seconds: list[float] = []

    async def open(self, port: int) -> None:
        loop = asyncio.get_running_loop()
        before = len(Sender.connected)
        opened = [
            await loop.create_connection(lambda: Reader(self.kind, port), "127.0.0.1", port)
            for _ in range(STREAMS)
        ]
        self.readers = [reader for _, reader in opened]
        await self._all_came()
        self.senders = Sender.connected[before:]

    async def run(self, events: int, proxy: Process) -> None:
        began = proxy.cpu_seconds()
        for _ in range(events):
            for sender in self.senders:
                send(sender)
            await self._all_came()
        self.seconds.append((proxy.cpu_seconds() - began) / (events * STREAMS))

    async def _all_came(self) -> None:
        loop = asyncio.get_running_loop()
        for reader in self.readers:
            await reader.came
            reader.came = loop.create_future()


async def main(rounds: int, events: int) -> None:
    ours, _ = cpus()
    server = await asyncio.get_running_loop().create_server(Sender, "127.0.0.1", 0)
    port, up = free_port(), server.sockets[0].getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "proxy.yaml"
        config.write_text(CONFIG.format(port=port, up=up))
        command = [sys.executable, "-m", "proxy", "serve", "-c", str(config)]
        with Process(command, ours, Path(folder) / "log") as proxy:
            proxy.listening(port)
            groups = [Group("text/event-stream"), Group("application/octet-stream")]
            for group in groups:
                await group.open(port)
            for _ in range(rounds):
                for group in groups:
                    await group.run(events, proxy)
    seen, unseen = (statistics.median(group.seconds) for group in groups)
    print(f"CPU per event: {seen * 1e6:.1f} µs")
    print(f"the same bytes, unseen: {unseen * 1e6:.1f} µs")
    print(f"ratio: {seen / unseen:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--events", type=int, default=500)
    chosen = parser.parse_args()
    asyncio.run(main(chosen.rounds, chosen.events))
