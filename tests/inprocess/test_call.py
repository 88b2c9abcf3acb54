"""Calls of this process under the policies of a config file; in virtual time."""

import asyncio
from random import Random

import httpx
import pytest

from proxy import errors
from proxy.config.load import parse
from proxy.config.problem import ConfigError
from proxy.inprocess import Policies
from proxy.policy.breaker import State
from proxy.testing import script
from proxy.testing.upstream import Upstream

CONFIG = """
version: 1
upstreams:
  up:
    kind: llm
    provider: openai
    url: "http://up"
    timeouts: {total: 60s}
    retry: {max_retries: 3, base_delay: 1s, jitter: false, budget: {min_per_second: 100}}
    breaker: {failure_threshold: 5, timeout: 30s, max_timeout: 30s}
    routes:
      - match: {path: /v1/embeddings}
        timeouts: {total: 5s}
        retry: {max_retries: 1}
  vectors: {kind: vectordb, provider: qdrant, url: "http://vectors"}
"""


def policies(text=CONFIG, **given):
    return Policies(parse(text, "test.yaml", {}), random=Random(1), **given)


def now():
    return asyncio.get_running_loop().time()


class Steps:
    """Attempts that end as told: by an exception, or with an answer. The last goes on for ever."""

    def __init__(self, *ends):
        self.ends = list(ends)
        self.made = 0

    async def __call__(self):
        self.made += 1
        end = self.ends.pop(0) if len(self.ends) > 1 else self.ends[0]
        if isinstance(end, BaseException):
            raise end
        return end


async def once(known, make, **asked):
    async with known.call("up", **asked) as call:
        return await call(make)


async def broken(known, times=1):
    """Let so many attempts fail."""
    for _ in range(times):
        with pytest.raises(errors.NetworkError):
            await once(known, Steps(ConnectionRefusedError()), path="/v1/embeddings")


async def test_a_good_answer_is_given_as_it_is():
    assert await once(policies(), Steps("hello")) == "hello"


async def test_a_failure_is_repeated_after_the_waits_of_the_config():
    attempts, began = Steps(ConnectionResetError(), ConnectionRefusedError(), "at last"), now()

    assert await once(policies(), attempts) == "at last"
    assert attempts.made == 3
    assert now() - began == 1 + 2


async def test_the_error_of_the_last_attempt_is_raised_with_where_it_came_from():
    first = ConnectionResetError("secret-free")

    with pytest.raises(errors.NetworkError) as raised:
        await once(policies(), Steps(first))

    assert raised.value.__cause__ is first
    assert raised.value.details == {"upstream": "up", "attempts": 4}


async def test_a_route_has_its_own_settings():
    attempts = Steps(ConnectionResetError())

    with pytest.raises(errors.NetworkError):
        await once(policies(), attempts, path="/v1/embeddings/x")

    assert attempts.made == 2


async def test_what_is_no_failure_of_the_call_comes_through_untouched_and_blames_nobody():
    known, attempts = policies(), Steps(ValueError("mine"))

    for _ in range(10):
        with pytest.raises(ValueError, match="mine"):
            await once(known, attempts)

    assert attempts.made == 10
    assert await once(known, Steps("closed still")) == "closed still"


async def test_a_write_is_not_repeated_but_a_read_is():
    known = policies()
    for path, made in (("/collections/x/points/search", 4), ("/collections/x/points/delete", 1)):
        attempts = Steps(ConnectionResetError())
        with pytest.raises(errors.NetworkError):
            async with known.call("vectors", path=path) as call:
                await call(attempts)
        assert attempts.made == made


async def test_the_budget_bounds_retries():
    known = policies(CONFIG.replace("{min_per_second: 100}", "{ratio: 0, min_per_second: 0}"))
    attempts = Steps(ConnectionResetError())

    with pytest.raises(errors.NetworkError):
        await once(known, attempts)

    assert attempts.made == 1


