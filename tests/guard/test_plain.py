# ruff: noqa: RUF001 -- what looks alike is part of the subject
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.guard.plain import plain


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain", "plain"),
        ("４１１１", "4111"),
        ("٤١٥ ۴۱۵ ४१५", "415 415 415"),
        ("ａ＠ｂ．ｃｏ", "a@b.co"),
        ("𝐛𝐨𝐛@𝘹.𝚘𝚛𝚐", "bob@x.org"),
        ("415‑555–2671−1", "415-555-2671-1"),
        ("4111\u00a01111\u30001111\u202f1111", "4111 1111 1111 1111"),
        ("b\u200bo\u00adb\u2060@\ufeffx\ufe0f.\U000e0061org", "bob@x.org"),
        ("müller", "müller"),
        ("\u0430\u0435", "\u0430\u0435"),
        ("\ud800", "\ud800"),
    ],
)
def test_what_unicode_calls_the_same_is_seen_the_same(text, seen):
    assert plain(text)[0] == seen


@given(st.text(alphabet=st.sampled_from("aé４\u200b\u00ad–7 "), max_size=40))
def test_a_place_in_what_is_seen_is_a_place_in_the_text(text):
    seen, place = plain(text)

    for at, char in enumerate(seen):
        was = unicodedata.normalize("NFKC", text[place(at)])
        assert char == ("-" if was == "–" else was)
    assert [place(at) for at in range(len(seen))] == sorted({place(at) for at in range(len(seen))})
