"""One call for many: whoever leaves, the others are served, and nothing is left behind."""

import asyncio

import pytest

from proxy.cache.flights import Flights, Parted


class Calls:
    """Calls that end when told: *outcome* is given or raised, *parts* parts first."""

    def __init__(self):
        self.flights = Flights()
        self.made = self.running = self.cancelled = 0
        self.outcome = "told"
        self.parts = False
        self.go = asyncio.Event()

    def join(self, key="k"):
        return asyncio.create_task(self.flights.join(key, self._begin))

    async def _begin(self, flight):
        self.made += 1
        self.running += 1
        try:
            await self.go.wait()
            if self.parts:
                flight.part()
                flight.part()
                await asyncio.sleep(1)
            if isinstance(self.outcome, BaseException):
                raise self.outcome
            return self.outcome
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_hundred_who_ask_the_same_make_one_call():
    calls = Calls()
    callers = [calls.join() for _ in range(100)]
    await settle()
    calls.go.set()

    assert await asyncio.gather(*callers) == ["told"] * 100
    assert calls.made == 1
    assert len(calls.flights) == 0


async def test_other_questions_are_other_calls():
    calls = Calls()
    callers = [calls.join("a"), calls.join("b")]
    await settle()
    calls.go.set()
    await asyncio.gather(*callers)

    assert calls.made == 2


async def test_the_first_who_leaves_takes_nothing_from_the_others():
    calls = Calls()
    first, *others = [calls.join() for _ in range(3)]
    await settle()
    first.cancel()
    await settle()
    assert calls.running == 1
    calls.go.set()

    assert await asyncio.gather(*others) == ["told"] * 2
    assert first.cancelled()
    assert calls.made == 1


async def test_the_last_who_leaves_ends_the_call_and_sees_it_end():
    calls = Calls()
    first, other = calls.join(), calls.join()
    await settle()
    other.cancel()
    await settle()
    assert calls.running == 1
    first.cancel()
    await asyncio.wait((first,))

    assert first.cancelled()
    assert (calls.running, calls.cancelled, len(calls.flights)) == (0, 1, 0)


async def test_the_last_who_leaves_waits_for_a_call_that_takes_its_time_to_end():
    class Slow(Calls):
        async def _begin(self, flight):
            try:
                return await super()._begin(flight)
            finally:
                self.running += 1
                await asyncio.sleep(1)
                self.running -= 1

    calls = Slow()
    first = calls.join()
    await settle()
    first.cancel()
    await settle()
    newcomer = calls.join()
    await asyncio.wait((first,))

    assert calls.running == 1
    calls.go.set()
    assert await newcomer == "told"
    assert calls.running == 0


async def test_who_comes_after_the_last_has_left_makes_a_new_call():
    calls = Calls()
    first = calls.join()
    await settle()
    first.cancel()
    calls.go.set()
    assert await calls.join() == "told"
    assert calls.made == 2


async def test_all_are_told_of_a_failure_and_it_is_not_kept():
    calls = Calls()
    calls.outcome = OSError("down")
    callers = [calls.join() for _ in range(3)]
    calls.go.set()
    for caller in callers:
        with pytest.raises(OSError, match="down"):
            await caller

    calls.outcome = "told"
    assert await calls.join() == "told"
    assert calls.made == 2


async def test_the_others_part_from_what_is_for_the_first_alone():
    calls = Calls()
    calls.parts = True
    first, other = calls.join(), calls.join()
    await settle()
    calls.go.set()
    with pytest.raises(Parted):
        await other
    assert not first.done()

    newcomer = calls.join()
    assert await first == "told"
    assert await newcomer == "told"
    assert calls.made == 2


async def test_the_first_who_leaves_after_they_parted_ends_the_call():
    calls = Calls()
    calls.parts = True
    first = calls.join()
    await settle()
    calls.go.set()
    await settle()
    first.cancel()
    await asyncio.wait((first,))

    assert (calls.running, calls.cancelled, len(calls.flights)) == (0, 1, 0)


async def test_a_call_that_turns_out_to_be_for_one_who_has_left_ends():
    calls = Calls()
    calls.parts = True
    first, other = calls.join(), calls.join()
    await settle()
    first.cancel()
    await settle()
    calls.go.set()
    with pytest.raises(Parted):
        await other
    await settle()

    assert (calls.running, calls.cancelled, len(calls.flights)) == (0, 1, 0)


async def test_a_failure_that_nobody_is_left_to_hear_is_no_complaint(caplog):
    class Stubborn(Calls):
        async def _begin(self, flight):
            try:
                await super()._begin(flight)
            except asyncio.CancelledError:
                raise OSError("while leaving") from None

    calls = Stubborn()
    first = calls.join()
    await settle()
    first.cancel()
    await asyncio.wait((first,))

    assert first.cancelled()
    assert not caplog.records
