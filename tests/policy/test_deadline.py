import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import errors
from proxy.policy.deadline import Deadline, wish


@pytest.mark.parametrize(
    ("total", "caller", "at", "by"),
    [
        (60.0, None, 160.0, "policy"),
        (60.0, 20.0, 120.0, "caller"),
        (60.0, 60.0, 160.0, "policy"),
        (60.0, 90.0, 160.0, "policy"),
        (None, 20.0, 120.0, "caller"),
        (None, None, None, None),
    ],
)
def test_a_caller_can_only_shorten(total, caller, at, by):
    deadline = Deadline(100.0, total, caller)
    assert (deadline.at, deadline.by) == (at, by)


def test_what_remains_is_never_less_than_nothing():
    deadline = Deadline(100.0, 60.0)
    assert deadline.remaining(130.0) == 30.0
    assert deadline.remaining(160.0) == 0.0
    assert deadline.remaining(500.0) == 0.0


def test_without_a_limit_nothing_runs_out():
    assert Deadline(100.0, None).remaining(1e9) is None


def test_an_attempt_that_had_all_the_time_is_the_upstreams_fault():
    deadline = Deadline(100.0, 60.0)
    assert deadline.blames_upstream(100.0)
    assert deadline.blames_upstream(101.0)


def test_an_attempt_that_had_what_others_left_over_blames_nobody():
    assert not Deadline(100.0, 60.0).blames_upstream(130.0)


def test_a_deadline_the_caller_shortened_blames_nobody():
    assert not Deadline(100.0, 60.0, 20.0).blames_upstream(100.0)


def test_a_deadline_that_does_not_exist_blames_nobody():
    assert not Deadline(100.0, None).blames_upstream(100.0)


@pytest.mark.parametrize(
    ("own", "sdk", "seconds"),
    [
        (None, None, None),
        ("20s", None, 20.0),
        (" 1m30s ", None, 90.0),
        ("250ms", None, 0.25),
        ("20", None, 20.0),
        ("20s", "600", 20.0),
        (None, "600", 599.0),
        (None, "600.0", 599.0),
        (None, "2", 1.0),
        (None, "1", 0.5),
        (None, "None", None),
        (None, "", None),
        (None, "-3", None),
        (None, "0", None),
        (None, "nan", None),
        (None, "inf", None),
    ],
)
def test_a_caller_says_how_long_it_waits(own, sdk, seconds):
    assert wish(own, sdk) == seconds


@pytest.mark.parametrize("own", ["", "soon", "0", "0s", "-1s", "none", "nan", "inf", "1e999"])
def test_nonsense_in_our_own_header_is_refused(own):
    with pytest.raises(errors.ValidationError) as refused:
        wish(own, "600")
    assert refused.value.details == {"field": "X-OctoLLM-Timeout"}


@given(own=st.none() | st.text(), sdk=st.none() | st.text())
def test_whatever_the_headers_hold_it_is_a_wish_or_an_error_of_ours(own, sdk):
    try:
        seconds = wish(own, sdk)
    except errors.ValidationError:
        assert own is not None
    else:
        assert seconds is None or seconds > 0
