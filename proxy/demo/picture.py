"""The story as lines of text: a picture that fills a terminal, or a line for each event.

Rule: a picture is a function of what it shows. Nothing here writes, waits or reads a clock.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

from proxy.demo.story import Mood, Story, Told
from proxy.observe.metrics import BreakerReading

Span = tuple[str, str]
"""A style, and text in it."""

_STYLES = {"good": "32", "bad": "31", "note": "33", "faint": "2", "strong": "1", "": ""}

# Shape says what colour says: a lamp that is lit, half lit, or out.
_STATES = {"closed": ("good", "● closed"), "half_open": ("note", "◐ half-open")}

_MOODS = {
    Mood.SCENE: ("strong", "▶"),
    Mood.NOTE: ("note", "·"),
    Mood.GOOD: ("good", "✓"),
    Mood.BAD: ("bad", "✗"),
}
_COLUMNS = "{:<8}{:<21}{:>6}{:>8}{:>8}{:>11}  {}"


@dataclass(frozen=True, slots=True)
class Places:
    """Where the proxy is, and *notice*, what should be said about that."""

    data: str
    admin: str
    notice: str = ""

    @property
    def lines(self) -> tuple[str, ...]:
        return (
            f"data   {self.data}   where services send their calls",
            f"admin  {self.admin}   the status page; /metrics, /-/healthy, /-/ready",
            *([f"       {self.notice}"] if self.notice else []),
            "",
            f"try    curl -i {self.data}/llm/v1/models",
            f"       curl -s {self.admin}/metrics | grep breaker_state",
        )


def frame(
    story: Story,
    readings: Iterable[BreakerReading],
    places: Places,
    wall: float,
    size: tuple[int, int],
    *,
    colour: bool,
) -> str:
    """Draw everything as text that fits *size*, columns and rows. *wall* is Unix time."""
    columns, rows = size
    lines = [
        [("strong", "octollm-proxy demo"), ("faint", f"   {story.elapsed:.0f} s   Ctrl-C ends it")],
        [],
        *([("", line)] for line in places.lines),
        [],
        [("faint", "now    "), ("strong", story.scene)],
        [],
        [("faint", _COLUMNS.format(*_HEADINGS))],
        *(_row(story, reading, wall) for reading in readings),
        [],
    ]
    newest = list(story.told)[-max(1, rows - len(lines)) :]
    lines += [_event(told) for told in newest]
    # A character in the last column would make some terminals clear it with the rest of the line.
    return "\n".join(_painted(line, columns - 1, colour) for line in lines[:rows])


def sentence(told: Told) -> str:
    """Write one event as a line for a pipe."""
    return "".join(text for _, text in _event(told))


def ending(story: Story) -> str:
    """Write what is left to say when it is over."""
    lines = [f"{story.elapsed:.0f} s of it:"]
    lines += [
        f"  {name:<8} {tally.requests} calls, {tally.failed} failed, {tally.retries} retries,"
        f" {tally.attempts_per_request:.2f} attempts a call"
        for name, tally in story.tallies.items()
    ]
    return "\n".join(lines)


_HEADINGS = ("", "circuit", "calls", "failed", "retries", "tries/call", "last error")


def _row(story: Story, reading: BreakerReading, wall: float) -> list[Span]:
    tally = story.tallies[reading.upstream]
    style, words = _STATES.get(reading.state) or (
        "bad",
        f"○ open, probe in {max(0, ceil(reading.open_until - wall))} s",
    )
    whole = _COLUMNS.format(
        reading.upstream,
        words,
        tally.requests,
        tally.failed,
        tally.retries,
        f"{tally.attempts_per_request:.2f}",
        tally.last_error or "-",
    )
    begin, end = whole.index(words), whole.index(words) + len(words)
    return [("strong", whole[:begin]), (style, whole[begin:end]), ("", whole[end:])]


def _event(told: Told) -> list[Span]:
    style, sign = _MOODS[told.mood]
    text_style = style if told.mood is Mood.SCENE else ""
    whom = f"{told.upstream:<8} " if told.upstream else ""
    return [
        ("faint", f"{told.at:6.1f} s  "),
        (style, f"{sign} "),
        (text_style, f"{whom}{told.sentence}"),
    ]


def _painted(line: list[Span], width: int, colour: bool) -> str:
    painted = ""
    for style, text in line:
        shown, width = text[:width], width - len(text[:width])
        if shown and style and colour:
            shown = f"\x1b[{_STYLES[style]}m{shown}\x1b[0m"
        painted += shown
    return painted
