"""Answers that parsers have been known to read in two ways, each with what must become of it.

`REFUSED` becomes a 502 of ours, `CUT` begins well and never looks whole, `PASSED` is relayed as the
status and body it is listed with. Whatever is refused says "canary". In every case the next caller
gets the next answer, and nothing of this one.
"""

from exactness.asking import BAD_CHUNKS, CHUNKS, CODINGS, CONTROLS, LENGTHS, PLAIN_CODINGS

EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nSet-Cookie: evil\r\n\r\nevil"


def head(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join([start, *lines]) + b"\r\n\r\n"


def plain(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return head(b"Content-Length: 6", *lines, start=start) + b"canary"


START_LINES = [
    b"",
    b"canary",
    b"HTTP/1.1",
    b"HTTP/1.1 ",
    b"HTTP/1.1  200 canary",
    b"HTTP/1.1\t200 canary",
    b" HTTP/1.1 200 canary",
    b"HTTP/1.1 2OO canary",
    b"HTTP/1.1 -200 canary",
    b"HTTP/1.1 +200 canary",
    b"HTTP/1.1 0x200 canary",
    b"HTTP/1.1 20 canary",
    b"HTTP/1.1 2000 canary",
    b"HTTP/1.1 200.0 canary",
    b"HTTP/1.1 000 canary",
    b"HTTP/1.1 099 canary",
    b"HTTP/1.1 101 canary",
    b"HTTP/1.1 600 canary",
    b"HTTP/1.1 999 canary",
    b"HTTP/1.1 canary",
    b"HTTP/1.1:200 canary",
    b"HTTP/2.0 200 canary",
    b"HTTP/2 200 canary",
    b"HTTP/0.9 200 canary",
    b"HTTP/1.2 200 canary",
    b"HTTP/3.0 200 canary",
    b"HTTP/1.10 200 canary",
    b"HTTP/11 200 canary",
    b"http/1.1 200 canary",
    b"HTTPS/1.1 200 canary",
    b"ICY 200 canary",
    b"SSH-2.0-canary",
    b"GET /canary HTTP/1.1",
    b"\x15\x03\x01\x00\x02\x02\x46 canary",
    b"HTTP/1.1 200 ca\rnary",
]

FIELDS = [
    b"canary",
    b": canary",
    b"X : canary",
    b"X Y: canary",
    b"X\0: canary",
    b"X\xff: canary",
    b"(X): canary",
    *(b"X: can" + byte + b"ary" for byte in (b"\0", b"\r", b"\n", b"\r\r", *CONTROLS)),
    b"X: y\rSet-Cookie: canary",
    b"X: y\n\n" + EVIL,
    b"X: y\r\r" + EVIL,
]

# The parser takes these as RFC 9112 lets it: a LF alone ends a line (2.2), a folded one goes on with
# the line before (5.2). What the caller gets is written anew, and has neither.
TOLERATED = {
    b"Transfer-Encoding:\r\n chunked",
    b"Transfer-Encoding:\r\n\tchunked",
    b"Transfer-Encoding:\n chunked",
    b"X: y\nTransfer-Encoding: chunked",
    b"X: y\r\n Transfer-Encoding: chunked",
    b"Content-Length:\r\n 6",
    b"X: y\nContent-Length: 6",
    b"X: y\r\n Content-Length: 6",
    b"5\n\nhello\r\n0\r\n\r\n",
    b"5;a\nhello\r\n0\r\n\r\n",
    b"5;\nhello\r\n0\r\n\r\n",
    b"5\r\nhello\n0\r\n\r\n",
    b"5\r\nhell\r\n0\r\n\r\n",
    b"5\r\nhello\r\n0\r\n\n",
    b"5\r\nhello\r\n0\r\nX: a\0b\r\n\r\n",
    b"5\r\nhello\r\n0\r\nX: a\nY: b\r\n\r\n",
    b"5\r\nhello\r\n0\r\nX: a\r\n b\r\n\r\n",
    b"5\r\nhello\r\n0\r\nTransfer-Encoding: gzip\r\nX: y\r\n\r\n",
}


def refused(lines: list[bytes]) -> list[bytes]:
    return [line for line in lines if b"_" not in line and line not in TOLERATED]


REFUSED = {
    **{f"start {line!r}": plain(start=line) for line in START_LINES},
    **{f"field {line!r}": plain(line) for line in FIELDS},
    **{f"length {line!r}": head(line) + b"canary" for line in refused(LENGTHS)},
    **{f"length and {line!r}": plain(line) for line in refused([*CODINGS, *PLAIN_CODINGS]) if b" Trans" not in line},
    **{f"chunks by {line!r}": head(line) + CHUNKS for line in refused(CODINGS)},
    "HTTP/1.0 in chunks": head(b"Transfer-Encoding: chunked", start=b"HTTP/1.0 200 OK") + CHUNKS,
    "half a head": b"HTTP/1.1 200 OK\r\nX: canary",
    "nothing": b"",
    "only interim answers": head(start=b"HTTP/1.1 100 Continue") * 3,
    "an upgrade that nobody asked for": head(b"Upgrade: websocket", b"Connection: Upgrade", start=b"HTTP/1.1 101 Switching Protocols") + b"canary",
}  # fmt: skip

CUT = {
    **{f"chunks {body!r}": head(b"Transfer-Encoding: chunked") + b"1\r\nx\r\n" + body for body in BAD_CHUNKS if body not in TOLERATED},
    "a body that ends early": head(b"Content-Length: 9") + b"short",
    "chunks that end early": head(b"Transfer-Encoding: chunked") + b"9\r\nshort",
    "chunks without an end": head(b"Transfer-Encoding: chunked") + b"5\r\nshort\r\n",
    "chunks without the last line": head(b"Transfer-Encoding: chunked") + b"5\r\nshort\r\n0\r\n",
}  # fmt: skip

PASSED: dict[str, tuple[bytes, int, bytes]] = {
    **{f"chunks by {line!r}": (head(line) + CHUNKS, 200, b"hello") for line in PLAIN_CODINGS},
    "a length": (plain(), 200, b"canary"),
    "zeros before a length": (head(b"Content-Length: 006") + b"canary", 200, b"canary"),
    "an empty body": (head(b"Content-Length: 0"), 200, b""),
    "until the end": (head() + b"all of it", 200, b"all of it"),
    "until the end, from HTTP/1.0": (head(start=b"HTTP/1.0 200 OK") + b"all of it", 200, b"all of it"),
    "until the end, in spite of keep-alive": (head(b"Connection: keep-alive") + b"all", 200, b"all"),
    "a length, from HTTP/1.0": (plain(start=b"HTTP/1.0 200 OK"), 200, b"canary"),
    "no reason": (plain(start=b"HTTP/1.1 200"), 200, b"canary"),
    "an empty reason": (plain(start=b"HTTP/1.1 200 "), 200, b"canary"),
    "a strange reason": (plain(start=b"HTTP/1.1 200 \xe9vil <script>"), 200, b"canary"),
    "an unknown status": (plain(start=b"HTTP/1.1 299 evil"), 299, b"canary"),
    "names with an underscore": (plain(b"X_Y: z"), 200, b"canary"),
    "204": (head(start=b"HTTP/1.1 204 No Content"), 204, b""),
    "304": (head(b"Content-Length: 6", start=b"HTTP/1.1 304 Not Modified"), 304, b""),
    "interim answers before": (head(b"Link: </a>", start=b"HTTP/1.1 103 Early Hints") * 20 + plain(), 200, b"canary"),
    "an unknown interim answer": (head(start=b"HTTP/1.1 199 evil") + plain(), 200, b"canary"),
    "a length and another answer": (plain() + EVIL, 200, b"canary"),
    "a length and half another answer": (plain() + EVIL[:20], 200, b"canary"),
    "a length and another answer's head": (plain() + head(b"Content-Length: 4", b"Set-Cookie: evil"), 200, b"canary"),
    "a length and an answer without end": (plain() + head(b"Set-Cookie: evil") + b"evil", 200, b"canary"),
    "a length and half another answer's body": (plain() + EVIL[:-2], 200, b"canary"),
    "204 and another answer's head": (head(start=b"HTTP/1.1 204 No Content") + head(b"Content-Length: 4", b"Set-Cookie: evil"), 204, b""),
    "chunks and another answer's head": (head(b"Transfer-Encoding: chunked") + CHUNKS + head(b"Transfer-Encoding: chunked", b"Set-Cookie: evil") + b"4\r\nevil\r\n", 200, b"hello"),
    "a length and an empty line": (plain() + b"\r\n", 200, b"canary"),
    "chunks and another answer": (head(b"Transfer-Encoding: chunked") + CHUNKS + EVIL, 200, b"hello"),
    "an empty body and another answer": (head(b"Content-Length: 0") + EVIL, 200, b""),
    "204 and another answer": (head(start=b"HTTP/1.1 204 No Content") + EVIL, 204, b""),
    "304 and another answer": (head(b"Content-Length: 4", start=b"HTTP/1.1 304 Not Modified") + EVIL, 304, b""),
    "a trailer": (head(b"Transfer-Encoding: chunked") + CHUNKS[:-2] + b"Set-Cookie: evil\r\n\r\n", 200, b"hello"),
    "two trailers": (head(b"Transfer-Encoding: chunked") + CHUNKS[:-2] + b"X: y\r\nSet-Cookie: evil\r\n\r\n", 200, b"hello"),
    "close": (plain(b"Connection: close"), 200, b"canary"),
}  # fmt: skip


# Read to its end, each is one good answer; what follows is nobody's.
EXCESS: dict[str, tuple[bytes, bytes, int]] = {
    "204 with a body": (head(b"Content-Length: 6", start=b"HTTP/1.1 204 No Content"), b"canary", 204),
    "204 in chunks": (head(b"Transfer-Encoding: chunked", start=b"HTTP/1.1 204 No Content"), CHUNKS, 204),
    "304 with a body": (head(b"Content-Length: 6", start=b"HTTP/1.1 304 Not Modified"), b"canary", 304),
    "a length and more": (plain(), b"more", 200),
    "close, and another answer": (plain(b"Connection: close"), EVIL, 200),
}  # fmt: skip

# What the parser reads where it could have refused, and what that gives.
LENIENT: dict[str, tuple[bytes, bytes]] = {
    **{f"chunks {body!r}": (head(b"Transfer-Encoding: chunked") + body, b"hell\r" if b"hell\r" in body else b"hello") for body in BAD_CHUNKS if body in TOLERATED},
    **{f"chunks by {line!r}": (head(line) + CHUNKS, b"hello") for line in sorted(TOLERATED) if b": y\r" not in line and b"ncoding" in line and b"hell" not in line},
    "a folded field": (plain(b"X: y\r\n z"), b"canary"),
    "a folded first field": (b"HTTP/1.1 200 OK\r\n X: y\r\nContent-Length: 6\r\n\r\ncanary", b"canary"),
    "a bare LF in a field": (plain(b"X: y\nZ: y"), b"canary"),
    "a bare LF after the status line": (b"HTTP/1.1 200 OK\nContent-Length: 6\r\n\r\ncanary", b"canary"),
    "a bare LF after a field": (b"HTTP/1.1 200 OK\r\nContent-Length: 6\n\r\ncanary", b"canary"),
    "a bare LF for an empty line": (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\ncanary", b"canary"),
    "NUL in the reason": (plain(start=b"HTTP/1.1 200 O\0K"), b"canary"),
}  # fmt: skip


def all_bytes() -> list[bytes]:
    """Every answer of the three lists, as seeds for the fuzzer."""
    return [
        *REFUSED.values(),
        *CUT.values(),
        *(raw for raw, _, _ in PASSED.values()),
        *(raw for raw, _ in LENIENT.values()),
    ]
