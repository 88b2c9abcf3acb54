"""One kept answer, and its form as bytes.

Rule: what is read back is trusted no further than its checksum; what does not add up is no answer,
and no error either.

Times are seconds on the wall, because an entry outlives processes and moves between machines.
"""

import struct
import zlib
from dataclasses import dataclass, field

from proxy.wire import headers
from proxy.wire.message import Headers

_OVERHEAD = 512
"""What an entry costs beyond its bytes, about: objects, the place in a store."""
_FIELD_OVERHEAD = 130
"""The same for a header field: two bytes objects and a pair."""

# The mark holds the version: a process of another one finds nothing, and keeps its own.
_MARK = b"octollm1"
_HEAD = struct.Struct(">8sI")
_FACTS = struct.Struct(">HHddd")
_FIELD = struct.Struct(">HI")


@dataclass(frozen=True, slots=True)
class Entry:
    """A whole answer, as it is told to everybody who asks for it."""

    status: int
    headers: Headers
    """What is true of the answer for all callers: no cookies, no ids, no `Age`."""
    body: bytes
    born: float
    """When the upstream said it."""
    fresh_until: float
    stale_until: float
    """Until then it is better than an error."""
    size: int = field(init=False, compare=False)
    """The bytes of memory it is taken to need."""

    def __post_init__(self) -> None:
        fields = sum(len(name) + len(value) + _FIELD_OVERHEAD for name, value in self.headers)
        object.__setattr__(self, "size", len(self.body) + fields + _OVERHEAD)

    def age(self, now: float) -> float:
        """Give the seconds since the upstream said it; clocks of two machines may disagree."""
        return max(0.0, now - self.born)


def pack(entry: Entry) -> bytes:
    """Give the form in which an entry is stored elsewhere."""
    parts = [
        _FACTS.pack(
            entry.status, len(entry.headers), entry.born, entry.fresh_until, entry.stale_until
        )
    ]
    for name, value in entry.headers:
        parts += (_FIELD.pack(len(name), len(value)), name, value)
    parts.append(entry.body)
    rest = b"".join(parts)
    return _HEAD.pack(_MARK, zlib.crc32(rest)) + rest


def unpack(data: bytes) -> Entry | None:
    """Read what `pack` has written; None where this is damaged, or somebody else's."""
    try:
        return _read(data)
    except struct.error:
        return None


def _read(data: bytes) -> Entry | None:
    mark, checksum = _HEAD.unpack_from(data)
    if mark != _MARK or zlib.crc32(memoryview(data)[_HEAD.size :]) != checksum:
        return None
    status, count, born, fresh_until, stale_until = _FACTS.unpack_from(data, _HEAD.size)
    at = _HEAD.size + _FACTS.size
    fields = []
    for _ in range(count):
        name, value = _FIELD.unpack_from(data, at)
        middle = at + _FIELD.size + name
        fields.append((data[at + _FIELD.size : middle], data[middle : middle + value]))
        at = middle + value
    # A checksum keeps accidents out, not somebody who can write to the store.
    if at > len(data) or not headers.check(fields):
        return None
    return Entry(status, fields, data[at:], born, fresh_until, stale_until)
