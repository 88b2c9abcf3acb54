from pathlib import Path

import pytest
from guard import record
from hypothesis import given
from hypothesis import strategies as st

from proxy.guard.patterns import PATTERNS, Recogniser

DOCUMENT = Path(__file__).parents[2] / "docs" / "guard.md"
ALL = Recogniser(PATTERNS, record.REGIONS)


def named(text, recogniser=ALL):
    return [(each.pattern, text[each.start : each.end]) for each in recogniser.find(text)]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_there_are_sixty_samples_and_sixty_near_misses(pattern):
    for kind in ("true", "near"):
        assert len(set(record.lines(pattern, kind))) == 60


@pytest.mark.parametrize("pattern", PATTERNS)
def test_all_but_a_few_samples_are_judged_well(pattern):
    assert len(record.missed(pattern)) <= 2
    assert len(record.mistaken(pattern)) <= 2


def test_the_documentation_has_the_record():
    assert record.table() in DOCUMENT.read_text()


def test_the_documentation_names_every_sample_that_is_judged_wrongly():
    text = DOCUMENT.read_text()
    wrong = [line for name in PATTERNS for line in record.missed(name) + record.mistaken(name)]

    assert [line for line in wrong if sample(line) not in text] == []


def sample(line):
    # A dozen characters, so that no page of ours looks as if it gave a key away.
    return line.split("⟦")[-1].split("⟧")[0][:12]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Bob@X.org", "bob@x.ORG"),
        ("4111 1111 1111 1111", "4111111111111111"),
        ("de89370400440532013000", "DE89 3704 0044 0532 0130 00"),
        ("536-90-4399", "536 90 4399"),
        ("2a00:1450:4001:081b:0::200e", "2A00:1450:4001:81B::200E"),
        ("+1 415 555 2671", "(415) 555-2671"),
    ],
)
def test_the_same_is_the_same_however_it_is_written(one, other):
    first, second = ALL.find(f"{one} or {other}")

    assert first.pattern == second.pattern
    assert first.value == second.value


@pytest.mark.parametrize("pattern", PATTERNS)
def test_only_the_patterns_asked_for_are_found(pattern):
    text = "bob@x.org 4111111111111111 DE89370400440532013000 536-90-4399 8.8.8.8 +14155552671"
    text += " sk-abc123DEF456ghi789jkl"

    assert [name for name, _ in named(text, Recogniser([pattern], ()))] == [pattern]
    assert {name for name, _ in named(text)} == set(PATTERNS)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ('call(\\"bob@x.org\\")', "bob@x.org"),
        ("CORP\\alice@x.org", "alice@x.org"),
        ("**bob@x.org**", "bob@x.org"),
        ("mailto:bob@x.org?subject=x", "bob@x.org"),
        ("to:bob@x.org,eve@", "bob@x.org"),
        ("...bob@x.org...", "bob@x.org"),
        ("https://me:pw@h.example.com/x", "pw@h.example.com"),
    ],
)
def test_what_stands_around_an_address_is_not_part_of_it(text, address):
    assert named(text) == [("email", address)]


@pytest.mark.parametrize("text", ["at {}: it", "at {}.", "[{}]:443", "{}/64", "({})", "{}::"])
def test_what_stands_around_a_machines_address_is_not_part_of_it(text):
    six = "2a00:1450:4001:81b:1:2:3:200e"

    assert named(text.format(six)) == ([] if text == "{}::" else [("ip", six)])


def test_a_local_part_is_no_longer_than_mail_allows():
    assert named("x" * 64 + "@x.org") != []
    assert named("x" * 65 + "@x.org") == []


@pytest.mark.parametrize("escape", ["\\n", "\\t", "\\r"])
@pytest.mark.parametrize(
    "value",
    ["4111111111111111", "DE89370400440532013000", "536-90-4399", "8.8.8.8", "415-555-2671",
     "sk-abc123DEF456ghi789jkl", "2a00:1450:4001:81b::200e", "bob@x.org"],
)  # fmt: skip
def test_a_line_end_that_is_written_out_hides_nothing(escape, value):
    assert [found for _, found in named(f"x{escape}{value}{escape}y")] == [value]


@pytest.mark.parametrize(
    "value",
    ["4111111111111111", "DE89370400440532013000", "536-90-4399", "8.8.8.8", "415-555-2671",
     "+44 20 7946 0958", "sk-abc123DEF456ghi789jkl", "2a00:1450:4001:81b::200e"],
)  # fmt: skip
def test_a_script_without_blanks_hides_nothing(value):
    assert [found for _, found in named(f"番号は{value}です")] == [value]


def test_several_numbers_beside_each_other_are_several():
    text = "415-555-2671 2024-01-15 (212) 736-5000 / +44 20 7946 0958"

    assert [found for _, found in named(text)] == [
        "415-555-2671", "(212) 736-5000", "+44 20 7946 0958",
    ]  # fmt: skip


def test_numbers_of_a_region_are_found_where_it_is_given():
    assert named("020 7946 0958", Recogniser(["phone"], ["GB"])) != []
    assert named("020 7946 0958", Recogniser(["phone"], ["DE", "GB"])) != []
    assert named("020 7946 0958", Recogniser(["phone"], [])) == []
    assert named("+44 20 7946 0958", Recogniser(["phone"], [])) != []


def test_where_two_patterns_meet_the_longest_gives_its_name_to_both():
    assert named("GB29 NWBK 6016 1331 9268 19") == [("iban", "GB29 NWBK 6016 1331 9268 19")]
    assert named("sk-abc123DEF456ghi789jkl@x.org") == [("email", "sk-abc123DEF456ghi789jkl@x.org")]
    assert named("+4111111111111111") == [("credit_card", "4111111111111111")]


def test_of_findings_that_overlap_nothing_stays_behind():
    assert named("see a@b.co@c.de") == [("email", "a@b.co@c.de")]


@given(st.text(alphabet=st.sampled_from("1234567890+-.() @:abDEsk_\\n٣\u200b"), max_size=120))
def test_findings_stand_apart_and_in_order(text):
    past = 0
    for each in ALL.find(text):
        assert past <= each.start < each.end <= len(text)
        assert each.value
        past = each.end


@given(st.text(max_size=200))
def test_any_text_can_be_looked_at(text):
    ALL.find(text)
