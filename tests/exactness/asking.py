"""Requests that parsers have been known to read in two ways, each with what must become of it.

The classes are those of http-garden, smuggler and h1spec; the cases are our own. A request of
`REFUSED` is answered with one error, and the connection ends; nothing of it, or nothing whole, gets
to an upstream. A request of `SERVED` gets there as the requests it is listed with, and no others.
Whatever is refused says "canary", so that an echo is found out.
"""

from itertools import chain

from exactness.readers import Asked

SMUGGLED = b"GET /up/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"


def head(
    *lines: bytes, start: bytes = b"POST /up/canary HTTP/1.1", host: bytes = b"Host: x"
) -> bytes:
    """Write a head; *lines* are fields as they are, whatever they are."""
    return b"\r\n".join([start, *([host] if host else []), *lines]) + b"\r\n\r\n"


def length_and(line: bytes) -> bytes:
    """A request whose length hides a second one from who reads chunks, as *line* says."""
    body = b"0\r\n\r\n" + SMUGGLED
    return head(b"Content-Length: %d" % len(body), line) + body


def chunks_by(line: bytes) -> bytes:
    return head(line) + CHUNKS


def length_by(line: bytes, body: bytes = b"canary") -> bytes:
    return head(line) + body + SMUGGLED


def chunked(body: bytes) -> bytes:
    return head(b"Transfer-Encoding: chunked") + body


CONTROLS = [bytes((code,)) for code in (*range(1, 9), 11, 12, *range(14, 32), 127)]
AROUND = [b"\0", b"\r", b"\xa0", b"\xc2\xa0", b"\xff", b"\x85", *CONTROLS]

# Every one of these is no plain `Transfer-Encoding: chunked`, and some server takes it for that.
CODINGS = [
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding\t: chunked",
    b"X: y\r\n Transfer-Encoding: chunked",
    b"X: y\rTransfer-Encoding: chunked",
    b"X: y\nTransfer-Encoding: chunked",
    b"X: y\r\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding:\r\n chunked",
    b"Transfer-Encoding:\r\n\tchunked",
    b"Transfer-Encoding: chunked\r\n , identity",
    b"Transfer-Encoding:\n chunked",
    b"Transfer-Encoding:\nchunked",
    b"Transfer-Encoding chunked",
    b"Transfer-Encoding",
    b":Transfer-Encoding: chunked",
    b"Transfer Encoding: chunked",
    b"Transfer_Encoding: chunked",
    b"transfer_encoding: chunked",
    b'"Transfer-Encoding": chunked',
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: chunkedx",
    b"Transfer-Encoding: chunk",
    b"Transfer-Encoding: chun ked",
    b'Transfer-Encoding: "chunked"',
    b"Transfer-Encoding: 'chunked'",
    b"Transfer-Encoding: chunked;q=1",
    b"Transfer-Encoding: chunked; a",
    b"Transfer-Encoding: ;chunked",
    b"Transfer-Encoding: chunked,",
    b"Transfer-Encoding: ,chunked",
    b"Transfer-Encoding: ,,chunked",
    b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: chunked chunked",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: identity, chunked",
    b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: gzip",
    b"Transfer-Encoding: chunked, canary",
    b"Transfer-Encoding: canary, chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding:\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding:",
    b"Transfer-Encoding:",
    b"Transfer-Encoding: \xef\xbd\x83hunked",
    b"Transfer-Encoding: chunked\t",
    *(b"Transfer-Encoding:" + byte + b"chunked" for byte in AROUND),
    *(b"Transfer-Encoding: " + byte + b"chunked" for byte in AROUND),
    *(b"Transfer-Encoding: chunked" + byte for byte in AROUND),
    *(b"Transfer-Encoding: chunked" + byte + b" canary" for byte in AROUND),
    *(b"Transfer-Encoding" + byte + b": chunked" for byte in AROUND),
    *(byte + b"Transfer-Encoding: chunked" for byte in AROUND),
    *(b"Transfer" + byte + b"Encoding: chunked" for byte in AROUND),
    *(b"X: y" + byte + b"Transfer-Encoding: chunked" for byte in (b"\0", b"\n", b"\n\r", b"\x0b")),
]

