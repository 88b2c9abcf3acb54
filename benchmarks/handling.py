"""What a request costs in the gateway alone, with a wire that is already there and never waits.

    python benchmarks/handling.py            CPU time of a good POST through Gateway.handle
    PYTHONPATH=OTHER python benchmarks/handling.py    the same, of another checkout

To compare two, run them in turn, some times, and take the ratio of the best: what the machine does
besides falls on both.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from random import Random

import uvloop

from proxy.cache.caches import Caches
from proxy.config.load import parse
from proxy.gateway.forward import Gateway
from proxy.gateway.runtime import Runtime, Surroundings
from proxy.observe import logs
from proxy.observe.history import History
from proxy.observe.metrics import Metrics
from proxy.wire.body import Whole
from proxy.wire.message import Request

ROUNDS = 60
CALLS = 300

CONFIG = """
version: 1
upstreams:
  up: {kind: llm, provider: openai, url: "http://127.0.0.1:1"}
"""
ASKED = b'{"model":"m","messages":[{"role":"user","content":"%b"}]}' % (b"x" * 700)
ANSWER = b'{"choices":[{"message":{"content":"%b"}}]}' % (b"y" * 1200)
HEAD = [
    (b"Content-Type", b"application/json"),
    (b"x-request-id", b"req_1"),
    (b"Content-Length", b"%d" % len(ANSWER)),
]
FIELDS = [
    (b"Host", b"127.0.0.1:8080"),
    (b"Authorization", b"Bearer sk-benchmark"),
    (b"Content-Type", b"application/json"),
    (b"Content-Length", b"%d" % len(ASKED)),
    (b"User-Agent", b"OpenAI/Python 1.0"),
    (b"Accept", b"application/json"),
    (b"x-stainless-read-timeout", b"600"),
]


class Upload(Whole):
    idle = None


class Exchange(Whole):
    """An answer that is there at once."""

    status, headers, reused, limits = 200, HEAD, True, None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class Client:
    async def exchange(self, request, *_):
        while await request.body.read():
            pass
        return Exchange(ANSWER)


class Reply:
    started = congested = False
    status = 0

    def send(self, status, *_):
        self.started, self.status = True, status

    def interim(self, status, headers):
        pass


def gateway(clock) -> Gateway:
    metrics = Metrics()
    around = Surroundings(
        clock=clock,
        wall=time.time,
        stopwatch=time.perf_counter,
        random=Random(1),
        metrics=metrics,
        connect=lambda _: Client(),
        caches=Caches(clock, time.time, lambda _: None),
        history=History(metrics, clock, time.time),
    )
    return Gateway(Runtime(parse(CONFIG, "benchmark.yaml", {}), around))


async def main() -> None:
    clock = asyncio.get_running_loop().time
    under_test = gateway(clock)

    async def call(times: int) -> None:
        for _ in range(times):
            body, reply = Upload(ASKED), Reply()
            target = "/up/v1/chat/completions"
            request = Request("POST", target, (1, 1), FIELDS, body, "127.0.0.1", clock())
            await under_test.handle(request, reply)
            assert reply.status == 200

    await call(2000)
    costs = []
    for _ in range(ROUNDS):
        began = time.process_time()
        await call(CALLS)
        costs.append((time.process_time() - began) / CALLS * 1e6)
    print(f"{statistics.median(costs):.1f} us a call, {min(costs):.1f} at best")


if __name__ == "__main__":
    with tempfile.TemporaryFile() as lines:
        logs.configure(level="warning", format="json", stream=lines)
        uvloop.run(main())
        logs.close()
        sys.stdout.flush()
