"""The same story simulated and for real: sockets, the whole proxy, a server that fails as told.

What is compared is what the simulation leaves out: connections, parsers, timers of the wire. Both
draw their chance anew, so they agree as two days with the same outage do. Time is virtual for both.
"""

import asyncio
from random import Random

import pytest
from e2e.support import call as request
from e2e.support import metric
from simulate.support import config, told

from proxy.app import Proxy
from proxy.simulate import callers, world
from proxy.simulate.callers import Answer
from proxy.simulate.play import play
from proxy.testing import script
from proxy.testing.clock import VirtualLoop
from proxy.testing.upstream import Upstream

BEGIN = "duration: 60s\narrivals: [{at: 0s, rate: 5}]\nlatency: {p50: 400ms, p99: 1500ms}\n"

CUT_AND_SLOW = """
failures:
  - {at: 10s, lasts: 40s, kind: "503", share: 0.2, retry_after: 1s}
  - {at: 10s, lasts: 40s, kind: cut, share: 0.1}
  - {at: 10s, lasts: 40s, kind: slow, share: 0.5, factor: 3}
"""
SILENT = """
failures: [{at: 15s, lasts: 25s, kind: hang, share: 0.7}]
callers: {patience: 8s}
"""
IMPATIENT = """
timeouts: {first_byte: 3s}
retry: {retry_on: [connect, reset, timeout, 503], base_delay: 500ms}
breaker: {failure_threshold: 1000, failure_rate: 1}
"""
STORIES = {
    "refused": (
        "failures: [{at: 15s, lasts: 25s, kind: refused}]\n",
        "breaker: {timeout: 5s, max_timeout: 10s}",
    ),
    "partly failing, slow, and cut": (CUT_AND_SLOW, "breaker: {failure_threshold: 1000}"),
    "silent": (SILENT, IMPATIENT),
}


class Reality:
    """A scenario, played with sockets; `outcomes` and `attempts` as a `Record` has them."""

    def __init__(self, scenario, seed):
        self.scenario, self.chance = scenario, Random(seed)
        self.outcomes, self.attempts = [], 0

    async def play(self, more):
        loop = asyncio.get_running_loop()
        async with Upstream() as upstream:
            upstream.always(self._meet)
            proxy = Proxy(
                config(more, upstream.url).model_copy(
                    update={
                        "listen": config().listen.model_copy(update={"port": 0}),
                        "admin": config().admin.model_copy(update={"port": 0}),
                    }
                )
            )
            await proxy.start()
            self._began = loop.time()
            async with asyncio.TaskGroup() as everybody:
                for failure in self.scenario.failures:
                    if failure.kind == "refused":
                        everybody.create_task(self._refuse(failure, upstream))
                for at in world.arrivals(self.scenario, self.chance):
                    await asyncio.sleep(self._began + at - loop.time())
                    everybody.create_task(self._call(proxy.addresses[""]))
            # Not from the answers: who left had attempts made for it, too.
            self.attempts = await metric(proxy, "octollm_proxy_attempts_total", upstream="up")
            await proxy.stop()

    async def _call(self, address):
        async def ask():
            found = await request(address, "/up/v1/chat/completions", "POST", b'{"stream": false}')
            fields = {name.lower(): value for name, value in found.headers}
            return Answer(found.status, fields, found.whole)

        self.outcomes.append(await callers.call(ask, self.scenario.callers, self.chance))

    async def _refuse(self, failure, upstream):
        await asyncio.sleep(failure.at)
        await upstream.stop()
        await asyncio.sleep(failure.lasts)
        await upstream.start()

    def _meet(self, seen):
        met = world.fate(self.scenario, seen.at - self._began, self.chance)
        if met.kind == "hang":
            return script.hang()
        if met.kind == "cut":
            return script.wait(met.seconds) + script.short({"object": "real"})
        if met.kind is None:
            return script.wait(met.seconds) + script.ok({"object": "real"})
        asked = {} if met.retry_after is None else {"retry_after": f"{met.retry_after:g}"}
        return script.wait(met.seconds) + script.status(int(met.kind), **asked)


@pytest.mark.parametrize("name", STORIES)
def test_what_is_simulated_is_what_happens(name):
    failures, more = STORIES[name]
    scenario = told(BEGIN + failures)
    real = Reality(scenario, 2)

    record = play(config(more), "up", scenario, 1)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(real.play(more))

    calls, simulated = len(real.outcomes), [call.outcome for call in record.calls]
    served = simulated.count("served") / len(simulated)
    attempts = len(record.attempts) / len(simulated)
    assert real.outcomes.count("served") / calls == pytest.approx(served, rel=0.1)
    assert real.attempts / calls == pytest.approx(attempts, rel=0.1)
