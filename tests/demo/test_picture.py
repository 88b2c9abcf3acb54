"""The picture: what fits, what it says, and what it says without colour."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.demo import picture
from proxy.demo.picture import Places
from proxy.demo.story import Story
from proxy.observe.metrics import BreakerReading
from proxy.testing.clock import Clock

PLACES = Places("http://127.0.0.1:8080", "http://127.0.0.1:8081")
WALL = 1_000_000.0


def reading(state="closed", upstream="llm", left=0.0):
    return BreakerReading(upstream, state, 0.0, WALL + left if left else 0.0)


def long_story():
    story = Story(["llm", "vectors"], Clock(), lambda _: None)
    for number in range(60):
        story.announce(f"Scene {number}.")
        story.hear({"event": "breaker.closed", "upstream": "llm"})
    return story


def drawn(*readings, columns=80, rows=24, colour=False, story=None, places=PLACES):
    story = story or long_story()
    readings = readings or (reading(), reading(upstream="vectors"))
    return picture.frame(story, readings, places, WALL, (columns, rows), colour=colour)


@given(columns=st.integers(1, 200), rows=st.integers(1, 60), colour=st.booleans())
def test_a_picture_fits_its_terminal_and_leaves_the_last_column_alone(columns, rows, colour):
    lines = re.sub(r"\x1b\[\d*m", "", drawn(columns=columns, rows=rows, colour=colour)).split("\n")

    assert len(lines) <= rows
    assert all(len(line) < columns for line in lines)


def test_nothing_that_matters_is_cut_at_80_columns():
    story = long_story()
    story.tallies["llm"].last_error = "VECTOR_DB_ERROR"
    narrow = drawn(reading("open", left=3), story=story)

    assert narrow == drawn(reading("open", left=3), story=story, columns=200)
    assert "VECTOR_DB_ERROR" in narrow


def test_a_tall_terminal_shows_more_of_what_happened():
    assert drawn(rows=24).count("Scene") < drawn(rows=40).count("Scene")


def test_the_newest_is_always_there():
    assert "Scene 59." in drawn(rows=20)


def test_where_to_call_and_what_to_try_stands_at_the_top():
    lines = drawn().split("\n")

    assert "http://127.0.0.1:8080" in lines[2]
    assert "http://127.0.0.1:8081" in lines[3]
    assert sum("curl " in line for line in lines) == 2


def test_a_notice_about_the_ports_is_shown():
    places = Places(PLACES.data, PLACES.admin, "(the usual ones are taken)")

    assert "(the usual ones are taken)" in drawn(places=places)


@pytest.mark.parametrize(
    "state, left, words",
    [
        ("closed", 0, "● closed"),
        ("half_open", 0, "◐ half-open"),
        ("open", 2.2, "○ open, probe in 3 s"),
        ("open", 0.01, "○ open, probe in 1 s"),
        ("open", -1, "○ open, probe in 0 s"),
    ],
)
def test_a_state_has_words_a_shape_and_a_colour(state, left, words):
    assert words in drawn(reading(state, left=left))
    assert re.search(
        rf"\x1b\[3[1-3]m{re.escape(words)}\x1b\[0m", drawn(reading(state, left=left), colour=True)
    )


def test_without_colour_there_is_no_escape_sequence():
    assert "\x1b" not in drawn(colour=False)


def test_the_end_says_what_it_came_to():
    story = long_story()
    tally = story.tallies["llm"]
    tally.requests, tally.failed, tally.retries, tally.attempts = 10, 3, 5, 12

    assert "llm      10 calls, 3 failed, 5 retries, 1.20 attempts a call" in picture.ending(story)
