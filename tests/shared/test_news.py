import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.load import parse
from proxy.shared.news import News, circuit, pack, unpack

SECONDS = st.floats(0, 1e6)


@given(st.builds(News, st.text(), st.text(), SECONDS, SECONDS))
def test_what_is_packed_is_unpacked(news):
    assert unpack(pack(news)) == news


@given(st.binary())
def test_whatever_else_comes_is_no_news(data):
    assert unpack(data) is None


@pytest.mark.parametrize(
    "text",
    [
        "null",
        "[]",
        "{}",
        '{"by": "a", "circuit": "b", "left": 1}',
        '{"by": "a", "circuit": "b", "left": 1, "since": 0, "more": 1}',
        '{"by": 1, "circuit": "b", "left": 1, "since": 0}',
        '{"by": "a", "circuit": ["b"], "left": 1, "since": 0}',
        '{"by": "a", "circuit": "b", "left": -1, "since": 0}',
        '{"by": "a", "circuit": "b", "left": NaN, "since": 0}',
        '{"by": "a", "circuit": "b", "left": 1, "since": Infinity}',
        '{"by": "a", "circuit": "b", "left": null, "since": 0}',
        '{"by": "a", "circuit": "b", "left": "1", "since": 0}',
        '{"by": "a", "circuit": "b", "left": 1, "since": 1' + "0" * 400 + "}",
        "[" * 100_000,
    ],
)
def test_news_that_make_no_sense_are_none(text):
    assert unpack(text.encode()) is None


def test_a_circuit_is_known_by_name_and_address_and_shows_no_address():
    def named(name, url):
        text = f'upstreams: {{{name}: {{url: "{url}"}}}}'
        return circuit(parse(text, "test.yaml", {}).upstreams[name])

    names = {named("a", "http://h:1"), named("b", "http://h:1"), named("a", "http://h:2")}

    assert len(names) == 3
    assert named("a", "http://secret.internal/x") == named("a", "http://secret.internal/x")
    assert "internal" not in named("a", "http://secret.internal/x")
