import pytest
from click.testing import CliRunner

from proxy.cli import main

TWO = """
version: 1
upstreams:
  one: {kind: llm, url: "http://127.0.0.1:9", auth: {header: x-key, value: "${SIMULATED_KEY}"}}
  two: {kind: vectordb, provider: qdrant, url: "http://127.0.0.1:9"}
pools:
  both: {members: [one, two]}
  single: {members: [two]}
"""
QUICK = 'duration: 20s\narrivals: [{rate: 5}]\nfailures: [{at: 5s, lasts: 5s, kind: "500"}]\n'


@pytest.fixture
def files(tmp_path):
    (tmp_path / "proxy.yaml").write_text(TWO)
    (tmp_path / "other.yaml").write_text(TWO.replace("two", "three").partition("pools:")[0])
    (tmp_path / "quick.yaml").write_text(QUICK)
    return tmp_path


def told(files, *words):
    return CliRunner().invoke(
        main,
        ["simulate", str(files / "proxy.yaml"), "--scenario", str(files / "quick.yaml"), *words],
    )


def test_the_first_upstream_is_meant_where_none_is_named(files):
    result = told(files, "--without-env")

    assert result.exit_code == 0, result.output
    assert result.output.startswith("quick at one, 20s simulated, seed 1\n")


def test_keys_that_are_not_there_are_problems_unless_told_otherwise(files):
    result = told(files)

    assert result.exit_code == 1
    assert "${SIMULATED_KEY} is not set" in result.stderr


def test_an_upstream_that_one_of_the_files_lacks_is_wrong_usage(files):
    other = str(files / "other.yaml")

    result = told(files, "--without-env", "--upstream", "two", "--against", other)

    assert result.exit_code == 2
    assert f"'two' is not an upstream of {other} (one, three)" in result.stderr


def test_a_pool_is_asked_where_it_is_named(files):
    result = told(files, "--without-env", "--pool", "both")

    assert result.exit_code == 0, result.output
    assert result.output.startswith("quick at one, asked as both, 20s simulated, seed 1\n")


@pytest.mark.parametrize("pool", ["single", "none"])
def test_a_pool_that_the_upstream_is_no_member_of_is_wrong_usage(files, pool):
    result = told(files, "--without-env", "--pool", pool)

    assert result.exit_code == 2
    assert f"'one' is not a member of a pool '{pool}'" in result.stderr


def test_a_file_without_upstreams_has_nothing_to_simulate(files):
    (files / "proxy.yaml").write_text("version: 1\nupstreams: {}\n")

    result = told(files)

    assert result.exit_code == 2
    assert "is not an upstream of" in result.stderr


def test_a_page_is_written_beside_what_is_shown(files):
    page = files / "report.html"

    result = told(files, "--without-env", "--upstream", "two", "--seed", "9", "--html", str(page))

    assert result.exit_code == 0
    assert "quick at two, 20s simulated, seed 9" in result.output
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_page_that_cannot_be_written_is_said(files):
    result = told(files, "--without-env", "--html", str(files / "nowhere" / "report.html"))

    assert result.exit_code == 1
    assert "cannot be written: No such file" in result.stderr


def test_a_scenario_with_problems_is_refused_with_their_lines(files):
    (files / "quick.yaml").write_text("duration: soon\n")

    result = told(files, "--without-env")

    assert result.exit_code == 1
    assert "quick.yaml:1:1: duration: 'soon' is not a duration" in result.stderr
