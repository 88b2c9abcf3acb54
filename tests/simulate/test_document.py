"""docs/simulate.md names every key and every built-in scenario, and leads only to what is there."""

import re
from pathlib import Path

import pytest

from proxy.simulate.scenario import BUILT_IN, Arrivals, Callers, Failure, Latency, Scenario

PAGE = Path(__file__).parents[2] / "docs" / "simulate.md"


@pytest.mark.parametrize("block", [Scenario, Arrivals, Latency, Failure, Callers])
def test_every_key_is_described(block):
    words = set(re.findall(r"\w+", PAGE.read_text()))

    assert block.model_fields.keys() <= words


def test_every_built_in_scenario_is_described():
    rows = re.findall(r"^\| `([a-z-]+)` \|", PAGE.read_text(), re.MULTILINE)

    assert set(BUILT_IN) <= set(rows)


def test_a_link_leads_to_a_file():
    links = re.findall(r"\]\(([^)#]+)\)", PAGE.read_text())

    assert links
    assert [link for link in links if not (PAGE.parent / link).exists()] == []
