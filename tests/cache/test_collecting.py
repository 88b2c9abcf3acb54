"""A reply that collects what may be told to others, and passes the rest to its caller."""

import asyncio

import pytest
from cache.answers import Caller

from proxy.cache.collecting import MISS, Collecting
from proxy.cache.rules import Lifetime

KEPT = Lifetime(1.0, 2.0, 3.0)
HEAD = [(b"Content-Type", b"x"), (b"Set-Cookie", b"a=b")]


def kept(_status, _headers):
    return KEPT


def never(_status, _headers):
    return None


def test_an_answer_that_may_be_kept_is_collected_and_then_delivered_with_all_its_fields():
    caller = Caller()
    reply = Collecting(caller, kept, 10)
    reply.interim(103, [])
    reply.start(200, HEAD, None)
    reply.write(b"ab")
    reply.flush()
    reply.write(b"cd")
    assert (reply.started, reply.congested) == (False, False)
    reply.finish()

    assert not caller.started
    assert reply.entry.headers == HEAD[:1]
    assert (reply.entry.body, reply.entry.born, reply.entry.stale_until) == (b"abcd", 1.0, 3.0)
    assert reply.deliver() == 200
    assert (caller.headers, caller.body, caller.whole) == ([*HEAD, MISS], b"abcd", True)
    assert not caller.interims


def test_a_whole_answer_is_collected_as_well():
    reply = Collecting(Caller(), kept, 4)
    reply.send(200, HEAD, b"abcd")

    assert reply.entry.body == b"abcd"


@pytest.mark.parametrize(("lives", "body"), [(never, b"abcd"), (kept, b"abcde")])
def test_a_whole_answer_that_may_not_be_kept_or_is_too_large_passes(lives, body):
    caller, parted = Caller(), []
    reply = Collecting(caller, lives, 4, lambda: parted.append(1))
    reply.send(200, HEAD, body)

    assert (caller.headers, caller.body, caller.whole) == ([*HEAD, MISS], body, True)
    assert reply.entry is None
    assert reply.started
    assert parted == [1]


async def test_an_answer_that_passes_is_the_callers_in_everything():
    caller = Caller()
    reply = Collecting(caller, never, 4)
    reply.start(200, HEAD, 5)
    reply.write(b"a")
    assert (reply.started, reply.congested) == (True, True)
    reply.flush()
    await reply.drain()
    reply.interim(103, [])
    reply.abort()
    reply.finish()

    assert (caller.length, caller.body, caller.interims) == (5, b"a", [103])
    assert (caller.flushed, caller.drained, caller.aborted, caller.whole) == (1, 1, True, True)


async def test_an_answer_that_grows_too_large_passes_with_what_was_collected():
    caller, parted = Caller(), []
    reply = Collecting(caller, kept, 4, lambda: parted.append(1))
    reply.start(200, HEAD, None)
    reply.write(b"abcd")
    await reply.drain()
    assert not caller.started
    reply.write(b"e")
    reply.write(b"f")
    reply.finish()

    assert (caller.headers, caller.body, caller.length) == ([*HEAD, MISS], b"abcdef", None)
    assert caller.whole
    assert reply.entry is None
    assert parted == [1]


def test_an_answer_announced_as_too_large_passes_at_once():
    caller = Caller()
    Collecting(caller, kept, 4).start(200, HEAD, 5)

    assert (caller.started, caller.length) == (True, 5)


def test_what_was_collected_of_an_attempt_that_failed_was_never_said():
    reply = Collecting(Caller(), kept, 4)
    reply.start(200, HEAD, 4)
    reply.write(b"abc")
    reply.abort()
    reply.start(200, HEAD, 4)
    reply.write(b"abcd")
    reply.finish()

    assert reply.entry.body == b"abcd"


def test_it_parts_once():
    parted = []
    reply = Collecting(Caller(), never, 4, lambda: parted.append(1))
    reply.let_pass()
    reply.let_pass()
    reply.start(200, HEAD, 4)

    assert parted == [1]


def test_a_handshake_passes():
    caller = Caller()

    assert Collecting(caller, kept, 4).switch([]) is caller


def test_what_may_not_pass_ends_the_call():
    def gone():
        raise asyncio.CancelledError

    caller = Caller()
    with pytest.raises(asyncio.CancelledError):
        Collecting(caller, never, 4, gone).start(200, HEAD, 5)
    assert not caller.started
