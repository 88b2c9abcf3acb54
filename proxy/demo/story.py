"""The proxy's log, as counts by upstream and as sentences for somebody who sees it first.

Rule 1: what is told here was said in a log line; nothing is guessed.
Rule 2: nothing here knows how a story is shown.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

Line = Mapping[str, Any]

_FAULTS = {
    "connect": "refused the connection",
    "reset": "dropped the connection",
    "timeout": "did not answer in time",
    "protocol": "did not speak HTTP",
    "cut": "broke off its answer",
    "status_429": "answered 429",
    "status_4xx": "answered with a 4xx",
    "status_5xx": "answered with a 5xx",
}


class Mood(Enum):
    """How a sentence is meant."""

    SCENE = "what the upstreams are about to do"
    NOTE = "the proxy at work"
    GOOD = "something is well again"
    BAD = "a caller is told of a failure, or soon will be"


@dataclass(frozen=True, slots=True)
class Told:
    """A sentence; *at* is seconds since the story began, *upstream* empty for a scene."""

    at: float
    mood: Mood
    upstream: str
    sentence: str


@dataclass(slots=True)
class Tally:
    """What has happened at one upstream so far."""

    requests: int = 0
    failed: int = 0
    retries: int = 0
    attempts: int = 0
    last_error: str = ""

    @property
    def attempts_per_request(self) -> float:
        return self.attempts / self.requests if self.requests else 0.0


class Story:
    """What has happened since it began; *tell* gets each sentence as it is told."""

    def __init__(
        self, upstreams: Iterable[str], clock: Callable[[], float], tell: Callable[[Told], None]
    ) -> None:
        self.tallies = {name: Tally() for name in upstreams}
        self.told: deque[Told] = deque(maxlen=100)
        self.scene = ""
        self._clock = clock
        self._began = clock()
        self._tell = tell

    @property
    def elapsed(self) -> float:
        return self._clock() - self._began

    def announce(self, title: str) -> None:
        """Begin a new scene."""
        self.scene = title
        self._say(Mood.SCENE, "", title)

    def hear(self, line: Line) -> None:
        """Take one line of the proxy's log."""
        upstream = line.get("upstream", "")
        tally = self.tallies.get(upstream)
        if tally is None:
            return
        _count(line, tally)
        meant = _sentence(line)
        if meant is not None:
            self._say(meant[0], upstream, meant[1])

    def _say(self, mood: Mood, upstream: str, sentence: str) -> None:
        told = Told(self.elapsed, mood, upstream, sentence)
        self.told.append(told)
        self._tell(told)


def _count(line: Line, tally: Tally) -> None:
    match line["event"]:
        case "retry.scheduled":
            tally.retries += 1
        case "request.completed" | "request.failed":
            tally.requests += 1
            tally.attempts += line["attempts"]
            if line["code"]:
                tally.failed += 1
                tally.last_error = line["code"]


def _sentence(line: Line) -> tuple[Mood, str] | None:
    match line:
        case {"event": "retry.scheduled", "reason": reason, "attempt": attempt, "wait_ms": wait}:
            return Mood.NOTE, f"{_FAULTS[reason]}; attempt {attempt} follows in {wait / 1000:.1f} s"
        case {"event": "request.completed", "attempts": attempts} if attempts > 1:
            return Mood.GOOD, f"a caller has its answer, from attempt {attempts}"
        case {"event": "request.failed", "attempts": attempts} if attempts > 0:
            return Mood.BAD, (
                f"a caller is told {line['code']} ({line['status']}), after"
                f" {attempts} attempt{'s' * (attempts > 1)}"
            )
        case {"event": "breaker.rejecting", "count": count}:
            return Mood.NOTE, (
                f"{count} caller{'s' * (count > 1)} told CIRCUIT_OPEN (503) at once; nothing sent"
            )
        case {"event": "breaker.opened", "open_ms": wait, "reason": reason}:
            why = "the probe failed" if reason == "probe_failed" else "too many failures"
            return Mood.BAD, f"{why}: the circuit OPENS for {wait / 1000:g} s"
        case {"event": "breaker.half_opened"}:
            return Mood.NOTE, "its time is over: HALF-OPEN, one call goes through as a probe"
        case {"event": "breaker.closed"}:
            return Mood.GOOD, "the probe was answered: the circuit CLOSES"
    return None