async def test_the_breaker_opens_and_recovers():
    moves = []
    known = policies(on_transition=lambda moved: moves.append(moved.to_state))
    await broken(known, 2)
    with pytest.raises(errors.NetworkError) as last:
        await once(known, Steps(ConnectionRefusedError()))
    assert last.value.retry_after == 30  # it opened during the call's own retries

    attempts = Steps("never made")
    with pytest.raises(errors.CircuitOpenError) as rejected:
        await once(known, attempts)
    assert attempts.made == 0
    assert rejected.value.retry_after == 30

    await asyncio.sleep(30)
    assert await once(known, Steps("back")) == "back"
    assert moves == [State.OPEN, State.HALF_OPEN, State.CLOSED]


async def test_where_others_open_the_circuit_during_a_wait_the_last_failure_stands():
    known = policies()

    async def one():
        await once(known, Steps(ConnectionResetError("mine")))

    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(_raised(one()))
        await asyncio.sleep(0.5)
        group.create_task(_raised(broken_now(known)))

    error = waiting.result()
    assert isinstance(error, errors.NetworkError)
    assert error.retry_after == pytest.approx(29.5)
    assert str(error.__cause__) == "mine"


async def broken_now(known):
    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(_raised(once(known, Steps(ConnectionResetError()))))


async def _raised(coroutine):
    try:
        await coroutine
    except errors.OctoLLMError as error:
        return error


async def test_the_deadline_holds_over_attempts_and_waits():
    began = now()

    with pytest.raises(errors.TimeoutError) as raised:
        await once(policies(), asyncio.Event().wait)

    assert now() - began == 60
    assert raised.value.details == {
        "operation": "the call",
        "timeout": 60,
        "upstream": "up",
        "attempts": 1,
    }
    assert raised.value.condition == "timeout"


async def test_a_deadline_that_left_an_attempt_its_full_time_blames_the_upstream():
    known = policies()
    for _ in range(5):
        with pytest.raises(errors.TimeoutError):
            await once(known, asyncio.Event().wait)

    with pytest.raises(errors.CircuitOpenError):
        await once(known, Steps("x"))


async def test_a_deadline_that_passes_after_the_answer_blames_nobody():
    known = policies()
    for _ in range(5):
        with pytest.raises(errors.TimeoutError) as raised:
            async with known.call("up") as call:
                await call(Steps("answer"))
                await asyncio.sleep(100)
        assert raised.value.condition is None

    assert await once(known, Steps("x")) == "x"


async def test_a_retry_that_would_come_too_late_is_not_waited_for():
    began = now()

    async def slow():
        await asyncio.sleep(4.5)
        raise ConnectionResetError

    with pytest.raises(errors.NetworkError):
        await once(policies(), slow, path="/v1/embeddings")

    assert now() - began == 4.5


async def test_a_stream_has_the_time_of_a_stream_once_it_has_begun():
    async with policies().call("up", stream=True) as call:
        await call(Steps("stream"))
        await asyncio.sleep(3600)


async def test_a_stream_has_its_own_total():
    text = CONFIG.replace("{total: 60s}", "{total: 60s, stream_total: 2m}")
    began = now()

    with pytest.raises(errors.TimeoutError) as raised:
        async with policies(text).call("up", stream=True) as call:
            await call(Steps("stream"))
            await asyncio.sleep(3600)

    assert now() - began == 120
    assert raised.value.details["timeout"] == 120


async def test_without_a_deadline_a_call_may_take_for_ever():
    async with policies(CONFIG.replace("total: 60s", "total: none")).call("up"):
        await asyncio.sleep(1e6)


async def test_an_answer_that_breaks_off_is_cut_and_blames_the_upstream():
    known = policies()
    for _ in range(5):
        with pytest.raises(errors.NetworkError) as raised:
            async with known.call("up") as call:
                await call(Steps("stream"))
                raise ConnectionResetError
        assert raised.value.condition == "cut"

    with pytest.raises(errors.CircuitOpenError):
        await once(known, Steps("x"))


