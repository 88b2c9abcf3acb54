import asyncio
from random import Random

import pytest
from simulate.support import config, told

from proxy import errors
from proxy.simulate.record import Record
from proxy.simulate.wire import Wire
from proxy.wire.body import Whole
from proxy.wire.message import Limits, Outgoing


def wire(kind=None, limits="", **more):
    failures = ""
    if kind is not None:
        keys = "".join(f", {name}: {value}" for name, value in more.items())
        failures = f'failures: [{{at: 0s, lasts: 1m, kind: "{kind}"{keys}}}]\n'
    scenario = told("duration: 1m\nlatency: {p50: 1s, p99: 1s}\n" + failures)
    record = Record(asyncio.get_running_loop().time())
    return Wire(config(limits).upstreams["up"], scenario, record, Random(1)), record


def request(body=None):
    return Outgoing("POST", "/", [], body)


def passed():
    return asyncio.get_running_loop().time() - 10_000


async def test_a_good_answer_is_whole_and_comes_in_its_time():
    calls, record = wire()

    with await calls.exchange(request(Whole(b"x")), Limits()) as answer:
        body = answer.read_nowait()
        assert (answer.status, len(body), answer.read_nowait()) == (200, answer.length, b"")

    assert passed() == pytest.approx(1)
    assert (len(record.attempts), record.good) == (1, 1)
    await calls.close()


async def test_a_status_says_how_long_to_wait():
    calls, record = wire("503", retry_after="2s")

    with await calls.exchange(request(), Limits()) as answer:
        assert (answer.status, dict(answer.headers)[b"retry-after"]) == (503, b"2")

    assert (len(record.attempts), record.good) == (1, 0)


async def test_a_refused_connection_is_told_as_the_real_wire_does():
    calls, _ = wire("refused")

    with pytest.raises(errors.NetworkError) as refused:
        await calls.exchange(request(), Limits())

    assert (refused.value.condition, refused.value.sent) == ("connect", False)


async def test_a_cut_answer_fails_after_its_first_half():
    calls, record = wire("cut")

    with await calls.exchange(request(), Limits()) as answer:
        half = await answer.read()
        with pytest.raises(errors.NetworkError) as cut:
            await answer.read()

    assert 0 < len(half) < answer.length
    assert (cut.value.condition, record.good) == ("cut", 0)


@pytest.mark.parametrize(
    ("limits", "condition", "after"),
    [
        (Limits(first_byte=3.0, deadline=10_020.0), "timeout", 3),
        (Limits(first_byte=30.0, deadline=10_020.0), None, 20),
        (Limits(first_byte=3.0), "timeout", 3),
    ],
    ids=["first_byte", "deadline", "no deadline"],
)
async def test_silence_ends_with_the_first_limit_that_passes(limits, condition, after):
    calls, _ = wire("hang")

    with pytest.raises(errors.TimeoutError) as late:
        await calls.exchange(request(), limits)

    assert (late.value.condition, passed()) == (condition, pytest.approx(after))


async def test_silence_without_a_limit_ends_when_the_caller_leaves():
    calls, _ = wire("hang")

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1000):
            await calls.exchange(request(), Limits())


async def test_connections_and_the_line_for_them_are_as_long_as_configured():
    calls, _ = wire(limits="limits: {connections: 1, pending: 1}")

    first = asyncio.ensure_future(calls.exchange(request(), Limits()))
    second = asyncio.ensure_future(calls.exchange(request(), Limits(deadline=10_001.5)))
    await asyncio.sleep(0)
    with pytest.raises(errors.CapacityExceededError):
        await calls.exchange(request(), Limits())
    held = await first

    with pytest.raises(errors.TimeoutError) as late:  # nobody gave the connection back
        await second
    assert (late.value.sent, late.value.condition, passed()) == (False, None, pytest.approx(1.5))

    held.close()
    with await calls.exchange(request(), Limits()):
        assert passed() == pytest.approx(2.5)


async def test_what_is_not_simulated_says_so():
    calls, _ = wire()
    calls.retire()

    with await calls.exchange(request(), Limits()) as answer:
        answer.fail(RuntimeError("the end"))
        with pytest.raises(errors.NetworkError, match="no WebSocket"):
            answer.switch()
        assert await answer.read()