PLAIN_CODINGS = [
    b"Transfer-Encoding: chunked",
    b"transfer-encoding: chunked",
    b"TRANSFER-ENCODING: CHUNKED",
    b"tRaNsFeR-eNcOdInG:cHuNkEd",
    b"Transfer-Encoding:\tchunked",
    b"Transfer-Encoding: \t chunked  ",
]

LENGTHS = [
    b"Content-Length: +6",
    b"Content-Length: -6",
    b"Content-Length: -0",
    b"Content-Length: 0x6",
    b"Content-Length: 0X6",
    b"Content-Length: 0b110",
    b"Content-Length: 6h",
    b"Content-Length: 6.0",
    b"Content-Length: 6e0",
    b"Content-Length: 6_0",
    b"Content-Length: 6 6",
    b"Content-Length: 6, 6",
    b"Content-Length: 6,6",
    b"Content-Length: 6,",
    b"Content-Length: ,6",
    b"Content-Length: 6, 7",
    b"Content-Length: 6;6",
    b'Content-Length: "6"',
    b"Content-Length:",
    b"Content-Length: ",
    b"Content-Length: canary",
    b"Content-Length: 18446744073709551622",
    b"Content-Length: 99999999999999999999999",
    b"Content-Length: \xd9\xa6",
    b"Content-Length: \xb2",
    b"Content-Length : 6",
    b"Content-Length\t: 6",
    b"Content_Length: 6",
    b"Content Length: 6",
    b"Content-Length 6",
    b"Content-Length:\r\n 6",
    b"Content-Length: 6\r\n 0",
    b"X: y\r\n Content-Length: 6",
    b"X: y\rContent-Length: 6",
    b"X: y\nContent-Length: 6",
    b"X: y\0Content-Length: 6",
    b"Content-Length: 6\r\nContent-Length: 6",
    b"Content-Length: 6\r\nContent-Length: 0",
    b"Content-Length: 0\r\nContent-Length: 6",
    b"Content-Length: 6\r\ncontent-length: 06",
    b"Content-Length: 6\r\nContent-Length: canary",
    b"Content-Length:\r\nContent-Length: 6",
    *(b"Content-Length:" + byte + b"6" for byte in AROUND),
    *(b"Content-Length: 6" + byte for byte in AROUND),
    *(b"Content-Length: " + byte + b"6" for byte in AROUND),
    *(b"Content-Length" + byte + b": 6" for byte in AROUND),
    *(byte + b"Content-Length: 6" for byte in AROUND),
]

PLAIN_LENGTHS = [
    b"Content-Length: 6",
    b"content-length:6",
    b"Content-Length:\t6 \t",
    b"Content-Length: 06",
    b"Content-Length: 0000000000000000000000006",
]

