import asyncio
from random import Random

import pytest

from proxy.simulate.callers import Answer, call
from proxy.simulate.scenario import Callers

GOOD = Answer(200, {})
CUT = Answer(200, {}, whole=False)
BAD = Answer(500, {})


async def story(*answers, **habits):
    """Give how it ended, and when each of the caller's requests came."""
    loop = asyncio.get_running_loop()
    began, moments, left = loop.time(), [], list(answers)

    async def ask():
        moments.append(loop.time() - began)
        return left.pop(0)

    return await call(ask, Callers(**habits), Random(1)), moments


async def test_a_good_answer_is_taken():
    assert await story(GOOD) == ("served", [0])


@pytest.mark.parametrize("answer", [BAD, CUT, Answer(429, {}), Answer(409, {})])
async def test_what_may_pass_is_asked_again(answer):
    outcome, moments = await story(answer, answer, GOOD)

    assert outcome == "served"
    assert 0.375 <= moments[1] <= 0.5
    assert 0.75 <= moments[2] - moments[1] <= 1.0


async def test_a_caller_gives_up_after_its_own_retries():
    outcome, moments = await story(BAD, BAD, BAD, GOOD)

    assert (outcome, len(moments)) == ("failed", 3)


@pytest.mark.parametrize(
    "answer",
    [Answer(400, {}), Answer(503, {"x-should-retry": "false"})],
    ids=["400", "told not to"],
)
async def test_what_will_not_pass_is_not_asked_again(answer):
    assert await story(answer, GOOD) == ("failed", [0])


async def test_a_caller_does_as_it_is_told_even_after_a_400():
    told = Answer(400, {"x-should-retry": "true", "retry-after": "7"})

    assert await story(told, GOOD) == ("served", [0, 7])


async def test_a_wait_that_is_too_long_is_not_kept():
    outcome, moments = await story(Answer(503, {"retry-after": "61"}), GOOD)

    assert outcome == "served"
    assert moments[1] <= 0.5


async def test_a_caller_leaves_when_its_patience_is_over_and_retries_count_towards_it():
    assert await story(Answer(503, {"retry-after": "7"}), GOOD, patience=5) == ("left", [0])
