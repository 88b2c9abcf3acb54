"""Compressed error bodies, opened no further than a bound."""

import gzip
import zlib

import pytest

from proxy.gateway.coding import decode

TEXT = b'{"error":{"message":"the server had an error"}}'
RAW = zlib.compressobj(wbits=-zlib.MAX_WBITS)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        (b"", TEXT),
        (b"identity", TEXT),
        (b"gzip", gzip.compress(TEXT, mtime=0)),
        (b" GZIP ", gzip.compress(TEXT, mtime=0)),
        (b"x-gzip", gzip.compress(TEXT, mtime=0)),
        (b"deflate", zlib.compress(TEXT)),
        (b"deflate", RAW.compress(TEXT) + RAW.flush()),
    ],
)
def test_what_was_compressed_can_be_read(encoding, body):
    assert decode(body, encoding, 1000) == TEXT


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate", b"identity"])
def test_a_bomb_stays_small(encoding):
    zeros = bytes(10_000_000)
    body = {b"gzip": gzip.compress(zeros), b"deflate": zlib.compress(zeros)}.get(encoding, zeros)

    assert len(decode(body, encoding, 65536)) == 65536


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate", b"gzip, gzip", b"rot13"])
def test_what_cannot_be_undone_is_left_unread(encoding):
    assert decode(b"not compressed", encoding, 1000) is None


def test_a_body_cut_short_gives_what_came():
    assert TEXT.startswith(decode(gzip.compress(TEXT, mtime=0)[:30], b"gzip", 1000))
