"""The states of a circuit, and the one table that says what moves it from one to another.

Rule 1: a circuit changes its state only as `TABLE` says; what does not stand in it moves nothing.
Rule 2: the table speaks of the present generation. Every move begins a new one, and the result of
a call from before it never gets as far as this table.
Rule 3: nothing here counts, reads a clock or keeps anything; that is `breaker.py`.

Of a row's grounds the first that holds decides, and its name is the `reason` in logs and metrics.
The diagram in docs/breaker.md is drawn from here.
"""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """What a circuit does with calls: lets them through, rejects them, or lets a few probe."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Event(StrEnum):
    """What can happen to a circuit: a call wants to go, or has ended; an operator or a peer speaks.

    A peer is the circuit of another replica, before the same upstream.
    """

    CALL = "call"
    SUCCESS = "success"
    FAILURE = "failure"
    NEUTRAL = "neutral"
    FORCE_OPEN = "force_open"
    FORCE_CLOSED = "force_closed"
    RELEASE = "release"
    RESET = "reset"
    PEER_OPENED = "peer_opened"
    PEER_CLOSED = "peer_closed"


class Reason(StrEnum):
    """The grounds on which a circuit moves."""

    CONSECUTIVE = "consecutive"
    FAILURE_RATE = "failure_rate"
    TIMEOUT_ELAPSED = "timeout_elapsed"
    PROBE_SUCCEEDED = "probe_succeeded"
    PROBE_FAILED = "probe_failed"
    FORCED = "forced"
    RELEASED = "released"
    PEER = "peer"


TABLE: dict[tuple[State, Event], tuple[tuple[Reason, State], ...]] = {
    (State.CLOSED, Event.FAILURE): (
        (Reason.CONSECUTIVE, State.OPEN),
        (Reason.FAILURE_RATE, State.OPEN),
    ),
    (State.OPEN, Event.CALL): ((Reason.TIMEOUT_ELAPSED, State.HALF_OPEN),),
    (State.HALF_OPEN, Event.SUCCESS): ((Reason.PROBE_SUCCEEDED, State.CLOSED),),
    (State.HALF_OPEN, Event.FAILURE): ((Reason.PROBE_FAILED, State.OPEN),),
    # An operator is obeyed in every state. What is released from open still has to prove itself.
    (State.OPEN, Event.RELEASE): ((Reason.RELEASED, State.HALF_OPEN),),
    **{(state, Event.FORCE_OPEN): ((Reason.FORCED, State.OPEN),) for state in State},
    **{(state, Event.FORCE_CLOSED): ((Reason.FORCED, State.CLOSED),) for state in State},
    **{(state, Event.RESET): ((Reason.FORCED, State.CLOSED),) for state in State},
    # One good probe of a peer's lets us probe, and no more: all of us at once would be too many.
    **{(state, Event.PEER_OPENED): ((Reason.PEER, State.OPEN),) for state in State},
    (State.OPEN, Event.PEER_CLOSED): ((Reason.PEER, State.HALF_OPEN),),
}


@dataclass(frozen=True, slots=True)
class Transition:
    """A circuit has moved. *at* is clock time; *open_for* seconds, 0 where it did not open."""

    breaker: str
    from_state: State
    to_state: State
    reason: Reason
    at: float
    open_for: float


def diagram() -> str:
    """Draw the table as a Mermaid state diagram, one arrow for each way from state to state."""
    arrows: dict[tuple[State, State], list[str]] = {}
    for (source, _), grounds in TABLE.items():
        for reason, target in grounds:
            labels = arrows.setdefault((source, target), [])
            if source is not target and reason not in labels:
                labels.append(reason)
    lines = ["stateDiagram-v2", f"    [*] --> {State.CLOSED}"]
    lines += [
        f"    {source} --> {target}: {', '.join(labels)}"
        for (source, target), labels in arrows.items()
        if labels
    ]
    return "\n".join(lines)
