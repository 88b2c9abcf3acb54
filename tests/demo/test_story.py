"""What is told of a log line, and what is counted."""

import pytest

from proxy.demo import story as stories
from proxy.demo.story import Mood, Story
from proxy.observe import catalogue
from proxy.testing.clock import Clock


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def story(clock):
    return Story(["llm", "vectors"], clock, lambda _: None)


def ended(event="request.completed", *, upstream="llm", code="", status=200, attempts=1):
    return {
        "event": event,
        "upstream": upstream,
        "code": code,
        "status": status,
        "attempts": attempts,
    }


SENTENCES = [
    (
        {"event": "retry.scheduled", "reason": "status_5xx", "attempt": 2, "wait_ms": 1130},
        Mood.NOTE,
        "answered with a 5xx; attempt 2 follows in 1.1 s",
    ),
    (ended(attempts=3), Mood.GOOD, "a caller has its answer, from attempt 3"),
    (
        ended("request.failed", code="NETWORK_ERROR", status=502, attempts=4),
        Mood.BAD,
        "a caller is told NETWORK_ERROR (502), after 4 attempts",
    ),
    (
        ended("request.failed", code="TIMEOUT_ERROR", status=504),
        Mood.BAD,
        "a caller is told TIMEOUT_ERROR (504), after 1 attempt",
    ),
    (
        {"event": "breaker.opened", "reason": "consecutive", "open_ms": 3000},
        Mood.BAD,
        "too many failures: the circuit OPENS for 3 s",
    ),
    (
        {"event": "breaker.opened", "reason": "probe_failed", "open_ms": 4500},
        Mood.BAD,
        "the probe failed: the circuit OPENS for 4.5 s",
    ),
    (
        {"event": "breaker.rejecting", "count": 1},
        Mood.NOTE,
        "1 caller told CIRCUIT_OPEN (503) at once; nothing sent",
    ),
    (
        {"event": "breaker.rejecting", "count": 5},
        Mood.NOTE,
        "5 callers told CIRCUIT_OPEN (503) at once; nothing sent",
    ),
    (
        {"event": "breaker.half_opened"},
        Mood.NOTE,
        "its time is over: HALF-OPEN, one call goes through as a probe",
    ),
    ({"event": "breaker.closed"}, Mood.GOOD, "the probe was answered: the circuit CLOSES"),
]


@pytest.mark.parametrize("line, mood, sentence", SENTENCES)
def test_a_log_line_becomes_a_sentence(story, line, mood, sentence):
    story.hear({"upstream": "llm", **line})

    (told,) = story.told
    assert (told.upstream, told.mood, told.sentence) == ("llm", mood, sentence)


@pytest.mark.parametrize(
    "line",
    [
        ended(),
        # one line a second speaks for all of these: breaker.rejecting
        ended("request.failed", code="CIRCUIT_OPEN", status=503, attempts=0),
        {"event": "retry.exhausted", "upstream": "llm", "attempts": 4, "reason": "connect"},
    ],
)
def test_what_would_only_fill_the_screen_is_not_told(story, line):
    story.hear(line)

    assert not story.told


@pytest.mark.parametrize("line", [{"event": "proxy.started"}, ended(upstream="-", attempts=2)])
def test_what_concerns_no_upstream_is_neither_told_nor_counted(story, line):
    story.hear(line)

    assert not story.told
    assert all(tally.requests == 0 for tally in story.tallies.values())


def test_every_fault_of_the_catalogue_has_words():
    assert set(stories._FAULTS) == set(catalogue.FAULTS)


def test_calls_failures_retries_and_attempts_are_counted_by_upstream(story):
    story.hear(
        {
            "event": "retry.scheduled",
            "upstream": "llm",
            "reason": "reset",
            "attempt": 2,
            "wait_ms": 9,
        }
    )
    story.hear(ended(attempts=2))
    story.hear(ended("request.failed", code="CIRCUIT_OPEN", status=503, attempts=0))

    tally = story.tallies["llm"]
    assert (tally.requests, tally.failed, tally.retries, tally.attempts) == (2, 1, 1, 2)
    assert tally.attempts_per_request == 1.0
    assert tally.last_error == "CIRCUIT_OPEN"
    assert story.tallies["vectors"].attempts_per_request == 0.0


def test_each_sentence_is_told_once_with_its_time(clock):
    heard = []
    story = Story(["llm"], clock, heard.append)
    clock.advance(2.5)

    story.announce("All is well.")

    assert [(told.at, told.mood, told.sentence) for told in heard] == [
        (2.5, Mood.SCENE, "All is well.")
    ]
    assert list(story.told) == heard
    assert story.scene == "All is well."
