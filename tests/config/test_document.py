import pytest

from proxy.config import document
from proxy.config.document import Mark
from proxy.config.fields import Plain
from proxy.config.problem import ConfigError


def refusal(text):
    with pytest.raises(ConfigError) as refused:
        document.read(text, "f.yaml")
    return str(refused.value)


def test_scalars_stay_the_text_their_author_wrote():
    tree = document.read("a: no\nb: 010\nc: '1e3'\nd: 1:30\ne: ~\nf: |\n  x\n", "f")

    assert tree == {"a": "no", "b": "010", "c": "1e3", "d": "1:30", "e": None, "f": "x\n"}
    assert [key for key, value in tree.items() if isinstance(value, Plain)] == ["a", "b", "d"]


def test_every_value_knows_where_it_stood():
    tree = document.read("a:\n  - x\n  - {b: y}\n", "f")

    assert document.locate(tree, ("a", 1, "b")) == Mark(("a", 1, "b"), 3, 6, "y")
    assert document.locate(tree, ("a", 0)) == Mark(("a", 0), 2, 5, "x")
    assert document.locate(tree, ("a", 1, "c", "d")) == Mark(("a", 1, "c", "d"), 3, 5)
    assert document.locate(tree, ("a", 7)) == Mark(("a", 7), 1, 1)
    assert document.locate(tree, ("a", 0, "x")) == Mark(("a", 0, "x"), 2, 5)


def test_a_path_is_written_as_people_do_and_on_one_line():
    assert document.dotted(("a", "b", 0, "c")) == "a.b[0].c"
    assert document.dotted(("a\n\x1b[1m",)) == r"'a\n\x1b[1m'"
    assert document.dotted(()) == ""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "f.yaml:1:1: is empty (it needs at least upstreams)"),
        ("# only a comment\n", "f.yaml:1:1: is empty (it needs at least upstreams)"),
        ("- a\n", "f.yaml:1:1: is not a mapping (begin with version: 1)"),
        ("\n\nhello\n", "f.yaml:3:1: is not a mapping (begin with version: 1)"),
        ("a: 1\na: 2\n", "f.yaml:2:1: a: stands twice (first in line 1; only one could count)"),
        ("a: &x 1\n", "f.yaml:1:4: anchors and aliases are not read (write it out, or use defaults)"),
        ("a: &x {b: 1}\n", "f.yaml:1:4: anchors and aliases are not read (write it out, or use defaults)"),
        ("a: *x\n", "f.yaml:1:4: anchors and aliases are not read (write it out, or use defaults)"),
        ("a: !!python/object:os.system x\n", "f.yaml:1:4: tags are not read (leave out the !)"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2:1: holds a second document (one file, one config)"),
        ("a:\n\t- b\n", "f.yaml:2:1: a tab cannot indent (use spaces)"),
        ("\ta: 1\n", "f.yaml:1:1: a tab cannot indent (use spaces)"),
        ("{token: ${T}}", 'f.yaml:1:9: inside {…} and […] a ${…} must be quoted: "${NAME}"'),
        ("é: [a, http://${H:-x}/]", 'f.yaml:1:15: inside {…} and […] a ${…} must be quoted: "${NAME}"'),
        ("a:\n  [b,\n   ${T}]", 'f.yaml:3:4: inside {…} and […] a ${…} must be quoted: "${NAME}"'),
        ("a: b: c", "f.yaml:1:5: is not YAML: mapping values are not allowed in this context"),
        ("[1", "f.yaml:2:1: is not YAML: while parsing a flow sequence did not find expected ',' or ']'"),
        ("é: \x00", "f.yaml:1:4: holds a character YAML does not allow"),
        ("a: '\ud800'", "f.yaml:1:5: is not UTF-8 text"),
        ("? [a, b]\n: c\n", "f.yaml:1:3: a key is not one word (quote ${…})"),
    ],
)  # fmt: skip
def test_what_would_be_ambiguous_is_refused_where_it_stands(text, told):
    assert refusal(text) == told


def test_duplicate_keys_are_all_told():
    assert refusal("a: {b: 1, b: 2}\na: 3\n").count("stands twice") == 2


def test_nesting_is_bounded_and_costs_nothing():
    assert document.read("a: " + "[" * 29 + "]" * 29, "f")
    assert "nested deeper than 30" in refusal("a: " + "[" * 30 + "]" * 30)
    assert "nested deeper than 30" in refusal("[" * 100_000)


def test_a_file_is_at_most_a_mebibyte():
    assert "larger than 1 MiB" in refusal("#" * (document.MAX_SIZE + 1))
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        document.decode(b"#" * (document.MAX_SIZE + 1), "f")


def test_bytes_that_are_not_utf8_are_shown_where_they_are():
    with pytest.raises(ConfigError, match="f:2:4: is not UTF-8 text"):
        document.decode("a: é\nb: ".encode() + b"\xff", "f")


def test_a_byte_order_mark_is_no_part_of_the_text():
    assert document.decode(b"\xef\xbb\xbfa: 1", "f") == "a: 1"
