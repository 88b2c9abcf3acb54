"""Leave to make a call, and how what became of the call gets back to the breaker that gave it.

Nothing here decides: a permit says what happened, once, by the way its `with` block is left.
"""

from types import TracebackType
from typing import Protocol, Self

from proxy.config import schema
from proxy.policy.outcome import outcome
from proxy.policy.transitions import Event


class Judge(Protocol):
    """Who gives permits, and hears what became of them."""

    settings: schema.Breaker

    def judge(self, number: int, ended: Event) -> None: ...

    def probed(self, number: int, ended: Event) -> int: ...


class Permit:
    """Leave to make one call. Leaving its `with` block says how the call went.

    An ordinary call is judged when its body has ended, as otherwise an upstream that breaks off
    every answer would never be found out.
    """

    __slots__ = ("_breaker", "_number")

    def __init__(self, breaker: Judge, number: int) -> None:
        self._breaker = breaker
        self._number = number

    def answered(self) -> None:
        """Say that the head of a good answer has come."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._breaker.judge(self._number, outcome(error, self._breaker.settings.failure_on))


class Probe(Permit):
    """Leave to find out whether the upstream is back; holds one of the few slots for that.

    It is judged at the head: a stream of ten minutes must not keep everybody else waiting. From
    there on it is an ordinary call, of which only a cut body is still worth telling.
    """

    __slots__ = ("_answered",)

    def __init__(self, breaker: Judge, number: int) -> None:
        super().__init__(breaker, number)
        self._answered = False

    def answered(self) -> None:
        if not self._answered:
            self._answered = True
            self._number = self._breaker.probed(self._number, Event.SUCCESS)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        ended = outcome(error, self._breaker.settings.failure_on)
        if not self._answered:
            self._breaker.probed(self._number, ended)
        elif ended is Event.FAILURE:
            self._breaker.judge(self._number, ended)


class Unjudged(Permit):
    """Leave to make any number of calls that nobody judges."""

    __slots__ = ()

    def __init__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass


UNJUDGED = Unjudged()
