import gc
import weakref

import pytest

from proxy import errors
from proxy.observe.history import STEP, STEPS, History, Step, total
from proxy.observe.metrics import Metrics
from proxy.policy.breaker import Hold
from proxy.policy.transitions import Reason, State, Transition
from proxy.testing.clock import Clock

FAILED = errors.LLMAPIError("openai", 500, condition=500)


class Past:
    """A history with its clocks, and the numbers it reads."""

    def __init__(self):
        self.clock = Clock()
        self.wall = Clock(1_700_000_000.0)
        self.metrics = Metrics()
        self.history = History(self.metrics, self.clock, self.wall)

    def answer(self, count=1, *, status=200, code="", seconds=0.02, upstream="up"):
        for _ in range(count):
            metrics = self.metrics.upstream(upstream)
            metrics.completed("GET", status, code, seconds, 0.0, attempts=2)

    def look(self, *, ratio=0.0, after=0.0):
        self.clock.advance(after)
        self.history.look({"up": ratio})

    def fail(self, error=FAILED, upstream="up", **facts):
        told = {"request_id": "r", "method": "GET", "status": error.status, "attempts": 1}
        self.history.failed(upstream, error, **{**told, "seconds": 0.5, **facts})

    def move(self, to_state=State.OPEN, upstream="up"):
        moved = Transition(upstream, State.CLOSED, to_state, Reason.CONSECUTIVE, 0.0, 60.0)
        self.history.moved(moved)

    @property
    def steps(self):
        return self.history.series("up")


def test_figures_are_what_was_counted_between_two_looks():
    past = Past()
    past.answer(100)
    past.look()
    past.answer(3)
    past.answer(2, status=502, code="LLM_API_ERROR")
    past.answer(status=499)
    past.look(ratio=0.4, after=STEP)

    (step,) = past.steps
    assert (step.served, step.failed, step.attempts, step.failure_ratio) == (3, 2, 10, 0.4)


def test_what_happens_between_the_looks_of_one_step_adds_up():
    past = Past()
    past.look()
    past.answer(3)
    past.look(after=1)
    past.answer(4)
    past.look(after=STEP)

    assert [step.served for step in past.steps] == [7]
    assert sum(past.steps[0].durations) == 7


def test_an_upstream_nobody_has_looked_at_has_no_figures():
    assert Past().history.series("up") == []


def test_a_step_in_which_nobody_looked_is_empty():
    past = Past()
    past.look()
    past.answer(3)
    past.look(after=4 * STEP, ratio=0.5)

    assert [step.served for step in past.steps] == [3, 0, 0, 0]
    assert past.steps[-1].failure_ratio == 0.5
    assert past.steps[-1].quantile(0.5) is None


@pytest.mark.parametrize("idle", [STEP * 2 * STEPS, 1e9])
def test_no_more_than_five_minutes_are_kept(idle):
    past = Past()
    past.look()
    for count in range(2 * STEPS):
        past.answer(count)
        past.look(after=STEP)
    kept = [step.served for step in past.steps]
    past.look(after=idle)

    assert kept == list(range(STEPS, 2 * STEPS))
    assert [step.served for step in past.steps] == [0] * STEPS


def test_an_upstream_that_is_gone_is_forgotten_and_begins_anew_when_it_comes_back():
    past = Past()
    past.look()
    past.answer()
    past.fail()
    past.move()
    past.history.look({"other": 0.0})
    gone = (past.steps, past.history.last_move("up"), past.history.last_failures("up"))
    past.metrics.remove("up")
    past.answer(5)
    past.look()
    past.look(after=STEP)

    assert gone == ([], None, [])
    assert [step.served for step in past.steps] == [0]


def test_calls_that_outlive_their_upstream_leave_nothing_for_good():
    past = Past()
    past.look()
    past.history.look({"other": 0.0})
    past.fail()
    past.move()
    past.history.look({"other": 0.0})

    assert (past.history.last_move("up"), past.history.last_failures("up")) == (None, [])


def test_other_counters_under_the_same_name_are_not_compared_with_the_old_ones():
    past = Past()
    past.answer(100)
    past.look()
    past.metrics.remove("up")
    past.look()
    past.answer(1)
    past.look(after=STEP)

    assert [step.served for step in past.steps] == [1]


