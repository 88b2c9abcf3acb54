"""Header fields: which travel on, which end here, and how a head is written.

Rule 1: pure functions over pairs of bytes; order, case and duplicates are the sender's.
Rule 2: nothing is invented; what is added (Host, Via, a credential) is handed in.

Framing is written by `reply` and `origin` alone, so both directions drop it here.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache

from proxy.wire.message import Headers

Pair = tuple[bytes, bytes]

# RFC 9110 7.6.1, and framing. Trailers are lost in the parser: nobody may be promised any.
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"content-length",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_OPTIONS = frozenset((b"close", b"keep-alive", b""))
"""What a Connection line says that is no name of a field."""

_TO_US = frozenset((b"host", b"x-octollm-timeout", b"x-required-capabilities"))
"""What a caller says to this proxy alone; Host names it."""

_OURS = frozenset(
    (
        b"x-octollm-request-id",
        b"x-octollm-upstream",
        b"x-octollm-attempts",
        b"x-octollm-stream",
        b"x-octollm-cache",
    )
)
"""What this proxy says of itself; an answer that has been through another one has its words."""

# Field values may hold a tab, and no other control character (RFC 9110 5.5).
_CONTROLS = bytes((*range(9), *range(10, 32), 127))


def via(instance: str) -> bytes:
    """Give the Via entry of this process; *instance* tells it from the next octollm-proxy."""
    return b"1.1 octollm-proxy-" + instance.encode()


def loops(headers: Headers, via: bytes) -> bool:
    """Tell whether a request has been through this process before."""
    token = via.partition(b" ")[2].lower()
    return any(
        token in (hop.split(b"(")[0].split() or [b""])[-1:]
        for name, value in headers
        if name.lower() == b"via"
        for hop in value.lower().split(b",")
    )


def to_upstream(
    headers: Headers,
    *,
    host: bytes,
    via: bytes,
    fields: Mapping[bytes, bytes] | None = None,
    remove: frozenset[bytes] = frozenset(),
    set: Iterable[Pair] = (),
) -> list[Pair]:
    """Give the head of a request as the upstream gets it: Host first (RFC 9110 7.2), Via last.

    *remove* holds lower-case names, those of *set* included. Our own control headers stay here.
    `Expect` travels on: the upstream is the one to say 100. *fields* is `by_name(headers)`, where
    somebody has it already.
    """
    kept = _end_to_end(headers, fields, _TO_US, remove)
    return [(b"Host", host), *kept, (b"Via", via), *set]


def to_caller(
    headers: Headers,
    *,
    fields: Mapping[bytes, bytes] | None = None,
    remove: frozenset[bytes] = frozenset(),
) -> list[Pair]:
    """Give the head of an answer as the caller gets it; *remove* holds lower-case names."""
    return _end_to_end(headers, fields, _OURS, remove)


def _end_to_end(
    headers: Headers,
    fields: Mapping[bytes, bytes] | None,
    ours: frozenset[bytes],
    remove: frozenset[bytes],
) -> list[Pair]:
    """Leave out what concerns one connection, what is ours, and what any Connection line names."""
    if fields is None:
        fields = by_name(headers)
    ends_here = _ends_here(ours, remove)
    if b"connection" in fields:
        options = fields[b"connection"]
        if len(fields) < len(headers):  # something is repeated: of that, the last line is known
            options = b",".join([pair[1] for pair in headers if pair[0].lower() == b"connection"])
        if named := _named(options):
            ends_here |= named
    return [pair for pair in headers if pair[0].lower() not in ends_here]


@lru_cache(maxsize=1024)
def _ends_here(ours: frozenset[bytes], remove: frozenset[bytes]) -> frozenset[bytes]:
    return HOP_BY_HOP | ours | remove


@lru_cache(maxsize=256)
def _named(options: bytes) -> frozenset[bytes]:
    """Give the header names among the options of all Connection lines."""
    return frozenset(option.strip().lower() for option in options.split(b",")) - _OPTIONS


def by_name(headers: Headers) -> dict[bytes, bytes]:
    """Give the values by lower-case name; of a repeated field the last stands."""
    return {name.lower(): value for name, value in headers}


def content_length(headers: Headers) -> int | None:
    """Give the length a head announces, as an answer to HEAD does for a body that never comes."""
    for name, value in headers:
        if name.lower() == b"content-length":
            return int(value) if value.isdigit() else None
    return None


def check(headers: Headers) -> bool:
    """Tell whether no value holds a control character, which could end it and begin another."""
    text = b"".join([value for _, value in headers])
    return len(text) == len(text.translate(None, _CONTROLS))


def block(headers: Headers) -> bytes:
    """Write header lines. Raises ValueError where a field holds a control character."""
    text = b"".join([b"%b: %b\r\n" % pair for pair in headers])
    # Each line may hold two of them, its own end; anything more was smuggled in.
    if len(text) - len(text.translate(None, _CONTROLS)) != 2 * len(headers):
        raise ValueError("a header field holds a control character")
    return text