@pytest.mark.parametrize(
    "raised",
    [
        ValueError("mine"),
        errors.LLMAPIError("other", 500, "of another call", condition=500),
        ConnectionRefusedError("another connection"),
    ],
)
async def test_what_else_a_block_raises_after_its_answer_blames_nobody(raised):
    known = policies()
    for _ in range(5):
        with pytest.raises(type(raised)) as seen:
            async with known.call("up") as call:
                await call(Steps("answer"))
                raise raised
        assert seen.value is raised

    assert await once(known, Steps("x")) == "x"


async def test_a_broken_connection_before_any_answer_is_another_calls():
    with pytest.raises(ConnectionResetError):
        async with policies().call("up"):
            raise ConnectionResetError


async def test_cancellation_is_never_swallowed_and_blames_nobody():
    known = policies()
    for _ in range(5):
        task = asyncio.create_task(once(known, asyncio.Event().wait))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert await once(known, Steps("x")) == "x"


async def test_a_cancelled_probe_gives_its_place_to_the_next():
    known = policies()
    await broken(known, 3)
    await asyncio.sleep(30)
    probe = asyncio.create_task(once(known, asyncio.Event().wait))
    await asyncio.sleep(1)
    with pytest.raises(errors.CircuitOpenError):
        await once(known, Steps("x"))

    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe

    assert await once(known, Steps("x")) == "x"


async def test_one_block_can_call_again():
    async with policies().call("up", path="/v1/embeddings") as call:
        assert await call(Steps("one")) == "one"
        with pytest.raises(errors.NetworkError) as raised:
            await call(Steps(ConnectionResetError()))
        assert await call(Steps(ConnectionResetError(), "two")) == "two"

    assert raised.value.details["attempts"] == 2


async def test_an_error_of_ours_from_an_attempt_is_judged_as_what_it_says():
    refused = errors.LLMAPIError("up", 503, "full", condition=503)
    attempts = Steps(refused, "answer")
    assert await once(policies(), attempts) == "answer"

    final = errors.ValidationError("no", condition=400)
    with pytest.raises(errors.ValidationError) as raised:
        await once(policies(), Steps(final))
    assert raised.value is final
    assert final.__cause__ is None


async def test_who_is_not_in_the_config_cannot_be_called():
    with pytest.raises(LookupError, match="nobody"):
        async with policies().call("nobody"):
            pass


def test_a_file_is_loaded_and_its_problems_are_told(tmp_path):
    file = tmp_path / "proxy.yaml"
    file.write_text(CONFIG.replace("http://up", "${UP_URL}"))

    with pytest.raises(ConfigError, match="UP_URL"):
        Policies.load(file, {})
    assert Policies.load(file, {"UP_URL": "http://up"})
    assert Policies.load(file, None)


async def test_an_httpx_answer_that_is_an_error_is_raised_or_repeated():
    known = policies()
    async with Upstream() as upstream, httpx.AsyncClient(base_url=upstream.url) as client:
        upstream.script(
            script.status(503, {"error": {"message": "overloaded"}}, retry_after=7),
            script.ok("at last"),
        )
        began = now()
        answer = await once(known, lambda: client.post("/v1/x"))
        assert answer.text == "at last"
        assert 7 <= now() - began <= 7 * 1.2 + 0.1

        upstream.script(script.status(401, {"error": {"message": "who are you?"}}))
        with pytest.raises(errors.AuthenticationError) as raised:
            await once(known, lambda: client.post("/v1/x"))
        assert raised.value.details["error_message"] == "who are you?"
        assert raised.value.details["attempts"] == 1


async def test_the_upstreams_own_word_against_a_retry_is_obeyed():
    async with Upstream() as upstream, httpx.AsyncClient(base_url=upstream.url) as client:
        upstream.always(script.status(500, x_should_retry="false"))

        with pytest.raises(errors.LLMAPIError):
            await once(policies(), lambda: client.get("/"))

        assert upstream.requests == 1
