"""The circuit breaker: an upstream that keeps failing is left alone for a while, then probed.

Rule 1: every change of state happens in `_move`, and only because `transitions.TABLE` says so.
Rule 2: nothing waits and no timer runs. An open circuit whose time has passed is moved by the next
call that wants to go.
Rule 3: nothing here knows HTTP; what the end of a call tells is `outcome`'s to say.

Each permit has a number. A move makes all numbers given so far belong to the past: what they still
report is counted as stale and moves nothing. So no straggler can open, close or prolong anything.

pybreaker keeps the state, the counts and the limits they are held against: `circuit`. Admission,
time and judgement are around it, because its `calling()` lets everybody through a half-open circuit
and takes cancellations for failures. Its listeners stay unused: they are called before its storage
has the new state, so that one which raises, or asks, leaves the two apart.
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

from proxy import errors
from proxy.config import schema
from proxy.policy import circuit
from proxy.policy.circuit import Counts
from proxy.policy.outcome import outcome
from proxy.policy.permit import UNJUDGED, Permit, Probe
from proxy.policy.transitions import TABLE, Event, Reason, State, Transition

__all__ = ["Breaker", "Event", "Hold", "Mode", "Permit", "Reason", "State", "Transition", "outcome"]

Mode = Literal["enforce", "observe", "disabled"]


class Hold(NamedTuple):
    """What an operator holds a circuit at, and the clock time until then: infinite, till told."""

    state: State
    until: float


def _ignore(*_: object) -> None:
    """Tell nobody."""


class Breaker:
    """The circuit of one upstream. *clock* gives monotonic seconds.

    `rejections` and `stale` count since the start, what an observing breaker would have rejected
    included.
    """

    def __init__(
        self,
        name: str,
        settings: schema.Breaker,
        clock: Callable[[], float],
        on_transition: Callable[[Transition], None] = _ignore,
        on_rejection: Callable[[], None] = _ignore,
    ) -> None:
        self.name = name
        self.settings = settings
        self.rejections = 0
        self.stale = 0
        self._clock = clock
        self._on_transition = on_transition
        self._on_rejection = on_rejection
        self._counts = Counts(settings.window)
        self._circuit = circuit.make(name, settings, self._counts)
        self._issued = 0
        self._first = 1
        """The number with which the present generation began."""
        self._row_began = 0
        """The newest number given out when the first of the failures in a row became known."""
        self._leases: dict[int, float] = {}
        self._until = 0.0
        self._break = settings.timeout
        self._turned = -math.inf
        """When it was last closed, or ceased to be."""
        self._held: Hold | None = None
        self._mode: Mode = settings.mode
        self._mode_until = math.inf

    def adopt(
        self,
        settings: schema.Breaker,
        on_transition: Callable[[Transition], None],
        on_rejection: Callable[[], None],
    ) -> None:
        """Go on under other settings, with all that is known so far; tell others from now on.

        What was counted is held against the new thresholds from the next failure on. A new window
        length begins with an empty window, as counts cut for the old one say nothing of it.
        """
        if settings.window != self.settings.window:
            self._counts.begin(settings.window)
        if settings.mode != self.settings.mode:
            self.set_mode(settings.mode)
        closed = self._state is State.CLOSED
        self._break = settings.timeout if closed else min(self._break, settings.max_timeout)
        self._circuit.fail_max = settings.failure_threshold
        self._circuit.success_threshold = settings.success_threshold
        self.settings = settings
        self._on_transition = on_transition
        self._on_rejection = on_rejection

    # Calls

    def admit(self) -> Permit:
        """Give leave to make a call, or raise CircuitOpenError with the time left."""
        # The clock is asked only where its answer matters: this is on the path of every call.
        if self._mode == "disabled" and self.mode == "disabled":
            return UNJUDGED
        if self._counts.state != circuit.CLOSED:
            return self._admit_probe(self._clock())
        self._issued = number = self._issued + 1
        return Permit(self, number)

    def would_admit(self) -> bool:
        """Say whether a call could go now. Changes nothing."""
        return self.mode != "enforce" or self._wait(self._clock()) <= 0

    def retry_after(self) -> float | None:
        """Give the seconds until a call could go; None when closed."""
        if self.state is State.CLOSED:
            return None
        return self._wait(self._clock())

    def judge(self, number: int, ended: Event) -> None:
        """Take the result of the permit *number*; permits call this."""
        if ended is Event.NEUTRAL:
            return
        if number < self._first:
            self.stale += 1
            return
        now = self._clock()
        counts = self._counts
        counts.calls.add(now)
        if ended is Event.FAILURE:
            counts.failures.add(now)
            counts.increment_counter()
            if counts.counter == 1:
                self._row_began = self._issued
            if self.held is None:
                self._happen(ended, now)
        elif counts.state != circuit.CLOSED:
            counts.increment_success_counter()
            self._happen(ended, now)
        elif number > self._row_began:
            # Streams from before an outage end well all through it, and prove nothing about now. A
            # call that began since the first failure does; were it the last one that counts, a
            # busy upstream that fails now and then could never end a row.
            counts.counter = 0

    def probed(self, number: int, ended: Event) -> int:
        """Take the verdict on a probe, free its slot, and give the number of what follows."""
        self._leases.pop(number, None)
        late = number < self._first
        self.judge(number, ended)
        if late:
            return number
        self._issued += 1
        return self._issued

    def _admit_probe(self, now: float) -> Permit:
        self._happen(Event.CALL, now)
        wait = self._wait(now)
        if wait > 0:
            self.rejections += 1
            self._on_rejection()
            if self.mode == "observe":
                return UNJUDGED
            raise errors.CircuitOpenError(self.name, wait)
        self._leases = {held: end for held, end in self._leases.items() if end > now}
        self._issued += 1
        self._leases[self._issued] = now + self.settings.probe_lease
        return Probe(self, self._issued)

    def _wait(self, now: float) -> float:
        """Give the seconds until a call could go, 0 if it can now."""
        state = self._state
        if state is State.CLOSED:
            return 0.0
        if state is State.OPEN:
            left = max(0.0, self._until - now)
            # Until an operator says so, nobody knows: then this is a guess, and not a promise.
            return self.settings.timeout if left == math.inf else left
        held = [end - now for end in self._leases.values() if end > now]
        return 0.0 if len(held) < self.settings.half_open_max else min(held)

    # What the table is asked, and what follows

    @property
    def _state(self) -> State:
        """The state as it is kept: open stays open until the next call."""
        return circuit.STATES[self._counts.state]

    def _happen(self, event: Event, now: float, open_for: float | None = None) -> None:
        for reason, target in TABLE.get((self._state, event), ()):
            if self._holds(reason, now):
                self._move(target, reason, now, open_for)
                return

    def _holds(self, reason: Reason, now: float) -> bool:
        match reason:
            case Reason.CONSECUTIVE:
                return self._circuit.fail_counter >= self._circuit.fail_max
            case Reason.FAILURE_RATE:
                calls = self._counts.calls.total(now)
                return (
                    calls >= self.settings.min_requests
                    and self._counts.failures.total(now) >= self.settings.failure_rate * calls
                )
            case Reason.TIMEOUT_ELAPSED:
                return now >= self._until
            case Reason.PROBE_SUCCEEDED:
                return self._circuit.success_counter >= self._circuit.success_threshold
            case _:
                return True  # one failed probe is enough, and an operator's or a peer's word

    def _move(self, target: State, reason: Reason, now: float, open_for: float | None) -> None:
        source = self._state
        self._first = self._issued + 1
        self._leases.clear()
        self._held = None
        if target is State.CLOSED:
            self._break = self.settings.timeout
        elif reason is Reason.PROBE_FAILED:
            self._break = min(2 * self._break, self.settings.max_timeout)
        if target is State.OPEN:
            open_for = self._break if open_for is None else open_for
            self._until = now + open_for
        if (source is State.CLOSED) != (target is State.CLOSED):
            self._turned = now
        circuit.ENTER[target](self._circuit)
        if source is not target:
            self._on_transition(Transition(self.name, source, target, reason, now, open_for or 0.0))

    # What can be seen

    @property
    def state(self) -> State:
        """The state as a caller would meet it: open past its time is half-open."""
        state = self._state
        return State.HALF_OPEN if state is State.OPEN and self._clock() >= self._until else state

    @property
    def failure_ratio(self) -> float:
        """The share of failures among the calls of the window, 0 where there were none."""
        now = self._clock()
        calls = self._counts.calls.total(now)
        return self._counts.failures.total(now) / calls if calls else 0.0

    @property
    def since(self) -> float:
        """The seconds since it was last closed, or ceased to be; infinite if it never did."""
        return self._clock() - self._turned

    @property
    def open_until(self) -> float:
        """The clock time until which it is open: 0 when it is not, infinite until released."""
        return self._until if self.state is State.OPEN else 0.0

    @property
    def mode(self) -> Mode:
        """What its verdicts mean: as the config says, or an operator for as long as he said."""
        if self._clock() >= self._mode_until:
            self.set_mode(self.settings.mode)
        return self._mode

    @property
    def held(self) -> Hold | None:
        """What an operator holds it at; None when it is its own master."""
        if self._held is None or self._clock() >= self._held.until:
            return None
        return self._held

    # The operator. What he says for some seconds ends by itself, when it is next looked at.

    def force_open(self, for_seconds: float | None = None) -> None:
        """Reject every call for so long, or until released; then probe as ever."""
        now = self._clock()
        open_for = math.inf if for_seconds is None else for_seconds
        self._happen(Event.FORCE_OPEN, now, open_for=open_for)
        self._held = Hold(State.OPEN, now + open_for)

    def force_closed(self, for_seconds: float | None = None) -> None:
        """Let every call through for so long, whatever it meets, or until released or reset."""
        now = self._clock()
        self._happen(Event.FORCE_CLOSED, now)
        self._held = Hold(State.CLOSED, math.inf if for_seconds is None else now + for_seconds)

    def release(self) -> None:
        """Take back what was forced: an open circuit is probed, a closed one may open again."""
        self._held = None
        self._happen(Event.RELEASE, self._clock())

    def reset(self) -> None:
        """Begin anew: closed, nothing counted, nothing held."""
        self._happen(Event.RESET, self._clock())

    def set_mode(self, mode: Mode, for_seconds: float | None = None) -> None:
        """Let its verdicts mean this for so long, or until told; then what the config says."""
        self._mode = mode
        self._mode_until = math.inf if for_seconds is None else self._clock() + for_seconds

    # The peers. What it has found out itself counts more than what it is told, and so does an
    # operator; who is not in earnest (`observe`, `disabled`) is told nothing.

    def hear_open(self, seconds: float, since: float) -> None:
        """Hear that a peer's stays open for so many seconds, and was closed *since* seconds ago."""
        now = self._clock()
        seconds = min(seconds, self.settings.max_timeout)
        if not self._listens() or self._knows_better(now, now + seconds, now - since):
            return
        self._happen(Event.CALL, now)  # what is past its time is left in the open, for all to see
        was_closed = self._state is State.CLOSED
        self._happen(Event.PEER_OPENED, now, open_for=seconds)
        self._break = max(self._break, seconds)  # a failed probe of a peer's is as good as ours
        if was_closed:
            self._turned = now - since

    def hear_closed(self, since: float) -> None:
        """Hear that a peer found it well *since* seconds ago, and see for ourselves at once."""
        now = self._clock()
        if self._listens() and self._turned <= now - since:
            self._happen(Event.PEER_CLOSED, now)

    def _listens(self) -> bool:
        return self.mode == "enforce" and self.held is None

    def _knows_better(self, now: float, until: float, began: float) -> bool:
        match self.state:
            case State.CLOSED:
                return began <= self._turned  # it was closed after that outage had begun
            case State.OPEN:
                return until <= self._until
            case State.HALF_OPEN:
                return any(end > now for end in self._leases.values())
