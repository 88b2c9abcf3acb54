"""docs/http.md decides every line, and leads to tests and files that exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "http.md").read_text()
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(test_\w+)`", TEXT)))
FILES = sorted(set(re.findall(r"`((?:proxy|tests)/[\w./]*)`", TEXT)))


@cache
def functions_of(file):
    tree = ast.parse((ROOT / "tests" / file).read_text())
    return {
        node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[name for _, name in NAMED])
def test_a_test_that_is_named_exists(file, name):
    assert name in functions_of(file)


@pytest.mark.parametrize("file", FILES)
def test_a_file_that_is_named_exists(file):
    assert (ROOT / file).exists()


def test_every_line_says_what_we_do_where_and_which_test_shows_it():
    part = TEXT.partition("\n## Line by line\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("| ")]

    assert len(rows) > 40
    assert [row for row in rows if len(row) != 4 or not all(row)] == []
    assert [row for row in rows[1:] if "::test_" not in row[3]] == []
