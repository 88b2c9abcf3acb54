"""What a circuit makes of what its peers say: what it has found out itself counts more."""

import contextlib
import math

import pytest

from proxy import errors
from proxy.config import schema
from proxy.policy.breaker import Breaker, Reason, State
from proxy.testing.clock import Clock

FAILED = errors.NetworkError("refused", condition="connect")


class Circuit:
    """A breaker with its clock, and what it said; it opens at its first failure."""

    def __init__(self, **settings):
        self.clock = Clock()
        self.told = []
        chosen = schema.Breaker(**{"failure_threshold": 1, **settings})
        self.breaker = Breaker("up", chosen, self.clock, self.told.append)

    def call(self, error=None):
        with contextlib.suppress(errors.OctoLLMError), self.breaker.admit():
            if error is not None:
                raise error

    @property
    def moves(self):
        return [(told.from_state, told.to_state, told.reason) for told in self.told]


def test_what_a_peer_has_opened_is_open_here_for_the_time_that_is_left():
    circuit = Circuit()

    circuit.breaker.hear_open(42.0, 18.0)

    assert circuit.moves == [(State.CLOSED, State.OPEN, Reason.PEER)]
    assert circuit.told[0].open_for == circuit.breaker.retry_after() == 42.0
    assert circuit.breaker.since == 18.0
    circuit.clock.advance(42.0)
    circuit.call()
    assert circuit.breaker.state is State.CLOSED


def test_a_peer_with_longer_times_keeps_us_waiting_no_longer_than_we_may():
    circuit = Circuit(timeout=10, max_timeout=20)

    circuit.breaker.hear_open(3600.0, 0.0)

    assert circuit.breaker.retry_after() == 20.0


def test_what_is_open_already_moves_its_end_at_most_further_away():
    circuit = Circuit()
    circuit.call(FAILED)

    circuit.breaker.hear_open(50.0, 0.0)
    shorter = circuit.breaker.retry_after()
    circuit.clock.advance(30.0)
    circuit.breaker.hear_open(60.0, 30.0)

    assert (shorter, circuit.breaker.retry_after()) == (60.0, 60.0)
    assert [move[2] for move in circuit.moves] == [Reason.CONSECUTIVE]


def test_the_failed_probe_of_a_peer_spares_us_our_own_and_counts_like_it():
    circuit = Circuit(max_timeout=300)
    circuit.call(FAILED)
    circuit.clock.advance(60.0)

    circuit.breaker.hear_open(120.0, 60.0)

    assert circuit.moves[1:] == [
        (State.OPEN, State.HALF_OPEN, Reason.TIMEOUT_ELAPSED),
        (State.HALF_OPEN, State.OPEN, Reason.PEER),
    ]
    circuit.clock.advance(120.0)
    circuit.call(FAILED)
    assert circuit.told[-1].open_for == 240.0
    assert circuit.breaker.since == 180.0


def test_who_is_probing_waits_for_what_comes_of_it():
    circuit = Circuit()
    circuit.call(FAILED)
    circuit.clock.advance(60.0)

    with circuit.breaker.admit():
        circuit.breaker.hear_open(60.0, 60.0)
        assert circuit.breaker.state is State.HALF_OPEN

    assert circuit.breaker.state is State.CLOSED


def test_a_probe_that_is_not_heard_of_is_no_reason_not_to_listen():
    circuit = Circuit(probe_lease=10)
    circuit.call(FAILED)
    circuit.clock.advance(60.0)

    with circuit.breaker.admit():
        circuit.clock.advance(10.0)
        circuit.breaker.hear_open(60.0, 70.0)

    assert circuit.breaker.state is State.OPEN


def test_who_has_found_the_upstream_well_hears_no_more_of_the_same_outage():
    circuit = Circuit()
    circuit.call(FAILED)
    circuit.clock.advance(60.0)
    circuit.call()
    circuit.clock.advance(5.0)

    circuit.breaker.hear_open(120.0, 65.0)
    old = circuit.breaker.state
    circuit.breaker.hear_open(60.0, 4.0)

    assert (old, circuit.breaker.state) == (State.CLOSED, State.OPEN)


def test_a_peer_that_finds_the_upstream_well_lets_us_probe_and_does_not_answer_for_it():
    circuit = Circuit()
    circuit.call(FAILED)

    circuit.breaker.hear_closed(0.0)

    assert circuit.moves[-1] == (State.OPEN, State.HALF_OPEN, Reason.PEER)
    with circuit.breaker.admit():
        assert not circuit.breaker.would_admit()
    assert circuit.moves[-1] == (State.HALF_OPEN, State.CLOSED, Reason.PROBE_SUCCEEDED)


@pytest.mark.parametrize("mode", ["observe", "disabled"])
def test_who_is_not_in_earnest_is_told_nothing(mode):
    fresh, broken = Circuit(mode=mode), Circuit(mode="observe")
    broken.call(FAILED)

    fresh.breaker.hear_open(60.0, 0.0)
    broken.breaker.hear_closed(0.0)

    assert (fresh.breaker.state, broken.breaker.state) == (State.CLOSED, State.OPEN)


def test_an_operators_word_counts_more_than_a_peers():
    opened, closed = Circuit(), Circuit()
    opened.breaker.force_open()
    closed.breaker.force_closed()

    opened.breaker.hear_closed(0.0)
    opened.breaker.hear_open(60.0, 0.0)
    closed.breaker.hear_open(60.0, 0.0)

    assert opened.breaker.open_until == math.inf
    assert closed.breaker.state is State.CLOSED


def test_who_has_failed_since_a_peer_found_the_upstream_well_stays_open():
    circuit = Circuit()
    circuit.call(FAILED)
    circuit.clock.advance(5.0)

    circuit.breaker.hear_closed(6.0)
    stays = circuit.breaker.state
    circuit.breaker.hear_closed(4.0)

    assert (stays, circuit.breaker.state) == (State.OPEN, State.HALF_OPEN)


def test_the_time_since_it_was_closed_goes_on_over_its_probes():
    circuit = Circuit()
    never = circuit.breaker.since
    circuit.call(FAILED)
    circuit.clock.advance(60.0)
    circuit.call(FAILED)
    circuit.clock.advance(5.0)

    assert (never, circuit.breaker.since) == (math.inf, 65.0)
