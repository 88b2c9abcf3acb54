"""Compressed error bodies, opened far enough to read what went wrong.

Only the body of an error that is to be rewritten is ever decompressed, and never beyond a bound:
a small bomb of zeros must not become memory.
"""

import zlib
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec


def decode(body: bytes, encoding: bytes, limit: int) -> bytes | None:
    """Undo one Content-Encoding; at most *limit* bytes come out, None where it can't be undone.

    gzip and deflate always; br and zstd where a codec (brotli, zstandard) is installed.
    """
    coding = encoding.strip().lower()
    if coding in (b"", b"identity"):
        return body[:limit]
    inflate = _CODECS.get(coding)
    return None if inflate is None else inflate(body, limit)


def _gzip(body: bytes, limit: int) -> bytes | None:
    return _inflate(body, limit, 16 + zlib.MAX_WBITS)


def _deflate(body: bytes, limit: int) -> bytes | None:
    # RFC 9110 8.4.1.2 says zlib, and notes that many send raw deflate.
    found = _inflate(body, limit, zlib.MAX_WBITS)
    return _inflate(body, limit, -zlib.MAX_WBITS) if found is None else found


def _inflate(body: bytes, limit: int, window: int) -> bytes | None:
    try:
        return zlib.decompressobj(window).decompress(body, limit)
    except zlib.error:
        return None


def _brotli(body: bytes, limit: int) -> bytes | None:
    brotli = import_module("brotli")
    try:
        found: bytes = brotli.Decompressor().process(body, output_buffer_limit=limit)
    except brotli.error:
        return None
    return found[:limit]


def _zstd(body: bytes, limit: int) -> bytes | None:
    zstandard = import_module("zstandard")
    try:
        with zstandard.ZstdDecompressor().stream_reader(body) as reader:
            found: bytes = reader.read(limit)
    except zstandard.ZstdError:
        return None
    return found


_CODECS: dict[bytes, Callable[[bytes, int], bytes | None]] = {
    b"gzip": _gzip,
    b"x-gzip": _gzip,
    b"deflate": _deflate,
}
if find_spec("brotli"):
    _CODECS[b"br"] = _brotli
if find_spec("zstandard"):
    _CODECS[b"zstd"] = _zstd
