"""The chart: that it is drawn where it can be, and that no bar dwarfs the others."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "benchmarks"))
import chart
from scenarios import ALL, Sample, Series

SCENARIOS = {scenario.key: scenario for scenario in ALL}


def test_a_run_that_has_nothing_to_show_draws_nothing(tmp_path):
    path = tmp_path / "chart.png"

    assert not chart.draw(path, [(SCENARIOS["upload"], [Series("Envoy", [Sample(1e-6)])])])
    assert not path.exists()


def test_a_chart_is_a_png_even_where_contenders_are_missing(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (make bench)")
    path = tmp_path / "images" / "chart.png"
    requests = [Series("(no proxy)", [Sample(0.0)]), Series("octollm-proxy", [Sample(1e-4)])]
    requests += [Series("Portkey", [Sample(2e-3)]), Series("nginx", left_out=True)]

    assert chart.draw(path, [(SCENARIOS["small-64"], requests), (SCENARIOS["events"], [])])
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_bar_that_dwarfs_the_others_is_cut():
    assert chart._end([10.0, 20.0, 1000.0]) == 30.0
    assert chart._end([10.0, 20.0, 50.0]) == 50.0
    assert chart._end([1000.0]) == 1000.0
