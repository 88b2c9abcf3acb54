import asyncio
import contextlib
import itertools
import math

import pytest

from proxy import errors
from proxy.config import schema
from proxy.policy.breaker import Breaker, Event, Reason, State, outcome
from proxy.testing.clock import Clock

FAILED = errors.NetworkError("refused", condition="connect")
LIMITED = errors.RateLimitError(1, 1, condition=429)


class Circuit:
    """A breaker with its clock, and what it said."""

    def __init__(self, **settings):
        self.clock = Clock()
        self.told = []
        self.breaker = Breaker(
            "openai", schema.Breaker(**settings), self.clock, on_transition=self.told.append
        )

    def call(self, error=None):
        end(self.breaker.admit(), error)

    def trip(self):
        for _ in range(self.breaker.settings.failure_threshold):
            self.call(FAILED)
        assert self.breaker.state is State.OPEN

    def wait_until_half_open(self):
        self.trip()
        self.clock.advance(self.breaker.settings.timeout)
        assert self.breaker.state is State.HALF_OPEN

    @property
    def moves(self):
        return [(told.from_state, told.to_state, told.reason) for told in self.told]


def end(permit, error=None):
    with contextlib.suppress(errors.OctoLLMError, asyncio.CancelledError), permit:
        if error is not None:
            raise error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, Event.SUCCESS),
        (errors.NetworkError("refused", condition="connect"), Event.FAILURE),
        (errors.NetworkError("cut short", condition="cut"), Event.FAILURE),
        (errors.TimeoutError("first byte", 30, condition="timeout"), Event.FAILURE),
        (errors.TimeoutError("the request", 60), Event.NEUTRAL),
        (errors.TimeoutError("the request", 60, condition=504), Event.FAILURE),
        (errors.TimeoutError("the request", 60, condition=408), Event.SUCCESS),
        (errors.LLMAPIError("openai", 500, condition=500), Event.FAILURE),
        (errors.LLMAPIError("openai", 501, condition=501), Event.SUCCESS),
        (errors.LLMAPIError("openai", 404, condition=404), Event.SUCCESS),
        (errors.ValidationError("no such model", condition=400), Event.SUCCESS),
        (errors.ValidationError("ours"), Event.NEUTRAL),
        (errors.ValidationError("strange", condition=500), Event.NEUTRAL),
        (errors.NetworkError("unheard of", condition="unlisted"), Event.NEUTRAL),
        (errors.CapacityExceededError("full"), Event.NEUTRAL),
        (LIMITED, Event.NEUTRAL),
        (asyncio.CancelledError(), Event.NEUTRAL),
        (GeneratorExit(), Event.NEUTRAL),
        (KeyError("a fault of ours"), Event.NEUTRAL),
    ],
)
def test_the_end_of_a_call_tells_whether_the_upstream_is_alive(error, expected):
    assert outcome(error, schema.Breaker().failure_on) is expected


def test_a_429_is_neutral_whatever_the_list_says():
    assert outcome(LIMITED, frozenset({429})) is Event.NEUTRAL


def test_failures_in_a_row_open_the_circuit():
    circuit = Circuit(failure_threshold=5, timeout=60.0)
    for _ in range(4):
        circuit.call(FAILED)
    assert circuit.breaker.state is State.CLOSED
    circuit.call(FAILED)
    assert circuit.breaker.state is State.OPEN
    (told,) = circuit.told
    assert (told.breaker, told.reason, told.open_for) == ("openai", Reason.CONSECUTIVE, 60.0)
    assert told.at == circuit.clock()


def test_a_success_ends_a_row_of_failures():
    circuit = Circuit(failure_threshold=3)
    for error in (FAILED, FAILED, None, FAILED, FAILED):
        circuit.call(error)
    assert circuit.breaker.state is State.CLOSED


def test_a_busy_upstream_that_fails_now_and_then_stays_closed():
    circuit = Circuit(failure_threshold=5)
    under_way = [circuit.breaker.admit() for _ in range(200)]
    for call in range(2_000):
        end(under_way.pop(0), FAILED if call % 100 == 0 else None)
        under_way.append(circuit.breaker.admit())

    assert circuit.moves == []


def test_streams_from_before_an_outage_do_not_end_its_row_of_failures():
    circuit = Circuit(failure_threshold=5)
    streams = [circuit.breaker.admit() for _ in range(10)]
    for stream in streams[:5]:
        circuit.call(FAILED)
        end(stream, None)

    assert circuit.breaker.state is State.OPEN


