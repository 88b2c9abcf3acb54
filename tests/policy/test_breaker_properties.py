"""Any sequence of calls, outcomes, waits and orders, against the invariants of the breaker."""

import asyncio
import contextlib

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from proxy import errors
from proxy.config import schema
from proxy.policy.breaker import Breaker, Reason, State
from proxy.policy.transitions import TABLE
from proxy.testing.clock import Clock

ENDS = st.sampled_from(
    [
        None,
        errors.NetworkError("refused", condition="connect"),
        errors.NetworkError("cut short", condition="cut"),
        errors.LLMAPIError("openai", 404, condition=404),
        errors.RateLimitError(1, 1, condition=429),
        asyncio.CancelledError(),
    ]
)
BLAMING = {"connect", "cut"}
POSSIBLE = {
    (source, target, reason)
    for (source, _), grounds in TABLE.items()
    for reason, target in grounds
    if source is not target
}


class Call:
    def __init__(self, permit, move, leased_until):
        self.permit, self.move, self.leased_until = permit, move, leased_until


class Circuits(RuleBasedStateMachine):
    calls = Bundle("calls")

    def __init__(self):
        super().__init__()
        self.clock = Clock()
        self.told = []
        self.probes = set()
        self.given = self.returned = 0
        self.settings = schema.Breaker(
            failure_threshold=3,
            min_requests=6,
            window=20.0,
            timeout=10.0,
            max_timeout=35.0,
            half_open_max=2,
            success_threshold=2,
            probe_lease=5.0,
        )
        self.breaker = Breaker("openai", self.settings, self.clock, self.told.append)

    @rule(target=calls)
    def a_call_wants_to_go(self):
        before, would = self.breaker.state, self.breaker.would_admit()
        forced = self.breaker.open_until
        if not would:
            assert before is not State.CLOSED
            with pytest.raises(errors.CircuitOpenError) as rejected:
                self.breaker.admit()
            assert rejected.value.retry_after > 0
            return Call(None, 0, 0)
        permit = self.breaker.admit()
        assert before is not State.OPEN
        assert forced == 0
        self.given += 1
        probing = before is State.HALF_OPEN
        call = Call(permit, len(self.told), self.clock() + 5.0 if probing else 0)
        if probing:
            self.probes.add(call)
        return call

    @rule(call=consumes(calls), error=ENDS)
    def a_call_ends(self, call, error):
        if call.permit is None:
            return
        before, stale, moves = self._seen()
        late = call.move != len(self.told)
        with contextlib.suppress(errors.OctoLLMError, asyncio.CancelledError), call.permit:
            if error is not None:
                raise error
        self.returned += 1
        self.probes.discard(call)
        if late:
            assert self._seen()[0] == before
            assert len(self.told) == moves
            assert self.breaker.stale - stale <= 1
        if error is not None and getattr(error, "condition", None) not in BLAMING:
            assert all(told.to_state is not State.OPEN for told in self.told[moves:])

    @rule(call=calls)
    def a_head_comes(self, call):
        if call.permit is None:
            return
        before, _, moves = self._seen()
        late, probing = call.move != len(self.told), call in self.probes
        call.permit.answered()
        self.probes.discard(call)
        if late or not probing:
            assert self._seen()[0] == before
            assert len(self.told) == moves
        else:
            call.move = len(self.told)

    @rule(seconds=st.floats(0, 12))
    def time_passes(self, seconds):
        self.clock.advance(seconds)

    @rule(seconds=st.none() | st.floats(0.1, 30))
    def an_operator_opens(self, seconds):
        self._ordered(lambda: self.breaker.force_open(seconds))
        assert self.breaker.state is State.OPEN

    @rule()
    def an_operator_releases(self):
        was_closed = self.breaker.state is State.CLOSED
        moves = len(self.told)
        self.breaker.release()
        assert (len(self.told) == moves) or not was_closed
        assert self.breaker.state is not State.OPEN

    @rule()
    def an_operator_resets(self):
        self._ordered(self.breaker.reset)
        assert self.breaker.state is State.CLOSED

    @rule(left=st.floats(0.1, 60), since=st.floats(0, 30))
    def a_peer_opens(self, left, since):
        before, until = self.breaker.state, self.breaker.open_until
        self._heard(lambda: self.breaker.hear_open(left, since))
        if before is State.OPEN:
            assert self.breaker.open_until >= until

    @rule(since=st.floats(0, 30))
    def a_peer_closes(self, since):
        was_closed, held = self.breaker.state is State.CLOSED, self.breaker.held
        self._heard(lambda: self.breaker.hear_closed(since))
        assert (self.breaker.state is State.CLOSED) == was_closed
        assert self.breaker.held == held

    def _heard(self, hear):
        # What is open and stays so for longer is in another generation, and nobody is told.
        until, moves = self.breaker.open_until, len(self.told)
        hear()
        if len(self.told) == moves and self.breaker.open_until != until:
            self.told.append(None)

    def _ordered(self, order):
        # An order that leaves the state as it is still ends the generation, and nobody is told.
        moves = len(self.told)
        order()
        if len(self.told) == moves:
            self.told.append(None)

    def _seen(self):
        breaker = self.breaker
        seen = (breaker.state, breaker.open_until, breaker.retry_after())
        return seen, breaker.stale, len(self.told)

    @invariant()
    def no_more_probes_are_leased_than_allowed(self):
        now, moves = self.clock(), len(self.told)
        leased = [
            probe for probe in self.probes if probe.leased_until > now and probe.move == moves
        ]
        assert len(leased) <= self.settings.half_open_max

    @invariant()
    def every_move_stands_in_the_table_and_follows_the_one_before(self):
        moves = [told for told in self.told if told is not None]
        state = State.CLOSED
        for told in moves:
            assert told.from_state is state
            assert (told.from_state, told.to_state, told.reason) in POSSIBLE
            state = told.to_state

    @invariant()
    def what_opens_by_itself_opens_for_a_bounded_time(self):
        for told in self.told:
            if told is not None and told.to_state is State.OPEN and told.reason != Reason.FORCED:
                least = 0 if told.reason is Reason.PEER else self.settings.timeout
                assert least <= told.open_for <= self.settings.max_timeout

    @invariant()
    def what_is_shown_agrees_with_itself(self):
        breaker, now = self.breaker, self.clock()
        assert (breaker.open_until > now) == (breaker.state is State.OPEN)
        assert (breaker.retry_after() is None) == (breaker.state is State.CLOSED)
        assert breaker.would_admit() == (breaker.retry_after() in (None, 0.0))
        assert 0 <= breaker.failure_ratio <= 1
        assert self.returned <= self.given


Circuits.TestCase.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
TestCircuits = Circuits.TestCase
