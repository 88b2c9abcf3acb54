import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import units
from proxy.config.units import Unreadable


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("2s", 2),
        ("1m30s", 90),
        ("1h", 3600),
        ("1d", 86400),
        ("1.5h", 5400),
        ("0s", 0),
        ("30", 30),
        ("0.5", 0.5),
        ("1m1ms", 60.001),
        (3, 3),
        (0.25, 0.25),
    ],
)
def test_a_duration_is_read_in_seconds(text, seconds):
    assert units.duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("1:30", "1m30s"),
        ("2 s", "2s"),
        ("s", "2s"),
        ("", "2s"),
        ("-2s", "2s"),
        ("30s1m", "largest first"),
        ("1s1s", "each unit once"),
        ("-1", "negative"),
        ("2sec", "2s"),
        ("1y", "2s"),
        ("9999d", "year"),
        ("1e999", "too large"),
        ("٣s", "2s"),
        (True, "2s"),
        (None, "2s"),
        (["2s"], "2s"),
        (float("nan"), "too large"),
    ],
)
def test_what_is_not_a_duration_is_told_how_to_write_one(text, meant):
    if meant == "too large":
        with pytest.raises(Unreadable):
            units.duration(text)
        return
    with pytest.raises(Unreadable, match=meant):
        units.duration(text)


@given(st.integers(min_value=0, max_value=365 * 24 * 3_600_000))
def test_a_written_duration_reads_back_as_itself(milliseconds):
    assert units.duration(units.written(milliseconds / 1000)) == milliseconds / 1000


def test_a_switch_may_be_none_and_of_nothing_it_says_how_to_be_off():
    assert units.switch("none") is None
    assert units.switch("5m") == 300
    with pytest.raises(units.Unreadable, match="to switch it off write none"):
        units.switch("0s")


def test_a_limit_may_be_none_but_not_nothing():
    assert units.limit("none") is None
    assert units.limit(None) is None
    assert units.limit("5m") == 300
    with pytest.raises(Unreadable, match="write none"):
        units.limit("0s")


@given(
    st.integers(min_value=0, max_value=1 << 40),
    st.sampled_from([("", 1), ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)]),
)
def test_a_size_is_its_number_times_its_unit(count, unit):
    assert units.size(f"{count}{unit[0]}") == count * unit[1]


@pytest.mark.parametrize("text", ["8MB", "8mib", "-1", "1.5MiB", "", "9" * 19, None, True])
def test_what_is_not_a_size_is_refused(text):
    with pytest.raises(Unreadable):
        units.size(text)


def test_a_size_from_python_is_bytes():
    assert units.size(1024) == 1024


@given(st.integers(min_value=-(10**17), max_value=10**17))
def test_a_whole_number_reads_as_itself(number):
    assert units.whole(str(number)) == number
    assert units.whole(number) == number


@pytest.mark.parametrize(
    ("text", "meant"),
    [("010", "zero"), ("1e3", "digits"), ("1_000", "digits"), ("3.0", "digits"), (True, "digits")],
)
def test_a_number_that_yaml_and_people_read_differently_is_refused(text, meant):
    with pytest.raises(Unreadable, match=meant):
        units.whole(text)


def test_a_number_may_have_a_fraction_and_an_exponent():
    assert units.number("0.5") == 0.5
    assert units.number("1e3") == 1000
    assert units.number(2) == 2


@pytest.mark.parametrize("text", ["", "nan", "inf", "1,5", "0x10", False, None])
def test_what_is_not_a_number_is_refused(text):
    with pytest.raises(Unreadable, match="number"):
        units.number(text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [("no", "write false"), ("off", "write false"), ("on", "write true"), ("1", "write true")],
)
def test_yes_and_no_are_not_guessed_at(text, meant):
    with pytest.raises(Unreadable, match=meant):
        units.flag(text)


def test_a_flag_is_true_or_false():
    assert units.flag("true") is True
    assert units.flag("False") is False
    assert units.flag(True) is True
    with pytest.raises(Unreadable, match="not true or false"):
        units.flag("maybe")
    with pytest.raises(Unreadable, match="not true or false"):
        units.flag(None)
