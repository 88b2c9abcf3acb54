"""An entry and its bytes: what was written comes back, and nothing else does."""

import zlib

from cache.answers import entry
from hypothesis import given
from hypothesis import strategies as st

from proxy.cache.entry import Entry, pack, unpack

NAMES = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=20).map(str.encode)
VALUES = st.binary(max_size=50).map(lambda value: bytes(it for it in value if 32 <= it != 127))
TIMES = st.floats(0, 1e10)
ENTRIES = st.builds(
    Entry,
    st.just(200),
    st.lists(st.tuples(NAMES, VALUES), max_size=5),
    st.binary(max_size=200),
    TIMES,
    TIMES,
    TIMES,
)


@given(ENTRIES)
def test_what_was_packed_comes_back(packed):
    assert unpack(pack(packed)) == packed


@given(ENTRIES, st.data())
def test_a_value_with_a_byte_changed_is_nothing(packed, data):
    written = bytearray(pack(packed))
    at = data.draw(st.integers(0, len(written) - 1))
    written[at] ^= data.draw(st.integers(1, 255))

    assert unpack(bytes(written)) is None


@given(ENTRIES, st.data())
def test_a_value_that_was_cut_is_nothing(packed, data):
    written = pack(packed)

    assert unpack(written[: data.draw(st.integers(0, len(written) - 1))]) is None


@given(st.binary(max_size=100))
def test_foreign_bytes_are_nothing_even_under_our_mark(data):
    assert unpack(data) is None
    checked = b"octollm1" + zlib.crc32(data).to_bytes(4, "big") + data
    unpack(checked)  # may be an entry by chance; never an error


def test_fields_that_promise_more_than_there_is_are_nothing():
    written = pack(entry(b"", headers=((b"A", b"b"),)))
    rest = written[12:-8] + (1).to_bytes(2, "big") + (99).to_bytes(4, "big") + b"Ab"

    assert unpack(b"octollm1" + zlib.crc32(rest).to_bytes(4, "big") + rest) is None


def test_a_field_that_would_end_the_head_is_not_believed():
    assert unpack(pack(entry(headers=((b"A", b"b\r\nSet-Cookie: c"),)))) is None


def test_the_age_of_an_entry_from_a_clock_ahead_is_nothing():
    assert entry(born=1000.0).age(1030.5) == 30.5
    assert entry(born=1000.0).age(990.0) == 0.0


def test_the_size_counts_body_and_fields():
    small, large = entry(b"", headers=()), entry(b"x" * 100, headers=((b"A", b"bc"),))

    assert large.size == small.size + 100 + 3 + 130
