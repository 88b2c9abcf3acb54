"""The gate that a 429 shuts."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.throttle import Gate
from proxy.testing.clock import Clock

OURS, THEIRS = b"ours", b"theirs"


def test_a_gate_is_open_for_whom_it_does_not_know():
    gate = Gate(Clock())
    assert gate.wait(OURS) == 0
    gate.shut(THEIRS, 10)
    assert gate.wait(OURS) == 0


def test_a_gate_is_shut_for_one_key_until_its_time():
    clock = Clock()
    gate = Gate(clock)
    gate.shut(OURS, 10)
    assert gate.wait(OURS) == 10
    clock.advance(9)
    assert gate.wait(OURS) == 1
    clock.advance(1)
    assert gate.wait(OURS) == 0


def test_a_later_and_shorter_wait_shortens_nothing():
    clock = Clock()
    gate = Gate(clock)
    gate.shut(OURS, 10)
    clock.advance(1)
    gate.shut(OURS, 2)
    assert gate.wait(OURS) == 9
    gate.shut(OURS, 20)
    assert gate.wait(OURS) == 20


def test_a_gate_opens_sooner_than_was_asked_and_remembers_what_was():
    clock = Clock()
    gate = Gate(clock)
    gate.shut(OURS, 300, at_most=60)
    assert (gate.wait(OURS), gate.asked(OURS)) == (60, 300)
    clock.advance(20)
    assert (gate.wait(OURS), gate.asked(OURS)) == (40, 280)
    clock.advance(40)
    assert (gate.wait(OURS), gate.asked(OURS)) == (0, 0)


def test_a_wait_of_nothing_shuts_nothing():
    gate = Gate(Clock())
    gate.shut(OURS, 0)
    assert not gate


def test_a_key_whose_time_has_passed_is_forgotten_when_it_asks():
    clock = Clock()
    gate = Gate(clock)
    gate.shut(OURS, 1)
    assert gate
    clock.advance(1)
    assert gate.wait(OURS) == 0
    assert not gate


def test_a_gate_knows_nobody_once_the_longest_wait_is_over():
    clock = Clock()
    gate = Gate(clock)
    gate.shut(OURS, 1)
    gate.shut(THEIRS, 5)
    clock.advance(2)
    assert gate
    clock.advance(3)
    assert not gate


def test_where_there_are_too_many_the_soonest_to_open_are_forgotten():
    gate = Gate(Clock(), max_keys=3)
    for seconds in (30, 10, 20, 5):
        gate.shut(b"%d" % seconds, seconds)
    assert [gate.wait(b"%d" % seconds) for seconds in (30, 10, 20, 5)] == [30, 0, 20, 5]


def test_a_key_that_is_known_is_told_again_though_the_gate_is_full():
    gate = Gate(Clock(), max_keys=2)
    gate.shut(THEIRS, 5)
    gate.shut(OURS, 10)
    gate.shut(OURS, 20)
    assert (gate.wait(OURS), gate.wait(THEIRS)) == (20, 5)


def test_a_hundred_thousand_keys_are_not_remembered():
    clock = Clock()
    gate = Gate(clock)
    for number in range(100_000):
        gate.shut(number.to_bytes(4), 60)
        clock.advance(0.0001)
    remembered = sum(gate.wait(number.to_bytes(4)) > 0 for number in range(100_000))
    assert 8_000 < remembered <= 10_000
    assert gate.wait((99_999).to_bytes(4)) > 0


@given(
    st.lists(
        st.tuples(
            st.sampled_from([OURS, THEIRS]), st.floats(0, 100), st.floats(0, 50), st.booleans()
        )
    )
)
def test_a_wait_is_the_longest_that_was_named_for_the_key(story):
    clock = Clock()
    gate = Gate(clock, max_keys=2)
    until = {OURS: 0.0, THEIRS: 0.0}
    for key, seconds, passing, asking in story:
        gate.shut(key, seconds)
        until[key] = max(until[key], clock() + seconds)
        clock.advance(passing)
        if asking:
            assert gate.wait(key) == max(0.0, until[key] - clock())
    for key, opens in until.items():
        assert gate.wait(key) == max(0.0, opens - clock())
