"""Where events end, however they are cut into pieces."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire import sse
from proxy.wire.sse import EVENT_LIMIT, Scanner

LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
LINES = st.sampled_from([b"data: x", b"data:", b"event: e", b": comment", b"id: 1", b"retry: 5"])
BYTES = st.lists(st.sampled_from([b"\n", b"\r", b"a", b": "]), max_size=40).map(b"".join)


@st.composite
def events(draw):
    """One event in the words of the standard: lines, their ends of any kind, and a blank line."""
    text = b"".join(draw(LINES) + draw(LINE_ENDS) for _ in range(draw(st.integers(1, 3))))
    end = draw(LINE_ENDS)
    # A CR before an LF would be one end of a line, not two.
    return text + (b"\r" if text.endswith(b"\r") and end == b"\n" else end)


def pieces(data, cuts):
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(places)]


def borders(data):
    """Where events end, by the standard's own way of reading: line by line."""
    ends, at = [], 0
    for line in re.finditer(rb"([^\r\n]*)(\r\n|\n|\r(?=.)|\r$)", data, re.DOTALL):
        at = line.end()
        if not line[1]:
            ends.append(at)
    return ends


CUTS = st.lists(st.integers(0, 200), max_size=20)


@given(BYTES, CUTS)
def test_the_bytes_are_the_same_in_any_pieces(data, cuts):
    scanner = Scanner()

    given = [scanner.feed(piece) for piece in pieces(data, cuts)]

    assert b"".join(given) + scanner.rest == data


@given(BYTES, CUTS)
def test_what_is_given_ends_where_an_event_ends(data, cuts):
    scanner, at = Scanner(), 0

    for piece in pieces(data, cuts):
        at += len(scanner.feed(piece))

        assert at in {0, *borders(data)}


@given(st.lists(events(), min_size=1, max_size=6), CUTS)
def test_every_event_is_counted_and_given_as_soon_as_it_is_known_to_be_whole(stream, cuts):
    data = b"".join(stream) + b"data: the beginning of another"
    scanner = Scanner()

    given = b"".join(scanner.feed(piece) for piece in pieces(data, cuts))

    assert given == b"".join(stream)
    assert scanner.events == len(stream)
    assert list(sse.split(given)) == stream
    assert not scanner.midway


@given(st.lists(events(), max_size=6), CUTS, st.integers(0, 30))
def test_a_limit_changes_what_is_held_and_nothing_of_what_is_said(stream, cuts, limit):
    data = b"".join(stream)
    scanner = Scanner()
    scanner.limit = limit
    given = b""

    for piece in pieces(data, cuts):
        given += scanner.feed(piece)
        whole = not given or len(given) in borders(data)
        assert scanner.midway or whole
        assert len(scanner.rest.rstrip(b"\r\n")) <= limit

    assert given + scanner.rest == data


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
def test_a_whole_event_does_not_wait_for_the_next(end):
    scanner = Scanner()

    assert scanner.feed(b"data: 1" + end) == b"data: 1" + end
    assert scanner.rest == b""


def test_a_cr_at_the_end_may_be_half_of_a_line_s_end():
    scanner = Scanner()

    assert scanner.feed(b"data: 1\r\r") == b""
    assert scanner.feed(b"data: 2") == b"data: 1\r\r"
    assert scanner.rest == b"data: 2"


def test_an_unfinished_event_is_held_up_to_the_limit():
    scanner = Scanner()
    long = b"data: " + b"x" * (EVENT_LIMIT - 6)

    assert scanner.feed(long) == b""
    assert not scanner.midway
    assert scanner.feed(b"y") == long + b"y"
    assert scanner.midway
    assert scanner.feed(b"z\n") == b""
    assert scanner.feed(b"\ndata: 2") == b"z\n\n"
    assert not scanner.midway


def test_half_a_border_of_an_overlong_event_is_not_lost():
    scanner = Scanner()
    long = b"data: " + b"x" * EVENT_LIMIT

    assert scanner.feed(long + b"\n") == long
    assert scanner.feed(b"\n") == b"\n\n"
    assert not scanner.midway
    assert scanner.events == 1


@pytest.mark.parametrize(
    ("text", "speaks"),
    [
        (b": ping\n\n", False),
        (b": data\n\n", False),
        (b"event: x\n\n", False),
        (b"data: 1\n\n", True),
        (b": ping\r\n\r\ndata: 1\r\n\r\n", True),
        (b"event: x\rdata\r\r", True),
    ],
)
def test_a_comment_says_nothing(text, speaks):
    assert sse.speaks(text) is speaks


@pytest.mark.parametrize(
    ("event", "name", "data"),
    [
        (b"data: 1\n\n", "", "1"),
        (b"data:1\ndata: 2\n\n", "", "1\n2"),
        (b"event: e\r\ndata:  x\r\nid: 7\r\n\r\n", "e", " x"),
        (b": comment\n\n", "", ""),
        (b"data: \xff\n\n", "", "\ufffd"),
    ],
)
def test_name_and_data_are_read_as_the_standard_says(event, name, data):
    assert sse.fields(event) == (name, data)


def test_what_is_written_is_read_back():
    assert sse.write('{"a":1}') == b'data: {"a":1}\n\n'
    assert sse.fields(sse.write('{"a":1}', "error")) == ("error", '{"a":1}')
