"""What `policy/` relies on in pybreaker and tenacity, and why it goes no nearer to them.

A test that fails here after an upgrade says what the library changed. Those about a fault of the
library may fail for a good reason: then the way around it can go.
"""

import asyncio
import contextlib
import inspect

import pybreaker
import pytest
import tenacity


class Storage(pybreaker.CircuitBreakerStorage):
    """A storage that writes down what pybreaker asks of it."""

    state = pybreaker.STATE_CLOSED
    counter = 0
    success_counter = 0
    opened_at = None

    def __init__(self):
        super().__init__("asked")
        self.asked = []

    def reset_counter(self):
        self.asked.append("reset_counter")

    def reset_success_counter(self):
        self.asked.append("reset_success_counter")


def circuit(**settings):
    return pybreaker.CircuitBreaker(
        fail_max=2, reset_timeout=0, throw_new_error_on_trip=False, **settings
    )


async def failing():
    raise OSError


def test_pybreaker_moves_when_told_and_clears_counts_as_we_expect():
    storage = Storage()
    breaker = circuit(state_storage=storage)
    assert storage.asked == []
    moved = []
    for move in (breaker.open, breaker.half_open, breaker.close):
        storage.asked.clear()
        move()
        moved.append((storage.state, set(storage.asked)))
    assert moved == [
        (pybreaker.STATE_OPEN, {"reset_success_counter"}),
        (pybreaker.STATE_HALF_OPEN, {"reset_success_counter"}),
        (pybreaker.STATE_CLOSED, {"reset_success_counter", "reset_counter"}),
    ]


def test_pybreaker_holds_counts_against_its_limits():
    storage = Storage()
    breaker = circuit(state_storage=storage, success_threshold=3)
    storage.counter, storage.success_counter = 7, 2
    assert (breaker.fail_counter, breaker.fail_max) == (7, 2)
    assert (breaker.success_counter, breaker.success_threshold) == (2, 3)


def test_pybreaker_tells_its_listeners_before_its_storage_has_the_new_state():
    class Curious(pybreaker.CircuitBreakerListener):
        def state_change(self, cb, *states):
            seen.append((states[-1].name, cb.current_state))

    seen = []
    circuit(listeners=[Curious()]).open()
    assert seen == [(pybreaker.STATE_OPEN, pybreaker.STATE_CLOSED)]


def test_pybreaker_call_never_sees_a_coroutine_fail():
    breaker = circuit()
    for _ in range(5):
        coroutine = breaker.call(failing)
        assert inspect.iscoroutine(coroutine)
        coroutine.close()
    assert (breaker.current_state, breaker.fail_counter) == (pybreaker.STATE_CLOSED, 0)


def test_pybreaker_calling_takes_a_cancellation_for_a_failure():
    breaker = circuit()
    for _ in range(2):
        with pytest.raises(asyncio.CancelledError), breaker.calling():
            raise asyncio.CancelledError
    assert breaker.current_state == pybreaker.STATE_OPEN


def test_pybreaker_takes_an_excluded_cancellation_for_a_success():
    breaker = circuit(exclude=[asyncio.CancelledError])
    breaker.half_open()
    with pytest.raises(asyncio.CancelledError), breaker.calling():
        raise asyncio.CancelledError
    assert breaker.current_state == pybreaker.STATE_CLOSED


async def test_pybreaker_calling_lets_everybody_through_a_half_open_circuit():
    async def probe():
        with breaker.calling():
            await everybody.wait()

    breaker, everybody = circuit(), asyncio.Barrier(20)
    breaker.open()
    async with asyncio.TaskGroup() as callers:
        for _ in range(20):
            callers.create_task(probe())
    assert breaker.current_state == pybreaker.STATE_CLOSED


def test_a_late_failure_moves_the_end_of_pybreakers_open_time():
    breaker = circuit()
    late = breaker.calling()
    late.__enter__()
    breaker.open()
    storage = breaker._state_storage
    opened, storage._fail_counter = storage.opened_at, 1
    with contextlib.suppress(OSError):
        late.__exit__(OSError, OSError(), None)
    assert storage.opened_at > opened


def failed(error, attempt=1):
    state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
    state.attempt_number = attempt
    state.set_exception((type(error), error, None))
    return state


def test_tenacity_composes_strategies_that_can_be_asked_without_its_loop():
    stop = tenacity.stop_after_attempt(3) | tenacity.stop_after_attempt(5)
    retry = tenacity.retry_if_exception_type(OSError) & (
        tenacity.retry_if_exception_message("a") | tenacity.retry_if_exception_message("b")
    )
    rules = tenacity.Retrying(stop=stop, retry=retry, wait=tenacity.wait_fixed(2))
    assert rules.retry(failed(OSError("b")))
    assert not rules.retry(failed(KeyError("b")))
    assert [rules.stop(failed(OSError(), attempt)) for attempt in (2, 3)] == [False, True]
    assert rules.wait(failed(OSError())) == 2


def test_tenacity_asks_a_stop_only_as_far_as_the_first_that_says_so():
    def say(word, answer):
        def stop(_):
            asked.append(word)
            return answer

        return tenacity.stop_any(stop)

    asked = []
    stop = say("first", False) | say("second", True) | say("third", True)
    assert stop(failed(OSError()))
    assert asked == ["first", "second"]


def test_tenacity_counts_attempts_from_one_and_grows_waits_by_our_formula():
    wait = tenacity.wait_exponential(multiplier=0.5, exp_base=3, max=10)
    assert [wait(failed(OSError(), attempt)) for attempt in (1, 2, 3, 4)] == [0.5, 1.5, 4.5, 10]
    assert wait(failed(OSError(), 5000)) == 10


def test_tenacity_retries_a_cancellation_if_the_predicate_does_not_begin_with_the_type():
    cancelled = failed(asyncio.CancelledError())
    assert tenacity.retry_if_exception(lambda _: True)(cancelled)
    assert tenacity.retry_if_not_exception_type(OSError)(cancelled)
    assert not tenacity.retry_if_exception_type(Exception)(cancelled)