def test_a_share_of_failures_opens_the_circuit():
    circuit = Circuit(failure_threshold=100, failure_rate=0.5, min_requests=20)
    for error in [None, FAILED] * 9 + [None]:
        circuit.call(error)
    assert circuit.breaker.state is State.CLOSED
    circuit.call(FAILED)
    assert circuit.moves == [(State.CLOSED, State.OPEN, Reason.FAILURE_RATE)]


def test_failures_older_than_the_window_open_nothing():
    circuit = Circuit(failure_threshold=100, failure_rate=0.5, min_requests=20, window=60.0)
    for error in [None, FAILED] * 9 + [None]:
        circuit.call(error)
    circuit.clock.advance(61)
    circuit.call(FAILED)
    assert circuit.breaker.state is State.CLOSED
    assert circuit.breaker.failure_ratio == 1.0


def test_an_open_circuit_says_how_long_it_stays_so():
    circuit = Circuit(timeout=60.0)
    circuit.trip()
    circuit.clock.advance(45)
    with pytest.raises(errors.CircuitOpenError) as rejected:
        circuit.breaker.admit()
    assert rejected.value.retry_after == circuit.breaker.retry_after() == 15.0
    assert circuit.breaker.open_until == circuit.clock() + 15
    assert circuit.breaker.rejections == 1


def test_asking_changes_nothing():
    circuit = Circuit(timeout=60.0)
    assert circuit.breaker.would_admit()
    assert circuit.breaker.retry_after() is None
    circuit.trip()
    assert not circuit.breaker.would_admit()
    circuit.clock.advance(60)
    for _ in range(3):
        assert circuit.breaker.would_admit()
        assert circuit.breaker.retry_after() == 0.0
        assert circuit.breaker.state is State.HALF_OPEN
        assert circuit.breaker.open_until == 0.0
    assert len(circuit.told) == 1
    assert circuit.breaker.rejections == 0


def test_one_of_200_callers_probes_a_half_open_circuit():
    circuit = Circuit(half_open_max=1, probe_lease=10.0)
    circuit.wait_until_half_open()
    permits, rejected = [], []
    for _ in range(200):
        try:
            permits.append(circuit.breaker.admit())
        except errors.CircuitOpenError as error:
            rejected.append(error.retry_after)
    assert len(permits) == 1
    assert rejected == [10.0] * 199  # the soonest end of a lease
    end(permits[0])
    assert circuit.breaker.state is State.CLOSED


def test_good_probes_close_the_circuit_and_forget_what_was():
    circuit = Circuit(success_threshold=2)
    circuit.wait_until_half_open()
    circuit.call()
    assert circuit.breaker.state is State.HALF_OPEN
    circuit.call()
    assert circuit.breaker.state is State.CLOSED
    assert circuit.breaker.failure_ratio == 0.0
    for _ in range(4):
        circuit.call(FAILED)
    assert circuit.breaker.state is State.CLOSED


def test_good_probes_before_a_bad_one_count_for_nothing():
    circuit = Circuit(success_threshold=2)
    circuit.wait_until_half_open()
    circuit.call()
    circuit.call(FAILED)
    circuit.clock.advance(60)
    circuit.call()
    assert circuit.breaker.state is State.HALF_OPEN


def test_each_bad_probe_doubles_the_open_time_up_to_the_limit():
    circuit = Circuit(timeout=10.0, max_timeout=60.0)
    circuit.wait_until_half_open()
    for _ in range(4):
        circuit.call(FAILED)
        circuit.clock.advance(60)
    opened = [told.open_for for told in circuit.told if told.to_state is State.OPEN]
    assert opened == [10.0, 20.0, 40.0, 60.0, 60.0]
    circuit.call()
    circuit.trip()
    assert circuit.told[-1].open_for == 10.0


def test_fifty_callers_who_leave_blame_nobody():
    circuit = Circuit()
    for _ in range(50):
        circuit.call(asyncio.CancelledError())
    assert circuit.breaker.state is State.CLOSED
    assert circuit.breaker.failure_ratio == 0.0
    assert circuit.told == []


def test_a_hundred_answers_of_429_open_nothing():
    circuit = Circuit()
    for _ in range(100):
        circuit.call(LIMITED)
    assert circuit.breaker.state is State.CLOSED
    assert circuit.told == []