BAD_CHUNKS = [
    b"0x5\r\nhello\r\n0\r\n\r\n",
    b"0X5\r\nhello\r\n0\r\n\r\n",
    b"x5\r\nhello\r\n0\r\n\r\n",
    b"+5\r\nhello\r\n0\r\n\r\n",
    b"-5\r\nhello\r\n0\r\n\r\n",
    b"-0\r\n\r\n",
    b"+0\r\n\r\n",
    b"0x0\r\n\r\n",
    b"5_0\r\nhello\r\n0\r\n\r\n",
    b"0_5\r\nhello\r\n0\r\n\r\n",
    b"5h\r\nhello\r\n0\r\n\r\n",
    b"5.\r\nhello\r\n0\r\n\r\n",
    b"5,5\r\nhello\r\n0\r\n\r\n",
    b"5 5\r\nhello\r\n0\r\n\r\n",
    b" 5\r\nhello\r\n0\r\n\r\n",
    b"\t5\r\nhello\r\n0\r\n\r\n",
    b"\r\n5\r\nhello\r\n0\r\n\r\n",
    b"\r\nhello\r\n0\r\n\r\n",
    b";a\r\nhello\r\n0\r\n\r\n",
    b"g\r\nhello\r\n0\r\n\r\n",
    b"\xd9\xa5\r\nhello\r\n0\r\n\r\n",
    b"\0005\r\nhello\r\n0\r\n\r\n",
    b"5\0\r\nhello\r\n0\r\n\r\n",
    b"5\x0b\r\nhello\r\n0\r\n\r\n",
    b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    b"5\nhello\r\n0\r\n\r\n",
    b"5\rhello\r\n0\r\n\r\n",
    b"5\r\rhello\r\n0\r\n\r\n",
    b"5\r\r\nhello\r\n0\r\n\r\n",
    b"5\n\nhello\r\n0\r\n\r\n",
    b"5;a\nhello\r\n0\r\n\r\n",
    b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    b"5;\nhello\r\n0\r\n\r\n",
    b'5;a="\n"\r\nhello\r\n0\r\n\r\n',
    b'5;a="\r\n"\r\nhello\r\n0\r\n\r\n',
    b"5;a\0b\r\nhello\r\n0\r\n\r\n",
    b"5;a\x7fb\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhello0\r\n\r\n",
    b"5\r\nhello\n0\r\n\r\n",
    b"5\r\nhello\r0\r\n\r\n",
    b"5\r\nhelloXX0\r\n\r\n",
    b"5\r\nhello!\r\n0\r\n\r\n",
    b"5\r\nhell\r\n0\r\n\r\n",
    b"5\r\nhello\r\n0\n\n",
    b"5\r\nhello\r\n0\r\r\n\r\n",
    b"5\r\nhello\r\n0\r\n\n",
    b"5\r\nhello\r\n0\r\ncanary\r\n\r\n",
    b"5\r\nhello\r\n0\r\nX : y\r\n\r\n",
    b"5\r\nhello\r\n0\r\n: y\r\n\r\n",
    b"5\r\nhello\r\n0\r\nX: a\0b\r\n\r\n",
    b"5\r\nhello\r\n0\r\nX: a\rb\r\n\r\n",
    b"5\r\nhello\r\n0\r\nX: a\nY: b\r\n\r\n",
    b"5\r\nhello\r\n0\r\nX: a\r\n b\r\n\r\n",
    b"5;\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhello\r\n0\r\nContent-Length: 99\r\n\r\n",
    b"5\r\nhello\r\n0\r\nTransfer-Encoding: gzip\r\nX: y\r\n\r\n",
]

