"""Where the events of a stream end: server-sent events as bytes, and nothing of what they say.

Rule 1: nothing is decoded or parsed here; borders are found at the speed of `bytes.rfind`.
Rule 2: an event is whole when the blank line that ends it has come (WHATWG HTML 9.2.6). Lines end
with LF, CRLF or CR.
"""

import re
from collections.abc import Iterator

EVENT_LIMIT = 64 * 1024
"""Bytes of an unfinished event that are held; a longer one passes piece by piece."""

_DATA = re.compile(rb"(?:^|[\r\n])data")
_LINE_END = re.compile(r"\r\n|\n|\r")

# A line's end and a blank line: what ends an event. CRLF is one end, never two.
_BORDER = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r(?!\n|$))")


class Scanner:
    """Cuts a stream into whole events and the beginning of the next one.

    `rest` is what has come of an event that is not whole yet. `midway` tells that a part of it has
    been let go already, because it was longer than `limit`.
    """

    __slots__ = ("events", "limit", "midway", "rest")

    def __init__(self) -> None:
        self.limit = EVENT_LIMIT
        self.rest = b""
        self.midway = False
        self.events = 0
        """Whole events so far, comments and keep-alive lines included."""

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes and give those that may go on: whole events, or an overlong piece."""
        if not self.rest and 0 <= data.find(b"\n\n") == len(data) - 2 and b"\r" not in data:
            # One whole event, as most pieces are: there is nothing to cut.
            self.events += 1
            self.midway = False
            return data
        # A border lies in the new bytes, but for up to three of its own.
        start = max(0, len(self.rest) - 3)
        data = self.rest + data if self.rest else data
        end, count = _last_border(data, start)
        if end:
            self.events += count
            self.midway = False
        if len(data) - end > self.limit:
            end = max(end, len(data.rstrip(b"\r\n")))  # what may be half a border stays
            self.midway = True
        self.rest = data[end:]
        return data[:end] if self.rest else data


def _last_border(data: bytes, start: int) -> tuple[int, int]:
    """Give where the last event ends, 0 for nowhere, and how many do from *start* on."""
    if b"\r" not in data:
        at = data.rfind(b"\n\n", start)
        return (at + 2, data.count(b"\n\n", start)) if at >= 0 else (0, 0)
    end = count = 0
    for border in _BORDER.finditer(data, start):
        end, count = border.end(), count + 1
    return end, count


def speaks(events: bytes) -> bool:
    """Tell whether there is data in these events: comments alone only keep a connection alive."""
    return _DATA.search(events) is not None


def split(data: bytes) -> Iterator[bytes]:
    """Give the events in *data* one by one, each with its border; the last may have none."""
    start = 0
    for border in _BORDER.finditer(data):
        yield data[start : border.end()]
        start = border.end()
    if start < len(data):
        yield data[start:]


def fields(event: bytes) -> tuple[str, str]:
    """Read an event's name and data; the name is "" where there is none, and so is the data."""
    name, lines = "", []
    for line in _LINE_END.split(event.decode("utf-8", "replace")):
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            lines.append(value)
        elif field == "event":
            name = value
    return name, "\n".join(lines)


def write(data: str, name: str = "") -> bytes:
    """Write one event; *data* is a single line."""
    named = f"event: {name}\n" if name else ""
    return f"{named}data: {data}\n\n".encode()