def test_a_row_of_failures_survives_a_caller_who_leaves_and_a_429():
    circuit = Circuit(failure_threshold=3)
    for error in (FAILED, asyncio.CancelledError(), FAILED, LIMITED, FAILED):
        circuit.call(error)
    assert circuit.breaker.state is State.OPEN


@pytest.mark.parametrize("error", [asyncio.CancelledError(), LIMITED])
def test_a_probe_that_tells_nothing_gives_its_place_to_the_next(error):
    circuit = Circuit()
    circuit.wait_until_half_open()
    circuit.call(error)
    assert circuit.breaker.state is State.HALF_OPEN
    assert circuit.breaker.would_admit()
    circuit.call()
    assert circuit.breaker.state is State.CLOSED


def test_a_probe_is_judged_at_the_head():
    circuit = Circuit()
    circuit.wait_until_half_open()
    with circuit.breaker.admit() as probe:
        probe.answered()
        assert circuit.breaker.state is State.CLOSED
        probe.answered()
    assert len(circuit.told) == 3
    assert circuit.breaker.stale == 0


def test_a_probe_whose_body_is_cut_counts_once_more_as_a_failure():
    circuit = Circuit(failure_threshold=5)
    circuit.wait_until_half_open()
    probe = circuit.breaker.admit()
    probe.answered()
    end(probe, errors.NetworkError("cut short", condition="cut"))
    assert circuit.breaker.state is State.CLOSED
    for _ in range(4):
        circuit.call(FAILED)
    assert circuit.breaker.state is State.OPEN


def test_a_probe_cut_while_more_are_needed_opens_the_circuit_again():
    circuit = Circuit(success_threshold=2)
    circuit.wait_until_half_open()
    probe = circuit.breaker.admit()
    probe.answered()
    assert circuit.breaker.would_admit()
    end(probe, errors.NetworkError("cut short", condition="cut"))
    assert circuit.moves[-1] == (State.HALF_OPEN, State.OPEN, Reason.PROBE_FAILED)


def test_a_probe_is_one_success_however_well_its_body_ends():
    circuit = Circuit(success_threshold=2)
    circuit.wait_until_half_open()
    with circuit.breaker.admit() as probe:
        probe.answered()
    assert circuit.breaker.state is State.HALF_OPEN


def test_a_caller_who_leaves_an_answered_probe_takes_nothing_back():
    circuit = Circuit()
    circuit.wait_until_half_open()
    probe = circuit.breaker.admit()
    probe.answered()
    end(probe, asyncio.CancelledError())
    assert circuit.breaker.state is State.CLOSED


def test_any_other_call_is_judged_when_its_body_has_ended():
    circuit = Circuit(failure_threshold=1)
    permit = circuit.breaker.admit()
    permit.answered()
    end(permit, errors.NetworkError("cut short", condition="cut"))
    assert circuit.breaker.state is State.OPEN


def test_a_probe_that_is_not_heard_of_frees_its_slot():
    circuit = Circuit(half_open_max=1, probe_lease=10.0)
    circuit.wait_until_half_open()
    lost = circuit.breaker.admit()
    circuit.clock.advance(9)
    assert not circuit.breaker.would_admit()
    circuit.clock.advance(1)
    circuit.breaker.admit()
    with pytest.raises(errors.CircuitOpenError):
        circuit.breaker.admit()
    end(lost)  # and its result still counts
    assert circuit.breaker.state is State.CLOSED


def test_a_probe_of_an_older_generation_holds_no_slot():
    circuit = Circuit(half_open_max=2, timeout=1.0, max_timeout=2.0, probe_lease=10.0)
    circuit.wait_until_half_open()
    for _ in range(2):
        circuit.breaker.admit()
    circuit.breaker.force_open(1)
    circuit.clock.advance(1)
    circuit.breaker.admit()
    circuit.breaker.admit()


def test_the_call_admitted_last_before_the_trip_is_as_late_as_the_others():
    circuit = Circuit(failure_threshold=2)
    first, second, last = (circuit.breaker.admit() for _ in range(3))
    end(first, FAILED)
    end(second, FAILED)
    end(last, FAILED)
    assert circuit.breaker.stale == 1


