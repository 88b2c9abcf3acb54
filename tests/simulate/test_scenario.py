import pytest
from simulate.support import told

from proxy.config.problem import ConfigError
from proxy.simulate import scenario


def problems(text):
    with pytest.raises(ConfigError) as refused:
        told(text)
    return [str(problem) for problem in refused.value.problems]


@pytest.mark.parametrize("name", scenario.BUILT_IN)
def test_every_built_in_scenario_can_be_read_and_says_what_it_shows(name):
    found = scenario.read(name)

    assert found.about
    assert all(failure.ends < found.duration for failure in found.failures)


def test_the_built_in_ones_are_those_the_documents_name():
    assert set(scenario.BUILT_IN) == {
        "outage", "brownout", "rate-limit", "flapping", "slow", "cold-start",
    }  # fmt: skip


def test_every_problem_is_told_at_once_with_its_line():
    found = problems(
        "duration: 5x\n"
        "arrivals: [{at: 0s, rate: -1}]\n"
        "failures:\n"
        "  - {at: 1m, lasts: 1m, kind: refussed}\n"
        "  - {at: 1m, lasts: 1m, kind: hang, shear: 0.5}\n"
    )

    assert [line.split(":")[1] for line in found] == ["1", "2", "4", "5"]
    assert "did you mean refused?" in found[2]
    assert "did you mean share?" in found[3]


def test_a_latency_whose_p99_is_below_its_p50_is_refused_where_it_stands():
    assert problems("duration: 1m\nlatency: {p50: 2s, p99: 1s}\n") == [
        "scenario.yaml:2:1: latency: has a p99 below its p50"
    ]


def test_the_rate_is_that_of_the_newest_entry_that_has_begun():
    found = told("duration: 3m\narrivals: [{at: 2m, rate: 9}, {at: 1m, rate: 5}]\n")

    assert [found.rate(at) for at in (0, 59, 60, 119, 120)] == [0, 0, 5, 5, 9]


def test_a_scenario_that_is_no_file_is_refused_with_the_names_there_are():
    with pytest.raises(ConfigError, match=r"cannot be read: No such file .*, outage, "):
        scenario.read("outtage")


def test_a_scenario_can_be_a_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("duration: 1m\n")

    assert scenario.read(str(path)).duration == 60
