"""Header fields: which travel on, which end here, and how a head is written.

Rule 1: pure functions over pairs of bytes; order, case and duplicates are the sender's.
Rule 2: nothing is invented; what is added (Host, Via, a credential) is handed in.

Framing is written by `reply` and `origin` alone, so both directions drop it here.
"""

from collections.abc import Collection, Iterable

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
_OURS = b"x-octollm-"
_CAPABILITIES = b"x-required-capabilities"

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
    remove: Collection[bytes] = (),
    set: Iterable[Pair] = (),
) -> list[Pair]:
    """Give the head of a request as the upstream gets it.

    *remove* holds lower-case names, those of *set* included. Our own control headers stay here.
    `Expect` travels on: the upstream is the one to say 100.
    """
    kept, hosted = [], False
    options: list[bytes] = []
    for pair in headers:
        name = pair[0].lower()
        if name in HOP_BY_HOP:
            if name == b"connection":
                options.append(pair[1])
        elif name == b"host":
            if not hosted:
                kept.append((pair[0], host))
                hosted = True
        elif name not in remove and name[:10] != _OURS and name != _CAPABILITIES:
            kept.append(pair)
    kept = _unnamed(kept, options)
    if not hosted:
        kept.insert(0, (b"Host", host))
    kept.append((b"Via", via))
    kept.extend(set)
    return kept


def to_caller(headers: Headers, *, remove: Collection[bytes] = ()) -> list[Pair]:
    """Give the head of an answer as the caller gets it; *remove* holds lower-case names."""
    kept: list[Pair] = []
    options: list[bytes] = []
    for pair in headers:
        name = pair[0].lower()
        if name in HOP_BY_HOP:
            if name == b"connection":
                options.append(pair[1])
        elif name not in remove and name[:10] != _OURS:
            kept.append(pair)
    return _unnamed(kept, options)


def _unnamed(kept: list[Pair], options: list[bytes]) -> list[Pair]:
    """Leave out what any Connection line names."""
    if not options:
        return kept
    # A peer may not make us drop the one field that says where the request goes.
    named = {option.strip().lower() for line in options for option in line.split(b",")}
    named -= {b"close", b"keep-alive", b"host", b""}
    return [pair for pair in kept if pair[0].lower() not in named] if named else kept


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
