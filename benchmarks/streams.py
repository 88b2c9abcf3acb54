"""Holds event streams open and takes the time each event needed: `streams.py PORT PATH COUNT`.

Prints a line when every stream has begun, and one of JSON for each line it is sent.
"""

import asyncio
import json
import re
import sys
import time
from typing import cast

import uvloop

SENT = re.compile(rb'"sent":(\d{20})')
ABREAST = 100
"""Streams begun at once: no listener has to hold thousands in its queue."""


class Readers:
    """What all streams together have seen."""

    def __init__(self) -> None:
        self.delays: list[int] = []
        self.open = 0

    def summary(self) -> str:
        delays, self.delays = sorted(self.delays), []
        count = len(delays)
        at = [
            delays[min(count - 1, count * share // 100)] / 1e9 if count else 0 for share in (50, 99)
        ]
        return json.dumps({"events": count, "streams": self.open, "p50": at[0], "p99": at[1]})


class Stream(asyncio.Protocol):
    """One stream: asked for when connected, read for as long as it lasts."""

    def __init__(self, request: bytes, readers: Readers) -> None:
        self.request = request
        self.readers = readers
        self.begun = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.readers.open += 1
        cast("asyncio.Transport", transport).write(self.request)

    def connection_lost(self, error: BaseException | None) -> None:
        self.readers.open -= 1
        if not self.begun.done():
            self.begun.set_exception(error or ConnectionError("the stream did not begin"))

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        sent = SENT.findall(data)
        self.readers.delays += [now - int(when) for when in sent]
        if sent and not self.begun.done():
            self.begun.set_result(None)


async def main(port: int, path: str, count: int) -> None:
    loop = asyncio.get_running_loop()
    readers = Readers()
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: text/event-stream\r\n\r\n"
    streams: list[Stream] = []
    for first in range(0, count, ABREAST):
        opened = await asyncio.gather(
            *(
                loop.create_connection(lambda: Stream(request.encode(), readers), "127.0.0.1", port)
                for _ in range(min(ABREAST, count - first))
            )
        )
        streams += [stream for _, stream in opened]
        await asyncio.gather(*(stream.begun for stream in streams[first:]))
    print("begun", flush=True)
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(readers.summary(), flush=True)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
