"""The upstream of every benchmark: fixed answers, as cheap as Python can make them.

It knows its load and nothing else: it finds the end of a request by `Content-Length`, looks at the
first letters of the path, and checks nothing. Say `python upstream.py`: it prints its port.

    /small     1.3 KiB of JSON     /events    an event every 50 ms, carrying the time it was sent
    /large     64 KiB              /idle      one event, and then silence
"""

import asyncio
import re
import time
from typing import cast

import uvloop

# What follows the name is nobody's concern: an LLM gateway appends the API's own path.
PATH = re.compile(rb"[A-Z]+ [^ ]*?/(small|large|events|idle)[ /]")
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)

TICK = 0.001
SLOTS = 50
"""Ticks between two events of one stream: 20 a second. Streams take turns, as they do in life."""

FRAME = b'data: {"choices":[{"delta":{"content":"lorem ipsum dolor"}}],"sent":%020d}\n\n'


def answer(content_type: bytes, body: bytes) -> bytes:
    return (
        b"HTTP/1.1 200 OK\r\nServer: upstream\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n"
        b"Content-Type: %b\r\nContent-Length: %d\r\nx-request-id: req_0123456789\r\n"
        b"openai-processing-ms: 12\r\nopenai-version: 2020-10-01\r\n\r\n%b"
    ) % (content_type, len(body), body)


ANSWERS = {
    b"small": answer(b"application/json", b'{"choices":"' + b"x" * 1317 + b'"}'),
    b"large": answer(b"application/octet-stream", b"x" * 65536),
}
STREAM = (
    b"HTTP/1.1 200 OK\r\nServer: upstream\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n"
    b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def event() -> bytes:
    data = FRAME % time.monotonic_ns()
    return b"%x\r\n%b\r\n" % (len(data), data)


class Streams:
    """The streams that are open, in as many slots as one has ticks between its events."""

    def __init__(self) -> None:
        self.slots: list[set[asyncio.Transport]] = [set() for _ in range(SLOTS)]
        self.turn = 0

    def add(self, transport: asyncio.Transport) -> None:
        min(self.slots, key=len).add(transport)

    def remove(self, transport: asyncio.Transport) -> None:
        for slot in self.slots:
            slot.discard(transport)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            self.turn += 1
            for transport in self.slots[self.turn % SLOTS]:
                transport.write(event())
            await asyncio.sleep(began + self.turn * TICK - loop.time())


class Connection(asyncio.Protocol):
    """One connection: whatever has come to its end is answered at once."""

    def __init__(self, streams: Streams) -> None:
        self.streams = streams
        self.head = b""
        self.kind = b""
        self.left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, _: BaseException | None) -> None:
        self.streams.remove(self.transport)

    def data_received(self, data: bytes) -> None:
        if not self.kind:
            data = self.head + data
            head, blank, rest = data.partition(b"\r\n\r\n")
            if not blank:
                self.head = data
                return
            path, length = PATH.match(head), LENGTH.search(head)
            assert path is not None
            self.head, self.kind = b"", path[1]
            self.left = int(length[1]) if length else 0
            data = rest
        self.left -= len(data)
        if self.left <= 0:
            self.answer()

    def answer(self) -> None:
        kind, self.kind = self.kind, b""
        if kind in ANSWERS:
            self.transport.write(ANSWERS[kind])
            return
        self.transport.write(STREAM + event())
        if kind == b"events":
            self.streams.add(self.transport)


async def main() -> None:
    streams = Streams()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(streams), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await streams.run()


if __name__ == "__main__":
    uvloop.run(main())
