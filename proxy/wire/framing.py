"""Where a message begins and ends, and which heads are refused: decisions about a parsed head.

Rule 1: pure. A head goes in; what follows from it comes out, or an error that echoes nothing.
Rule 2: what two parsers could read in two ways is refused, not interpreted (RFC 9112 11.2).

The C parser refuses most of it before: both lengths at once, doubled ones, folded lines, bare LF.
"""

from typing import NamedTuple

from proxy import errors
from proxy.wire import headers
from proxy.wire.parser import RawRequestMessage, RawResponseMessage

_SPOKEN = ((1, 1), (1, 0))
_HTTP_1_0 = (1, 0)


class Announced(NamedTuple):
    """What the head of a request says about what follows it."""

    body: bool
    length: int | None
    expects: bool
    """The caller waits for a 100 before it sends its body."""


def of_request(head: RawRequestMessage, header_count: int) -> Announced:
    """Say what follows *head*. Raises ValidationError with 400, 417, 431, 501 or 505."""
    version = head.version
    if version not in _SPOKEN:
        raise errors.ValidationError("this proxy speaks HTTP/1.1", status=505)
    raw = head.raw_headers
    # The parser refuses all else that may not stand in a target, and leaves this to us.
    if "#" in head.path:
        raise errors.ValidationError("the request target holds a fragment")
    if len(raw) > header_count:
        raise errors.ValidationError("the request has too many header fields", status=431)
    # Upstreams that speak CGI or WSGI read X_Y as X-Y, and would take one field for another.
    if b"_" in b"".join([name for name, _ in raw]):
        raise errors.ValidationError("a header name holds an underscore")
    fields = head.headers
    if head.chunked:
        if version == _HTTP_1_0:  # RFC 9112 6.1: its framing is faulty
            raise errors.ValidationError("HTTP/1.0 has no chunked bodies")
        if fields["Transfer-Encoding"].lower() != "chunked":
            raise errors.ValidationError("the only transfer coding here is chunked", status=501)
    expects = False
    if "Expect" in fields:
        if any(value.lower() != "100-continue" for value in fields.getall("Expect")):
            raise errors.ValidationError("the only expectation here is 100-continue", status=417)
        expects = True
    length = fields.get("Content-Length")
    if head.method == "CONNECT":  # what follows it is not HTTP any more
        return Announced(False, None, False)
    if length is None:
        if not head.chunked and "Transfer-Encoding" in fields:  # it is empty: RFC 9112 6.3, 4.
            raise errors.ValidationError("the transfer coding is empty")
        return Announced(head.chunked, None, expects)
    return Announced(True, int(length), expects)


def asks_for_tunnel(head: RawRequestMessage, announced: Announced) -> bool:
    """Tell whether a head with an Upgrade is the handshake of a WebSocket; all else is no matter.

    Raises ValidationError where a body comes with it: to some servers it is the tunnel's first
    bytes, to others a request's (CVE-2026-69243).
    """
    protocols = [value.lower() for value in head.headers.getall("Upgrade", ())]
    if announced.body and announced.length != 0 and any("websocket" in it for it in protocols):
        raise errors.ValidationError("the handshake of a WebSocket has no body")
    return protocols == ["websocket"] and head.method == "GET" and head.version == (1, 1)


def bound(head: RawRequestMessage, header_size: int) -> None:
    """Refuse a head of more than *header_size* bytes that came in one piece."""
    size = len(head.path) + sum(len(name) + len(value) + 4 for name, value in head.raw_headers)
    if size > header_size:
        raise errors.ValidationError("the request's head is too large", status=431)


def announced(head: RawResponseMessage) -> int | None:
    """Give the bytes of body that an answer's head announces; None for chunks and until the end."""
    length = head.headers.get("Content-Length")
    return None if length is None else int(length)


def of_response(head: RawResponseMessage) -> None:
    """Refuse a response head that could be read in two ways, with NetworkError(protocol)."""
    version = head.version
    codings = head.headers.getall("Transfer-Encoding", ())
    # `chunked` and a tab is no coding to the parser, which shows it without the tab.
    clear = not codings or (
        head.chunked and version != _HTTP_1_0 and [c.lower() for c in codings] == ["chunked"]
    )
    if (
        version not in _SPOKEN
        or not clear
        # `Content-Length : 6` is no length to the parser, and one to some caller's.
        or b" " in b"".join([name for name, _ in head.raw_headers])
        or not headers.check(head.raw_headers)
    ):
        raise errors.NetworkError(
            "the upstream sent something that is not HTTP/1.1", condition="protocol"
        )
