"""Every form in which the field asks for a wait."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.semantics import waits

NOW = 1_792_000_000.0  # Wed, 14 Oct 2026 17:46:40 GMT
OPENAI = {
    b"x-ratelimit-remaining-requests": b"0",
    b"x-ratelimit-reset-requests": b"1m30s",
    b"x-ratelimit-remaining-tokens": b"0",
    b"x-ratelimit-reset-tokens": b"12ms",
}

FORMS = [
    ({}, None),
    ({b"retry-after": b"7"}, 7),
    ({b"retry-after": b"1.5"}, 1.5),
    ({b"retry-after": b"0"}, 0),
    ({b"retry-after": b"-3"}, None),
    ({b"retry-after": b"nan"}, None),
    ({b"retry-after": b"inf"}, None),
    ({b"retry-after": b"soon"}, None),
    ({b"retry-after": b"1000000000000"}, 1e12),
    ({b"retry-after": b"Wed, 14 Oct 2026 17:47:40 GMT"}, 60),
    ({b"retry-after": b"Wed, 14 Oct 2026 17:40:00 GMT"}, 0),
    ({b"retry-after": b"Wed, 14 Oct 2026 17:47:40 -0000"}, 60),
    ({b"retry-after-ms": b"250"}, 0.25),
    ({b"x-ms-retry-after-ms": b"1500"}, 1.5),
    ({b"retry-after-ms": b"250", b"retry-after": b"9"}, 0.25),
    ({b"retry-after-ms": b"junk", b"retry-after": b"9"}, 9),
    (OPENAI, 90.012 - 0.012),
    ({b"retry-after": b"3"} | OPENAI, 3),
    ({b"x-ratelimit-remaining-tokens": b"5", b"x-ratelimit-reset-tokens": b"9s"}, None),
    ({b"x-ratelimit-remaining-tokens": b"0"}, None),
    ({b"x-ratelimit-remaining-tokens": b"0", b"x-ratelimit-reset-tokens": b"20"}, 20),
    ({b"x-ratelimit-remaining-tokens": b"0", b"x-ratelimit-reset-tokens": b"6m0s"}, 360),
    (
        {
            b"anthropic-ratelimit-tokens-remaining": b"0",
            b"anthropic-ratelimit-tokens-reset": b"2026-10-14T17:47:10Z",
        },
        30,
    ),
    (
        {
            b"anthropic-ratelimit-tokens-remaining": b"0",
            b"anthropic-ratelimit-tokens-reset": b"tomorrow",
        },
        None,
    ),
    ({b"anthropic-ratelimit-tokens-remaining": b"0"}, None),
]


@pytest.mark.parametrize(("fields", "wait"), FORMS)
def test_a_429_is_read_in_every_form(fields, wait):
    assert waits.asked(429, fields, NOW) == pytest.approx(wait)


def test_exhausted_limits_are_read_on_a_429_only():
    assert waits.asked(503, OPENAI, NOW) is None
    assert waits.asked(503, {b"retry-after": b"4"}, NOW) == 4


@given(st.binary(), st.binary(), st.integers(400, 599))
def test_any_bytes_give_a_wait_or_none(one, two, status):
    fields = {
        b"retry-after": one,
        b"retry-after-ms": two,
        b"x-ratelimit-remaining-requests": b"0",
        b"x-ratelimit-reset-requests": one,
        b"anthropic-ratelimit-tokens-remaining": b"0",
        b"anthropic-ratelimit-tokens-reset": two,
    }

    wait = waits.asked(status, fields, NOW)

    assert wait is None or wait >= 0


@pytest.mark.parametrize(
    ("value", "word"), [(b"true", True), (b"False", False), (b"", None), (b"1", None)]
)
def test_should_retry_is_the_upstreams_own_word(value, word):
    assert waits.should_retry({b"x-should-retry": value}) is word