def test_a_late_failure_does_not_prolong_the_outage():
    circuit = Circuit(timeout=60.0)
    late = [circuit.breaker.admit() for _ in range(10)]
    circuit.trip()
    until = circuit.breaker.open_until
    circuit.clock.advance(30)
    for permit in late:
        end(permit, FAILED)
    assert circuit.breaker.open_until == until
    assert circuit.breaker.stale == 10


@pytest.mark.parametrize("error", [None, FAILED])
def test_a_result_from_before_the_trip_does_not_decide_the_probe(error):
    circuit = Circuit()
    late = circuit.breaker.admit()
    circuit.wait_until_half_open()
    circuit.breaker.admit()
    end(late, error)
    assert circuit.breaker.state is State.HALF_OPEN
    assert circuit.breaker.stale == 1


def test_a_probe_of_an_older_generation_never_counts_even_if_answered_late():
    circuit = Circuit(half_open_max=2, failure_threshold=1)
    circuit.wait_until_half_open()
    late, bad = circuit.breaker.admit(), circuit.breaker.admit()
    end(bad, FAILED)
    circuit.clock.advance(60)
    circuit.call()
    assert circuit.breaker.state is State.CLOSED
    late.answered()
    end(late, errors.NetworkError("cut short", condition="cut"))
    assert circuit.breaker.state is State.CLOSED
    assert circuit.breaker.stale == 2


def test_streams_from_before_an_outage_do_not_hide_it():
    circuit = Circuit(failure_threshold=5, min_requests=1000)
    streams = [circuit.breaker.admit() for _ in range(5)]
    for stream in streams:
        circuit.call(FAILED)
        end(stream)
    assert circuit.breaker.state is State.OPEN


def test_observing_decides_and_rejects_nothing():
    circuit = Circuit(mode="observe", failure_threshold=5, timeout=60.0)
    circuit.trip()
    for _ in range(10):
        assert circuit.breaker.would_admit()
        circuit.call(FAILED)
    assert circuit.breaker.rejections == 10
    assert circuit.breaker.open_until == circuit.clock() + 60
    circuit.clock.advance(60)
    probe, other = circuit.breaker.admit(), circuit.breaker.admit()
    other.answered()
    end(other, FAILED)
    assert circuit.breaker.state is State.HALF_OPEN
    end(probe)
    assert circuit.moves == [
        (State.CLOSED, State.OPEN, Reason.CONSECUTIVE),
        (State.OPEN, State.HALF_OPEN, Reason.TIMEOUT_ELAPSED),
        (State.HALF_OPEN, State.CLOSED, Reason.PROBE_SUCCEEDED),
    ]


def test_a_disabled_breaker_does_nothing_at_all():
    circuit = Circuit(mode="disabled")
    for _ in range(100):
        circuit.call(FAILED)
    assert circuit.breaker.state is State.CLOSED
    assert circuit.breaker.would_admit()
    assert circuit.breaker.failure_ratio == 0.0
    assert circuit.told == []


def test_an_operator_opens_a_circuit_for_a_while():
    circuit = Circuit()
    circuit.breaker.force_open(300)
    circuit.clock.advance(299)
    with pytest.raises(errors.CircuitOpenError) as rejected:
        circuit.breaker.admit()
    assert rejected.value.retry_after == 1.0
    circuit.clock.advance(1)
    circuit.call()
    assert circuit.breaker.state is State.CLOSED
    assert circuit.told[0].open_for == 300


def test_an_operator_opens_a_circuit_until_it_is_released():
    circuit = Circuit(timeout=60.0)
    circuit.breaker.force_open()
    circuit.clock.advance(1e9)
    assert circuit.breaker.open_until == math.inf
    with pytest.raises(errors.CircuitOpenError) as rejected:
        circuit.breaker.admit()
    assert rejected.value.to_dict()["retry_after"] == 60
    circuit.breaker.release()
    assert circuit.breaker.state is State.HALF_OPEN
    circuit.call()
    assert [reason for _, _, reason in circuit.moves] == ["forced", "released", "probe_succeeded"]


def test_forcing_an_open_circuit_open_only_moves_its_end():
    circuit = Circuit(timeout=60.0)
    circuit.trip()
    circuit.breaker.force_open(600)
    assert circuit.breaker.open_until == circuit.clock() + 600
    assert len(circuit.told) == 1


