import pytest
from simulate.support import told

from proxy.policy.transitions import State
from proxy.simulate.figures import Figure, figures, outages, quantile, rows
from proxy.simulate.record import Call, Record
from proxy.simulate.timeline import timeline

TWO_OUTAGES = told(
    "duration: 100s\n"
    "failures:\n"
    "  - {at: 60s, lasts: 10s, kind: hang}\n"
    "  - {at: 10s, lasts: 10s, kind: hang}\n"
    '  - {at: 15s, lasts: 15s, kind: "500", share: 0.5}\n'
)


def shown(record, scenario=TWO_OUTAGES):
    return {figure.name: str(figure) for figure in figures(record, scenario)}


def test_failures_that_overlap_or_touch_are_one_outage():
    assert outages(TWO_OUTAGES) == [(10, 30), (60, 70)]


def test_figures_say_what_was_seen():
    calls = [Call(at, at + 1.0, "served") for at in range(8)]
    calls += [Call(8.0, 8.5, "failed"), Call(9.0, 69.0, "left")]
    attempts = [*range(8), *[8.0] * 7]
    record = Record(0.0, calls, attempts, good=8, elsewhere=2, hedged=4, rejections=3)

    found = shown(record)

    assert found["calls"] == "10"
    assert found["served"] == "80.0 %"
    assert found["answered by another upstream"] == "25.0 %"
    assert found["hedged answers"] == "4"
    assert found["callers who lost patience"] == "1"
    assert found["wait of the served, p99"] == "1.00 s"
    assert found["wait of the others, p50"] == "0.50 s"
    assert found["wait of the others, p95"] == "60.00 s"
    assert found["attempts per call"] == found["peak amplification"] == "1.50 x"
    assert found["rejected by the open circuit"] == "3"
    assert found["wasted attempts"] == "7"
    assert found["wasted attempts, share"] == "46.7 %"


def test_the_circuit_is_timed_by_each_outage():
    moves = [
        (12.0, State.OPEN), (17.0, State.HALF_OPEN), (18.0, State.OPEN), (40.0, State.HALF_OPEN),
        (41.0, State.CLOSED), (64.0, State.OPEN), (75.0, State.CLOSED),
    ]  # fmt: skip

    found = shown(Record(0.0, moves=moves))

    assert found["outage to open, mean"] == "3.00 s"
    assert found["recovery to closed, mean"] == "8.00 s"


def test_a_circuit_that_was_open_before_an_outage_did_not_open_for_it():
    found = shown(Record(0.0, moves=[(5.0, State.OPEN), (20.0, State.OPEN)]))

    assert found["outage to open, mean"] == "-"
    assert found["recovery to closed, mean"] == "-"


def test_where_nothing_happened_nothing_is_said():
    found = shown(Record(0.0))

    assert found["calls"] == "0"
    assert {found[name] for name in found if "wait" in name or "per call" in name} == {"-"}
    assert found["peak amplification"] == found["answered by another upstream"] == "-"


@pytest.mark.parametrize(("percent", "value"), [(50, 2), (95, 4), (99, 4)])
def test_a_quantile_is_a_value_that_was_seen(percent, value):
    assert quantile([1, 2, 3, 4], percent) == value


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (1.0, 2.5, "+1.50 s"),
        (2.5, 1.0, "-1.50 s"),
        (1.0, 1.001, "="),
        (None, 1.0, "-"),
        (1.0, None, "-"),
    ],
)
def test_a_difference_says_which_way_it_goes(one, other, said):
    assert Figure("wait", one, "s").difference(Figure("wait", other, "s")) == said


def test_two_configs_stand_side_by_side():
    one, other = [Figure("calls", 1000)], [Figure("calls", 3500)]

    assert rows([one]) == [["calls", "1,000"]]
    assert rows([one, other]) == [["calls", "1,000", "3,500", "+2,500"]]


def test_a_timeline_counts_per_second_and_where_things_ended():
    record = Record(
        0.0,
        [Call(5.0, 15.0, "served"), Call(5.0, 15.0, "left"), Call(95.0, 101.0, "served")],
        attempts=[5.0] * 20,
        moves=[
            (12.0, State.OPEN),
            (19.0, State.HALF_OPEN),
            (26.0, State.CLOSED),
            (27.0, State.OPEN),
        ],
    )

    found = timeline(record, TWO_OUTAGES, 10)

    assert found.served == [0, 0.1, *[0] * 8]
    assert found.failed == [0, 0.1, *[0] * 8]
    assert found.load == [2, *[0] * 9]
    assert found.state == [State.CLOSED, State.OPEN, State.HALF_OPEN, *[State.OPEN] * 7]
    assert found.failing == [0, 1, 0.5, 0, 0, 0, 1, 0, 0, 0]
