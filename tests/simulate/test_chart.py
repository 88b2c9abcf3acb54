import pytest
from simulate.support import config, told

from proxy.simulate import chart
from proxy.simulate.play import play
from proxy.simulate.record import Record, Run

STORY = told(
    "about: It is down for half a minute.\n"
    "duration: 64s\n"
    "arrivals: [{rate: 10}]\n"
    'failures: [{at: 16s, lasts: 32s, kind: "500"}]\n'
)


def run(name="proxy.yaml", more="breaker: {timeout: 4s, max_timeout: 4s}", scenario=STORY):
    return Run(name, "outage at up", scenario, 1, play(config(more), "up", scenario, 1))


@pytest.fixture(scope="module")
def drawn():
    return chart.draw([run(), run("a/quite/long/other.yaml", "breaker: {mode: disabled}")])


def test_it_fits_eighty_columns(drawn):
    assert max(map(len, drawn.splitlines())) <= 80


def test_the_outage_and_the_circuit_stand_one_below_the_other(drawn):
    lines = drawn.splitlines()
    outage = next(line for line in lines if line.startswith("failing"))
    breaker = next(line for line in lines if line.startswith("breaker"))

    assert outage == "failing" + " " * (9 + 16) + "█" * 32
    assert set(breaker[16:32]) == {"·"}
    assert breaker[34:48].count("█") > 10
    assert breaker[-1] == "·"


def test_two_configs_share_their_scales_and_a_table(drawn):
    scales = [line.split()[1] for line in drawn.splitlines() if line.startswith("attempts/s")]

    assert scales[0] == scales[1]
    assert "a/quite/long/other.yaml" in drawn
    assert "…ong/other.yaml      difference" in drawn
    assert "It is down for half a minute." in drawn


def test_a_record_of_nothing_can_be_drawn():
    quiet = told("duration: 1m\n")

    shown = chart.draw([Run("proxy.yaml", "nothing at up", quiet, 7, Record(0.0))])

    assert shown.startswith("nothing at up, 1m simulated, seed 7\n\nproxy.yaml\n")
    assert "█" not in shown.partition("breaker: ")[0]
