"""The state and the counts of a circuit, as pybreaker keeps them; the door to it.

Nothing here decides: `breaker` does.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from proxy.config import schema
from proxy.policy.transitions import State
from proxy.policy.window import Window


@contextmanager
def _without(library: str) -> Iterator[None]:
    """Let an import find out that *library* is not there, unless somebody has it already."""
    absent = library not in sys.modules
    if absent:
        sys.modules[library] = None  # type: ignore[assignment]  # the import system's own way
    try:
        yield
    finally:
        if absent:
            del sys.modules[library]


# Where redis-py is installed, pybreaker loads it, for a storage that is not used here: a third of a
# second, and 16 MB, of every start.
with _without("redis"):
    import pybreaker

CLOSED: str = pybreaker.STATE_CLOSED

STATES = {
    pybreaker.STATE_CLOSED: State.CLOSED,
    pybreaker.STATE_OPEN: State.OPEN,
    pybreaker.STATE_HALF_OPEN: State.HALF_OPEN,
}
ENTER: dict[State, Callable[[pybreaker.CircuitBreaker], object]] = {
    State.CLOSED: pybreaker.CircuitBreaker.close,
    State.OPEN: pybreaker.CircuitBreaker.open,
    State.HALF_OPEN: pybreaker.CircuitBreaker.half_open,
}


class Counts(pybreaker.CircuitBreakerStorage):
    """Where pybreaker keeps its state and counts: in a row, and over the window.

    pybreaker itself calls `reset_counter` when it closes, and `reset_success_counter` at each move.
    """

    # Plain attributes where pybreaker has properties: this is read on every call.
    state: str = pybreaker.STATE_CLOSED
    counter: int = 0
    success_counter: int = 0
    # pybreaker writes the time on the wall here; ours is monotonic and the breaker's own.
    opened_at: datetime | None = None

    def __init__(self, window: float) -> None:
        super().__init__("window")
        self.begin(window)

    def begin(self, window: float) -> None:
        """Look back over *window* seconds, of which nothing is known yet."""
        self.calls = Window(window)
        self.failures = Window(window)

    def increment_counter(self) -> None:
        self.counter += 1

    def reset_counter(self) -> None:
        self.counter = 0
        self.calls.clear()
        self.failures.clear()

    def increment_success_counter(self) -> None:
        self.success_counter += 1

    def reset_success_counter(self) -> None:
        self.success_counter = 0


def make(name: str, settings: schema.Breaker, counts: Counts) -> pybreaker.CircuitBreaker:
    """Give the circuit of one upstream, which keeps its state in *counts*."""
    return pybreaker.CircuitBreaker(
        name=name,
        fail_max=settings.failure_threshold,
        success_threshold=settings.success_threshold,
        state_storage=counts,
    )