@pytest.mark.parametrize(
    ("took", "share", "estimate"),
    [
        ((), 0.5, None),
        ((4,), 0.5, 0.0025),
        ((0, 10), 0.5, 0.0075),
        ((5, 5), 0.95, 0.0095),
        ((0,) * 17 + (3,), 0.95, 600.0),
    ],
)
def test_a_quantile_is_estimated_as_prometheus_does_it(took, share, estimate):
    assert Step(durations=took).quantile(share) == (
        estimate if estimate is None else pytest.approx(estimate)
    )


def test_steps_add_up():
    first = Step(served=1, failed=2, attempts=3, failure_ratio=0.9, durations=(1, 0))
    second = Step(served=10, failed=20, attempts=30, failure_ratio=0.1, durations=(1, 1))

    assert total([first, second]) == Step(11, 22, 33, 0.1, (2, 1))
    assert total([]) == Step()


def test_a_step_is_over_after_its_seconds():
    past = Past()
    begin = past.history.until_next_look()
    past.clock.advance(begin + 2)

    assert past.history.until_next_look() == STEP - 2


def test_the_time_of_a_move_is_taken_when_it_happens():
    past = Past()
    past.move()
    past.wall.advance(5)

    (moved,) = past.history.moves
    assert moved.at == past.wall() - 5
    assert (moved.upstream, moved.from_state, moved.to_state) == ("up", "closed", "open")
    assert past.history.last_move("up") is moved
    assert past.history.last_move("other") is None


def test_config_changes_are_remembered():
    past = Past()
    past.history.reloaded()
    past.history.rejected(["proxy.yaml:1:1: url: is missing"])

    assert [change.result for change in past.history.changes] == ["reloaded", "rejected"]
    assert past.history.changes[-1].about == ("proxy.yaml:1:1: url: is missing",)


@pytest.mark.parametrize(("ttl", "until"), [(None, None), (60.0, 60.0)])
def test_what_an_operator_did_is_remembered(ttl, until):
    past = Past()
    hold = Hold(State.OPEN, 1.0)
    acted = past.history.acted(
        "up", "force-open", by="::1", why="a drill", ttl=ttl, mode=None, hold=hold
    )

    assert list(past.history.actions) == [acted]
    assert acted.until == (None if until is None else past.wall() + until)


def test_the_latest_failure_of_each_code_is_at_hand_the_newest_first():
    past = Past()
    past.fail(errors.NetworkError("refused", condition="connect"))
    past.wall.advance(1)
    past.fail(request_id="first")
    past.wall.advance(1)
    past.fail(request_id="second")

    codes = [(one.code, one.request_id) for one in past.history.last_failures("up")]
    assert codes == [("LLM_API_ERROR", "second"), ("NETWORK_ERROR", "r")]


def test_a_method_of_the_callers_own_making_is_not_kept():
    past = Past()
    past.fail(method="PUT")
    past.fail(method="X" * 60_000)

    assert [one.method for one in past.history.failures] == ["PUT", "other"]


def test_who_was_turned_away_does_not_push_out_what_explains_it():
    past = Past()
    past.fail()
    for _ in range(1000):
        past.fail(errors.CircuitOpenError("up", 5.0))

    assert [one.code for one in past.history.failures] == ["LLM_API_ERROR"]
    assert {one.code for one in past.history.last_failures("up")} == {
        "LLM_API_ERROR",
        "CIRCUIT_OPEN",
    }


def test_memory_is_bounded():
    past = Past()
    for number in range(1000):
        past.fail(request_id=str(number))
        past.move()
        past.history.reloaded()
        past.history.acted("up", "reset", by="", why="", ttl=None, mode=None, hold=None)

    history = past.history
    kept = (history.failures, history.moves, history.changes, history.actions)
    assert [len(each) for each in kept] == [200] * 4
    assert history.failures[-1].request_id == "999"


def test_a_failed_request_is_not_kept_alive_by_its_error():
    class Body:
        pass

    def serve():
        body = Body()
        gone.append(weakref.ref(body))
        raise errors.LLMAPIError("openai", 500, condition=500)

    gone = []
    past = Past()
    try:
        serve()
    except errors.LLMAPIError as error:
        past.fail(error)
    gc.collect()

    assert gone[0]() is None
