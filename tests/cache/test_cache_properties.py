"""Callers who come and leave at any moment, over an upstream that does anything."""

import asyncio

from cache.answers import Caller, question
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy import errors
from proxy.cache.cache import Answered, Cache
from proxy.cache.memory import Memory
from proxy.testing.clock import VirtualLoop

# Small whole numbers, so that comings, leavings and steps of the upstream often fall together.
MOMENTS = st.integers(0, 12)
CALLERS = st.lists(
    st.tuples(MOMENTS, st.none() | MOMENTS, st.booleans(), st.none() | MOMENTS),
    min_size=1,
    max_size=8,
)  # when it comes, after how long it leaves, whether it takes a kept answer, its patience
KEPT, LIVE = (b"A", b"b"), (b"Cache-Control", b"no-store")
OUTCOMES = st.sampled_from(
    [
        KEPT,
        LIVE,
        errors.NetworkError("x", condition="connect"),
        errors.TimeoutError("request", 1.0),
    ]
)
STEPS = st.lists(st.tuples(OUTCOMES, st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=4)


class Run:
    """One history; *steps* are the upstream's doings, turn about: what, and how slowly."""

    def __init__(self, callers, steps):
        self.callers, self.steps = callers, steps
        self.cache = Cache(Memory(10_000), None, asyncio.get_running_loop().time)
        self.waiting = self.running = self.asked = 0
        self.shared = all(outcome is KEPT for outcome, _, _ in steps)

    async def fetch(self, reply):
        outcome, first, second = self.steps[self.asked % len(self.steps)]
        self.asked += 1
        self.running += 1
        try:
            await asyncio.sleep(first)
            if isinstance(outcome, Exception):
                raise outcome
            reply.start(200, [outcome], None)
            reply.write(b"to")
            await asyncio.sleep(second)
            reply.write(b"ld")
            reply.finish()
            return 200
        finally:
            self.running -= 1

    async def caller(self, comes, _leaves, keeps, patience):
        await asyncio.sleep(comes)
        until = None if patience is None else asyncio.get_running_loop().time() + patience
        reply = Caller()
        asked = question(ttl=2.0, accepted_age=float("inf") if keeps else 0.0, until=until)
        self.waiting += 1
        try:
            served = self.cache.find(asked) or await self.cache.answer(asked, reply, self.fetch)
        except errors.OctoLLMError:
            assert not reply.started
            return
        finally:
            reply.left = True  # nobody may write to it any more
            self.waiting -= 1
        if isinstance(served, Answered):
            assert (reply.body, reply.whole) == (b"told", True)
        else:
            assert not reply.started
            assert served.entry.body == b"told"

    async def live(self):
        tasks = []
        for facts in self.callers:
            task = asyncio.create_task(self.caller(*facts))
            if facts[1] is not None:
                asyncio.get_running_loop().call_later(facts[0] + facts[1], task.cancel)
            tasks.append(task)
        watching = asyncio.create_task(self.watch())
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        watching.cancel()
        await asyncio.wait((watching,))
        assert watching.cancelled(), watching.exception()
        for facts, end in zip(self.callers, ended, strict=True):
            left = isinstance(end, asyncio.CancelledError) and facts[1] is not None
            assert end is None or left, end
        assert self.running == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def watch(self):
        """Look between the moments: where anybody waits there is a call, where nobody, none."""
        await asyncio.sleep(0.5)
        while True:
            assert bool(self.waiting) == bool(self.running)
            if self.shared:  # with no-cache and without are two questions
                assert self.running <= 2
            await asyncio.sleep(1)


@settings(max_examples=300, deadline=None)
@given(CALLERS, STEPS)
def test_whoever_leaves_whenever_the_others_are_served_and_nothing_is_left(callers, steps):
    async def run():
        await Run(callers, steps).live()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(run())
