from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.window import SLOTS, Window


def test_a_new_window_has_counted_nothing():
    assert Window(60).total(1e6) == 0


def test_what_is_older_than_the_window_falls_out():
    window = Window(60)
    window.add(100.0)
    assert window.total(158.0) == 1
    assert window.total(160.0) == 0


def test_a_long_silence_empties_the_window_at_once():
    window = Window(60)
    for second in range(1000):
        window.add(float(second))
    assert window.total(1e9) == 0


def test_forgetting_starts_from_nothing():
    window = Window(60)
    window.add(100.0)
    window.clear()
    assert window.total(100.0) == 0
    window.add(101.0)
    assert window.total(101.0) == 1


@given(
    seconds=st.floats(0.1, 3600),
    start=st.floats(0, 1e6),
    steps=st.lists(st.floats(0, 100), max_size=60),
)
def test_a_count_reaches_back_a_window_less_at_most_a_slot(seconds, start, steps):
    window = Window(seconds)
    slot = seconds / SLOTS
    now, seen = start, []
    for step in steps:
        now += step * slot
        window.add(now)
        seen.append(now)
        hair = 1e-6 * slot + 1e-9 * now
        assert window.total(now) <= sum(at > now - seconds - hair for at in seen)
        assert window.total(now) >= sum(at > now - (seconds - slot) + hair for at in seen)
