"""The script that measures a start: that it runs, and what it writes. How fast, no test asks."""

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import startup


@pytest.fixture
def page(tmp_path, monkeypatch):
    path = tmp_path / "deploy.md"
    path.write_text(f"before\n{startup.MARKS[0]}the last time's\n{startup.MARKS[1]}after\n")
    monkeypatch.setattr(startup, "PAGE", path)
    monkeypatch.setattr(startup, "ROUNDS", 1)
    return path


def test_it_writes_its_tables_where_the_last_ones_were(page):
    startup.main()

    before, _, rest = page.read_text().partition(startup.MARKS[0])
    written, _, after = rest.partition(startup.MARKS[1])
    assert (before, after) == ("before\n", "after\n")
    assert "the last time's" not in written
    assert (
        len(re.findall(r"^\| `.*\| [1-9]\d* \| [1-9]\d* \| [1-9]\d* \|$", written, re.MULTILINE))
        == 3
    )
    shares = [int(share) for share in re.findall(r"\| (\d+)% \|$", written, re.MULTILINE)]
    assert len(shares) == startup.SHOWN + 1
    assert sum(shares) == pytest.approx(100, abs=startup.SHOWN)


def test_a_start_that_fails_is_no_measurement():
    with pytest.raises(SystemExit, match="has failed"):
        startup.run(["serve", "-c", "no-such-file.yaml"], b"proxy.started")