GOOD_CHUNKS = [
    (b"0\r\n\r\n", b""),
    (b"000\r\n\r\n", b""),
    (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    (b"05\r\nhello\r\n00\r\n\r\n", b"hello"),
    (b"0000000000000000000000000005\r\nhello\r\n0\r\n\r\n", b"hello"),
    (b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", b"01234567890123456789"),
    (b"5;a\r\nhello\r\n0\r\n\r\n", b"hello"),
    (b'5;a=b;c="d"\r\nhello\r\n0;e\r\n\r\n', b"hello"),
    (b"2\r\n\r\n\r\n3\r\n0\r\n\r\n0\r\n\r\n", b"\r\n0\r\n"),
    (b"5\r\nhello\r\n0\r\nX-Trailer: y\r\n\r\n", b"hello"),
    (b"5\r\nhello\r\n0\r\nX-Trailer: y\r\nAuthorization: evil\r\n\r\n", b"hello"),
]

START_LINES = [
    b"GET\t/up/canary HTTP/1.1",
    b"GET /up/canary\tHTTP/1.1",
    b"GET /up/canary HTTP/1.1 ",
    b"GET /up/canary HTTP/1.1\t",
    b" GET /up/canary HTTP/1.1",
    b"GET /up/canary",
    b"GET /up/canary ",
    b"GET",
    b"GET HTTP/1.1",
    b"/up/canary HTTP/1.1",
    b"GET /up/canary more HTTP/1.1",
    b"GET /up/canary HTTP/1.1 HTTP/1.1",
    b"GET /up/canary HTTP/1.2",
    b"GET /up/canary HTTP/1.9",
    b"GET /up/canary HTTP/0.9",
    b"GET /up/canary HTTP/2.0",
    b"GET /up/canary HTTP/2",
    b"GET /up/canary HTTP/3.0",
    b"GET /up/canary HTTP/9.9",
    b"GET /up/canary HTTP/1.10",
    b"GET /up/canary HTTP/01.1",
    b"GET /up/canary HTTP/1.01",
    b"GET /up/canary HTTP/+1.1",
    b"GET /up/canary HTTP/1.",
    b"GET /up/canary HTTP/.1",
    b"GET /up/canary HTTP/1",
    b"GET /up/canary HTTP/1,1",
    b"GET /up/canary HTTP/1.1x",
    b"GET /up/canary HTTP/1 .1",
    b"GET /up/canary HTTP /1.1",
    b"GET /up/canary HTTP1.1",
    b"GET /up/canary http/1.1",
    b"GET /up/canary Http/1.1",
    b"GET /up/canary HTTPS/1.1",
    b"GET /up/canary ICY/1.1",
    b"GET /up/canary HTTP/1.1\0",
    b"GET /up/canary\0 HTTP/1.1",
    b"GET /up/canary\x01 HTTP/1.1",
    b"GET /up/canary\x7f HTTP/1.1",
    b"GET /up/canary\x0b HTTP/1.1",
    b"GET /up/canary\r HTTP/1.1",
    b"GET /up/canary HTTP/1.1\rX: y",
    b"GET /up/canary\xa0HTTP/1.1",
    b"GET /up/canary\xff HTTP/1.1",
    b"GET /up/\xc3\xa9 HTTP/1.1",
    b"GET /up/canary#fragment HTTP/1.1",
    b"GET up/canary HTTP/1.1",
    b"GET ?canary HTTP/1.1",
    b"GET * HTTP/1.1",
    b"GET \\up\\canary HTTP/1.1",
    b"GET http:/up/canary HTTP/1.1",
    b"GET http:///up/canary HTTP/1.1",
    b"GET http://[::1/up/canary HTTP/1.1",
    b"GET http://x:port/up/canary HTTP/1.1",
    b"GET x:80 HTTP/1.1",
    b"CONNECT x:80 HTTP/1.1",
    b"CONNECT /up/canary HTTP/1.1",
    b"PRI * HTTP/2.0",
    b"G\0T /up/canary HTTP/1.1",
    b"G\rT /up/canary HTTP/1.1",
    b"G\x01T /up/canary HTTP/1.1",
    b"G\xc9T /up/canary HTTP/1.1",
    b"GET: /up/canary HTTP/1.1",
    b"(GET) /up/canary HTTP/1.1",
    b'"GET" /up/canary HTTP/1.1',
    b"\0GET /up/canary HTTP/1.1",
    b"\xef\xbb\xbfGET /up/canary HTTP/1.1",
    b"HTTP/1.1 200 OK",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 canary",
    b"\x05\x01\x00 canary",
    b"PROXY TCP4 1.2.3.4 1.2.3.5 1 2",
]

# HTTP, and nothing that is done here: the next request on the connection may be.
DECLINED = [
    (b"GET ftp://x/up/canary HTTP/1.1", 400),
    (b"OPTIONS * HTTP/1.1", 400),
    (b"TRACE /up/canary HTTP/1.1", 501),
    (b"GET /canary HTTP/1.1", 404),
    (b"GET / HTTP/1.1", 404),
    (b"GET //up/canary HTTP/1.1", 404),
    (b"GET /up/../canary HTTP/1.1", 400),
]

HOSTS = [b"", b"Host: x\r\nHost: x", b"Host: x\r\nHost: y", b"Host: x\r\nhost: x"]

FIELDS = [
    b"canary",
    b": canary",
    b" : canary",
    b"X: y\r\n canary",
    b"X: y\r\n\tcanary",
    b"X : canary",
    b"X\t: canary",
    b"X Y: canary",
    b"X_Y: canary",
    b"Content_Type: canary",
    b"X\0: canary",
    b"X\x7f: canary",
    b"X\xff: canary",
    b"(X): canary",
    b"X@Y: canary",
    b"X/Y: canary",
    b"X[: canary",
    b"X{}: canary",
    b'"X": canary',
    b"X;: canary",
    b"X=: canary",
    b"X,Y: canary",
    b"X?: canary",
    b"X<>: canary",
    b"X\\: canary",
    *(b"X: can" + byte + b"ary" for byte in (b"\0", b"\r", b"\n", b"\n\r", b"\r\r", *CONTROLS)),
    b"X: canary\r",
    b"X: canary\0",
    b"Expect: canary",
    b"Expect: 100-continue, canary",
    b"Expect: 200-ok",
    b"Expect: 100-continue\r\nExpect: canary",
]


def refused() -> dict[str, bytes]:
    """Name every request that must be refused."""
    get = b"GET /up/canary HTTP/1.1"
    return {
        **{f"length and {line!r}": length_and(line) for line in (*CODINGS, *PLAIN_CODINGS)},
        **{f"chunks by {line!r}": chunks_by(line) for line in CODINGS},
        **{f"length by {line!r}": length_by(line) for line in LENGTHS},
        **{f"chunks {body!r}": chunked(body) for body in BAD_CHUNKS},
        **{f"start {line!r}": head(start=line) for line in START_LINES},
        **{f"host {line!r}": head(start=get, host=line) for line in HOSTS},
        **{f"field {line!r}": head(line, start=get) for line in FIELDS},
        "no start line": b"\0\0\0\0\0\0canary\r\n\r\n",
        "a bare LF after the start line": b"GET /up/canary HTTP/1.1\nHost: x\r\n\r\n",
        "a bare LF after a field": b"GET /up/canary HTTP/1.1\r\nHost: x\n\r\n",
        "a bare LF for an empty line": b"GET /up/canary HTTP/1.1\r\nHost: x\r\n\n",
        "bare LFs throughout": b"GET /up/canary HTTP/1.1\nHost: x\n\n",
        "bare CRs throughout": b"GET /up/canary HTTP/1.1\rHost: x\r\r",
        "a bare CR for an empty line": b"GET /up/canary HTTP/1.1\r\nHost: x\r\n\r" + SMUGGLED,
        "a first field that is folded": b"GET /up/canary HTTP/1.1\r\n Host: x\r\n\r\n",
        "HTTP/0.9": b"GET /up/canary\r\n",
        "HTTP/1.0 in chunks": head(b"Transfer-Encoding: chunked", start=b"POST /up/canary HTTP/1.0") + CHUNKS,
        "HTTP/1.0 kept, in chunks": head(b"Connection: keep-alive", b"Transfer-Encoding: chunked", start=b"POST /up/canary HTTP/1.0") + CHUNKS,
        "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        "a body that ends early": head(b"Content-Length: 9") + b"canary",
        "chunks that end early": chunked(b"9\r\ncanary"),
        "chunks without an end": chunked(b"6\r\ncanary\r\n"),
    }  # fmt: skip


def served() -> dict[str, tuple[bytes, list[Asked]]]:
    """Name every request that is as good as any, with what it is."""
    hello, canary = Asked("POST", "/canary", b"hello"), Asked("POST", "/canary", b"canary")
    get, smuggled = Asked("GET", "/canary"), Asked("GET", "/smuggled")
    plain = head(start=b"GET /up/canary HTTP/1.1")
    posted = head(b"Content-Length: 6") + b"canary"
    return {
        **{f"chunks by {line!r}": (chunks_by(line), [hello]) for line in PLAIN_CODINGS},
        **{f"length by {line!r}": (length_by(line), [canary, smuggled]) for line in PLAIN_LENGTHS},
        **{
            f"chunks {raw!r}": (chunked(raw), [Asked("POST", "/canary", body)])
            for raw, body in GOOD_CHUNKS
        },
        "no body": (head(), [Asked("POST", "/canary")]),
        "an empty body": (head(b"Content-Length: 0") + SMUGGLED, [Asked("POST", "/canary"), smuggled]),
        "a GET with a body": (head(b"Content-Length: 6", start=b"GET /up/canary HTTP/1.1") + b"canary" + SMUGGLED, [Asked("GET", "/canary", b"canary"), smuggled]),
        "a GET with chunks": (head(b"Transfer-Encoding: chunked", start=b"GET /up/canary HTTP/1.1") + CHUNKS, [Asked("GET", "/canary", b"hello")]),
        "a body that is a request": (head(b"Content-Length: %d" % len(SMUGGLED)) + SMUGGLED, [Asked("POST", "/canary", SMUGGLED)]),
        "chunks that are a request": (chunked(b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)), [Asked("POST", "/canary", SMUGGLED)]),
        "a request right behind chunks, which has to come again": (chunked(CHUNKS) + SMUGGLED, [hello]),
        "a request right behind a trailer, which has to come again": (chunked(b"0\r\nX: y\r\n\r\n") + SMUGGLED, [Asked("POST", "/canary")]),
        "half a request right behind a trailer": (chunked(b"0\r\nX: y\r\n\r\n") + SMUGGLED[:20], [Asked("POST", "/canary")]),
        "two spaces before the target": (head(start=b"GET  /up/canary HTTP/1.1"), [get]),
        "two spaces before the version": (head(start=b"GET /up/canary  HTTP/1.1"), [get]),
        "RTSP, which is read as HTTP": (head(start=b"GET /up/canary RTSP/1.0") + SMUGGLED, [get]),
        "an empty line before": (b"\r\n" + plain, [get]),
        "empty lines before": (b"\r\n\r\n\r\n" + plain, [get]),
        "one after the other": (plain + posted + SMUGGLED + chunked(CHUNKS), [get, canary, smuggled, hello]),
        "empty lines between": (posted + b"\r\n" + plain + b"\r\n\r\n" + SMUGGLED, [canary, get, smuggled]),
        "HTTP/1.0": (head(start=b"GET /up/canary HTTP/1.0") + SMUGGLED, [get]),
        "HTTP/1.0 without Host": (head(start=b"GET /up/canary HTTP/1.0", host=b"") + SMUGGLED, [get]),
        "HTTP/1.0 that is kept": (head(b"Connection: keep-alive", start=b"GET /up/canary HTTP/1.0") + SMUGGLED, [get, smuggled]),
        "the last one": (head(b"Connection: close", start=b"GET /up/canary HTTP/1.1") + SMUGGLED, [get]),
        "the last one among others": (head(b"Connection: x, CLOSE", start=b"GET /up/canary HTTP/1.1") + SMUGGLED, [get]),
        "a length named by Connection": (head(b"Connection: Content-Length", b"Content-Length: 6") + b"canary" + SMUGGLED, [canary, smuggled]),
        "chunks named by Connection": (head(b"Connection: Transfer-Encoding", b"Transfer-Encoding: chunked") + CHUNKS, [hello]),
        "a coding of another name": (head(b"X-Transfer-Encoding: chunked", b"Content-Length: 6") + b"canary", [canary]),
        "TE": (head(b"TE: chunked", b"Content-Length: 6") + b"canary", [canary]),
        "Trailer": (head(b"Trailer: Content-Length", b"Content-Length: 6") + b"canary", [canary]),
        "an upgrade that nobody takes": (head(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__", start=b"GET /up/canary HTTP/1.1") + SMUGGLED, [get]),
        "an expectation": (head(b"Expect: 100-continue", b"Content-Length: 6") + b"canary" + SMUGGLED, [canary, smuggled]),
        "an empty value": (head(b"X:", b"Y: ", start=b"GET /up/canary HTTP/1.1"), [get]),
        "bytes beyond ASCII in a value": (head(b"X: \xe9\xff", start=b"GET /up/canary HTTP/1.1"), [get]),
        "every character of a token": (head(b"!#$%&'*+-.^`|~09azAZ: y", start=b"GET /up/canary HTTP/1.1"), [get]),
        "another's authority": (head(start=b"GET http://evil.example:1/up/canary HTTP/1.1") + SMUGGLED, [get, smuggled]),
    }  # fmt: skip


def all_bytes() -> list[bytes]:
    """Every request of both lists, as seeds for the fuzzer."""
    return [*chain(refused().values(), (raw for raw, _ in served().values()))]
