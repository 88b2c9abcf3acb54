"""docs/dependencies.md has a line for each direct dependency, and none too many."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "dependencies.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

LISTS = {
    "runtime": PROJECT["project"]["dependencies"],
    **PROJECT["project"]["optional-dependencies"],
    **PROJECT["dependency-groups"],
}


def documented(section):
    """The names in the first column of the table under this heading."""
    part = TEXT.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `([\w.-]+)` \|", part, re.MULTILINE)


def names(requirements):
    # A group that another one includes has a table of its own.
    own = (requirement for requirement in requirements if isinstance(requirement, str))
    return [re.match(r"[\w.-]+", requirement)[0] for requirement in own]


@pytest.mark.parametrize("section", LISTS)
def test_each_list_is_documented_in_its_order(section):
    assert documented(section) == names(LISTS[section])


@pytest.mark.parametrize("section", LISTS)
def test_every_line_is_complete(section):
    part = TEXT.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    width = {line.count(" | ") for line in lines[:1] + lines[2:]}

    assert len(width) == 1
    assert [line for line in lines if "|  |" in line] == []