def test_a_circuit_held_closed_stays_closed_until_it_is_released():
    circuit = Circuit(failure_threshold=5)
    circuit.trip()
    circuit.breaker.force_closed()
    for _ in range(100):
        circuit.call(FAILED)
    assert circuit.breaker.state is State.CLOSED
    circuit.breaker.release()
    assert circuit.breaker.state is State.CLOSED
    circuit.call(FAILED)
    assert circuit.breaker.state is State.OPEN


@pytest.mark.parametrize("prepare", [Circuit.trip, Circuit.wait_until_half_open])
def test_a_reset_begins_anew(prepare):
    circuit = Circuit(failure_threshold=5)
    prepare(circuit)
    circuit.breaker.reset()
    assert circuit.breaker.state is State.CLOSED
    assert circuit.breaker.failure_ratio == 0.0
    for _ in range(4):
        circuit.call(FAILED)
    assert circuit.breaker.state is State.CLOSED


def test_a_held_circuit_that_is_reset_can_open_again():
    circuit = Circuit()
    circuit.breaker.force_closed()
    circuit.breaker.reset()
    circuit.trip()


def test_a_circuit_held_closed_for_a_while_may_open_after_it():
    circuit = Circuit(failure_threshold=5)
    circuit.breaker.force_closed(300)
    for _ in range(100):
        circuit.call(FAILED)
    held, ends = circuit.breaker.held, circuit.clock() + 300
    circuit.clock.advance(300)
    after = circuit.breaker.held
    circuit.call(FAILED)

    assert held == (State.CLOSED, ends)
    assert after is None
    assert circuit.moves == [(State.CLOSED, State.OPEN, Reason.CONSECUTIVE)]


def test_who_holds_it_and_how_long_can_be_seen():
    circuit = Circuit()
    nobody = circuit.breaker.held
    circuit.breaker.force_open()
    for_good = circuit.breaker.held
    circuit.breaker.force_open(60)
    for_a_minute = circuit.breaker.held
    circuit.breaker.release()
    released = circuit.breaker.held
    circuit.breaker.force_closed()
    closed = circuit.breaker.held
    circuit.breaker.reset()

    assert nobody is None
    assert for_good == (State.OPEN, math.inf)
    assert for_a_minute == (State.OPEN, circuit.clock() + 60)
    assert released is None
    assert closed == (State.CLOSED, math.inf)
    assert circuit.breaker.held is None


def test_what_opens_by_itself_is_held_by_nobody():
    circuit = Circuit()
    circuit.trip()

    assert circuit.breaker.held is None


@pytest.mark.parametrize("configured", ["enforce", "observe", "disabled"])
@pytest.mark.parametrize("chosen", ["enforce", "observe", "disabled"])
def test_a_mode_chosen_for_a_while_ends_by_itself(configured, chosen):
    circuit = Circuit(mode=configured)
    circuit.breaker.set_mode(chosen, 60)
    circuit.clock.advance(59)
    meanwhile = circuit.breaker.mode
    circuit.clock.advance(1)

    assert (meanwhile, circuit.breaker.mode) == (chosen, configured)


def test_a_breaker_disabled_for_a_while_judges_again_after_it():
    circuit = Circuit(failure_threshold=5)
    circuit.breaker.set_mode("disabled", 60)
    for _ in range(100):
        circuit.call(FAILED)
    told = list(circuit.told)
    circuit.clock.advance(60)
    circuit.trip()

    assert told == []


def test_who_is_told_of_a_move_sees_it_done():
    seen = []
    breaker = Breaker(
        "openai",
        schema.Breaker(failure_threshold=1),
        Clock(),
        on_transition=lambda told: seen.append((told.to_state, breaker.state)),
    )
    end(breaker.admit(), FAILED)
    assert seen == [(State.OPEN, State.OPEN)]


def test_nobody_has_to_be_told():
    breaker = Breaker("openai", schema.Breaker(failure_threshold=1), Clock())
    end(breaker.admit(), FAILED)
    assert breaker.state is State.OPEN


