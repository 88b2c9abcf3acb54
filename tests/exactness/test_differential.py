"""Beside nginx and Envoy: every difference is listed in docs/http.md, with its reason."""

import asyncio
import os
import re
from pathlib import Path

import pytest
from exactness import differential

PAGE = Path(__file__).parents[2] / "docs" / "http.md"
BEGIN, END = "<!-- differences -->", "<!-- /differences -->"
OTHERS = ("nginx", "Envoy")

pytestmark = pytest.mark.real_time("asyncio")


def listed():
    return PAGE.read_text().partition(BEGIN)[2].partition(END)[0].strip("\n")


def columns(text, *names):
    """The cells of some columns of a table, row by row."""
    rows = [re.split(r"(?<!\\\\) \| ", line.strip("| ")) for line in text.splitlines()]
    wanted = [rows[0].index(name) for name in names]
    return [[row[index] for index in wanted] for row in rows[2:]]


async def test_what_differs_from_the_others_is_listed_as_it_is(tmp_path):
    versions = {name: differential.version(name) for name in OTHERS}
    measured = dict(re.findall(r"(nginx|Envoy) (\d+\.\d+\.\d+)", PAGE.read_text()))
    missing = [
        f"{name} {measured.get(name)}" for name in OTHERS if versions[name] != measured.get(name)
    ]
    if missing and "RECORD" not in os.environ:
        pytest.skip(f"not installed: {', '.join(missing)}")
    names = ["octollm-proxy", *OTHERS]
    for name in names:
        (tmp_path / name).mkdir()
    found = await asyncio.gather(*(differential.findings(name, tmp_path / name) for name in names))
    drawn = differential.table(dict(zip(names, found, strict=True)))
    if "RECORD" in os.environ:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{drawn}\n{END}{rest.partition(END)[2]}")

    assert listed() == drawn


def test_every_difference_has_its_reason():
    reasons = dict(columns(listed(), "sent", "why"))

    assert reasons == differential.REASONS


async def test_what_is_said_of_us_holds_without_the_others(tmp_path):
    ours = await differential.findings("octollm-proxy", tmp_path)
    rows = columns(listed(), "sent", "octollm-proxy")

    assert [[sent, differential.cell(ours[sent], None)] for sent, _ in rows] == rows
