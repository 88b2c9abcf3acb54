# ruff: noqa: RUF001 -- what looks alike is part of the subject
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.guard.document import DEPTH, Malformed, shown, strings

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=40,
)


def told(text):
    return [(shown(literal.place), literal.value) for literal in strings(text) if not literal.name]


def every(value):
    """The strings of a loaded value, names too, in the order they are written in."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from every(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from every(item)


@given(JSON, st.sampled_from([None, 0, 2]), st.booleans())
def test_every_string_is_found_where_it_stands(value, indent, ascii_only):
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    found = list(strings(text))

    assert [literal.value for literal in found] == list(every(value))
    assert all(json.loads(text[each.start : each.end]) == each.value for each in found)


@given(st.text(alphabet='[]{},:"\\ truefalsn0123456789.eE+-u\n\x00é', max_size=24))
def test_what_the_standard_librarys_reader_refuses_is_malformed(text):
    def refuse(word):
        raise ValueError(word)

    try:
        json.loads(text, parse_constant=refuse)
    except ValueError:
        with pytest.raises(Malformed):
            list(strings(text))
    else:
        list(strings(text))


@pytest.mark.parametrize(
    "text",
    ["", " ", "{", "[", "[1,]", '{"a":1,}', "{,}", '{"a"}', '{"a":}', "{1:2}", "[1 2]", "[1}", "01",
     "1.", "-", "+1", ".5", "1e", "NaN", "Infinity", "-Infinity", "'a'", '"a', '"\n"', '"\\x"',
     '"\\ud8"', "{} {}", "[] x", "tru", "\ufeff{}", "[1,2", "/* */ 1", "\u00a01", "１"],
)  # fmt: skip
def test_what_is_not_json_is_malformed(text):
    with pytest.raises(Malformed, match=r"^expected .+ at character \d+$"):
        list(strings(text))


def test_a_place_is_written_as_people_write_it():
    text = '{"messages": [1, 2.5e3, {"content": [{"text": "a"}, null, "b"]}], "input": "c"}'

    assert told(text) == [
        ("messages[2].content[0].text", "a"),
        ("messages[2].content[2]", "b"),
        ("input", "c"),
    ]


@pytest.mark.parametrize("text", ['[1, 2, 3, "a"]', '[1,2,\n3 , "a"]', '[[], {}, null, "a"]'])
def test_numbers_that_are_passed_over_are_counted(text):
    assert told(text) == [("[3]", "a")]


def test_a_name_that_is_not_a_plain_one_is_not_shown():
    text = '{"input": {"bob@x.org": [0, {"4155552671": {"text_2": "a"}}], "": "b"}}'

    assert told(text) == [("input.*[1].*.text_2", "a"), ("input.*", "b")]


def test_the_only_value_of_a_text_has_no_place():
    assert told('"a"') == [("", "a")]


def test_of_a_name_that_comes_twice_both_values_are_found():
    assert told('{"a": "1", "a": "2"}') == [("a", "1"), ("a", "2")]


def test_nesting_is_bounded():
    list(strings("[" * DEPTH + "]" * DEPTH))
    list(strings("[" * DEPTH + "[]" + "]" * DEPTH))
    for deep in ("[" * (DEPTH + 1) + "1", "[" * 1_000_000, '{"a":' * 100_000):
        with pytest.raises(Malformed, match=f"at most {DEPTH} levels"):
            list(strings(deep))


def test_a_number_may_be_longer_than_python_reads():
    assert told('{"n": ' + "9" * 10_000 + ', "a": "b"}') == [("a", "b")]
