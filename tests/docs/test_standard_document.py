"""docs/standard.md leads to tests that exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "standard.md").read_text()
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(test_\w+)`", TEXT)))
COLUMNS = 4


@cache
def functions_of(file):
    """The names of the test functions of a file below tests/."""
    tree = ast.parse((ROOT / "tests" / file).read_text())
    return {
        node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def rows():
    """The rules: rows of tables that begin with a number."""
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in TEXT.splitlines()
        if re.match(r"\| \d", line)
    ]


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[name for _, name in NAMED])
def test_a_test_that_is_named_exists(file, name):
    assert name in functions_of(file)


def test_every_rule_is_numbered_in_order_and_complete():
    assert [int(row[0].split()[0].rstrip(".")) for row in rows()] == list(range(1, len(rows()) + 1))
    assert [row for row in rows() if len(row) != COLUMNS or not all(row)] == []


def test_every_rule_that_is_built_names_its_test():
    built = [row for row in rows() if not row[1].startswith("Not built")]

    assert [row for row in built if "::test_" not in row[2]] == []