SITUATIONS = {
    State.CLOSED: lambda _: None,
    State.OPEN: Circuit.trip,
    State.HALF_OPEN: Circuit.wait_until_half_open,
}
EVENTS = {
    Event.CALL: lambda circuit: circuit.breaker.would_admit() and circuit.breaker.admit(),
    Event.SUCCESS: lambda circuit: circuit.call(),
    Event.FAILURE: lambda circuit: circuit.call(FAILED),
    Event.NEUTRAL: lambda circuit: circuit.call(LIMITED),
    Event.FORCE_OPEN: lambda circuit: circuit.breaker.force_open(60),
    Event.FORCE_CLOSED: lambda circuit: circuit.breaker.force_closed(),
    Event.RELEASE: lambda circuit: circuit.breaker.release(),
    Event.RESET: lambda circuit: circuit.breaker.reset(),
    Event.PEER_OPENED: lambda circuit: circuit.breaker.hear_open(60, 0),
    Event.PEER_CLOSED: lambda circuit: circuit.breaker.hear_closed(0),
}
AFTER = {
    (State.CLOSED, Event.FAILURE): State.OPEN,
    (State.HALF_OPEN, Event.FAILURE): State.OPEN,
    (State.HALF_OPEN, Event.SUCCESS): State.CLOSED,
    (State.OPEN, Event.RELEASE): State.HALF_OPEN,
    (State.OPEN, Event.PEER_CLOSED): State.HALF_OPEN,
    **{(state, Event.PEER_OPENED): State.OPEN for state in State},
    **{(state, Event.FORCE_OPEN): State.OPEN for state in State},
    **{(state, Event.FORCE_CLOSED): State.CLOSED for state in State},
    **{(state, Event.RESET): State.CLOSED for state in State},
}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)))
def test_every_event_in_every_state_leads_where_the_design_says(state, event):
    circuit = Circuit(failure_threshold=1)
    SITUATIONS[state](circuit)
    if state is State.OPEN and event in (Event.SUCCESS, Event.FAILURE, Event.NEUTRAL):
        with pytest.raises(errors.CircuitOpenError):
            EVENTS[event](circuit)
    else:
        EVENTS[event](circuit)
    assert circuit.breaker.state is AFTER.get((state, event), state)


def adopt(circuit, **settings):
    told = []
    circuit.breaker.adopt(schema.Breaker(**settings), told.append, lambda: None)
    return told


def test_new_thresholds_are_held_against_what_was_counted_before():
    circuit = Circuit(failure_threshold=5)
    circuit.call(FAILED)
    told = adopt(circuit, failure_threshold=2)
    assert circuit.breaker.state is State.CLOSED
    circuit.call(FAILED)

    assert circuit.breaker.state is State.OPEN
    assert (circuit.told, [move.reason for move in told]) == ([], [Reason.CONSECUTIVE])


def test_a_window_is_kept_while_its_length_is_and_begins_empty_with_another():
    circuit = Circuit()
    for error in (FAILED, None):
        circuit.call(error)
    adopt(circuit, failure_threshold=9)
    kept = circuit.breaker.failure_ratio
    adopt(circuit, window=30)

    assert (kept, circuit.breaker.failure_ratio) == (0.5, 0)


def test_an_open_circuit_keeps_its_time_and_grows_no_further_than_the_new_bound():
    circuit = Circuit(timeout=40, max_timeout=160)
    circuit.trip()
    until = circuit.breaker.open_until
    adopt(circuit, timeout=5, max_timeout=50)
    assert circuit.breaker.open_until == until
    circuit.clock.advance(40)
    circuit.call(FAILED)

    assert circuit.breaker.retry_after() == 50


def test_the_open_time_of_a_closed_circuit_is_the_new_one():
    circuit = Circuit(timeout=40)
    adopt(circuit, timeout=5, failure_threshold=1)
    circuit.call(FAILED)

    assert circuit.breaker.retry_after() == 5


def test_a_new_mode_applies_and_one_that_an_operator_chose_stays_where_the_file_says_nothing_new():
    circuit = Circuit()
    circuit.trip()
    circuit.breaker.set_mode("observe")
    adopt(circuit, failure_threshold=3)
    chosen = circuit.breaker.mode
    adopt(circuit, mode="disabled")

    assert (chosen, circuit.breaker.mode) == ("observe", "disabled")


def test_a_call_from_before_is_judged_by_what_counts_now():
    circuit = Circuit()
    permit = circuit.breaker.admit()
    adopt(circuit, failure_threshold=1, failure_on=frozenset({500}))
    end(permit, FAILED)

    assert circuit.breaker.state is State.CLOSED


def test_a_probe_finds_enough_successes_where_fewer_are_wanted_now():
    circuit = Circuit(success_threshold=3)
    circuit.wait_until_half_open()
    circuit.call()
    adopt(circuit, success_threshold=2)
    circuit.call()

    assert circuit.breaker.state is State.CLOSED
