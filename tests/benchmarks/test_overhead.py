"""The benchmark itself: that it runs, and what it writes. How fast anything is, no test asks."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
BENCH = ROOT / "benchmarks" / "overhead.py"

sys.path.insert(0, str(BENCH.parent))
import contenders  # noqa: E402
import process  # noqa: E402
import report  # noqa: E402
from scenarios import ALL, Sample, Series  # noqa: E402

needs_load = pytest.mark.skipif(
    contenders.program("wrk") is None
    or contenders.program("taskset") is None
    or len(os.sched_getaffinity(0)) < 2,
    reason="wrk, taskset and two CPUs are needed (Debian: apt-get install wrk)",
)


def bench(page: Path, *arguments: str) -> list[dict[str, str]]:
    """Run the benchmark, shortly, and give the lines of its CSV."""
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    results = page.with_suffix(".csv")
    command = [sys.executable, str(BENCH), "--seconds", "1", "--rounds", "1"]
    command += ["--page", str(page), "--csv", str(results)]
    command += ["--chart", str(page.with_suffix(".png")), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    with results.open() as file:
        return list(csv.DictReader(file))


@needs_load
def test_naive_and_ours_are_measured_side_by_side(tmp_path):
    page = tmp_path / "page.md"

    rows = bench(page, "--only", "naive aiohttp", "octollm-proxy", "--scenario", "small-64")

    names = ["(no proxy)", "naive aiohttp", "octollm-proxy"]
    assert [row["contender"] for row in rows] == names
    assert all(float(row["cost"]) > 0 for row in rows if row["contender"] != "(no proxy)")
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "failed or never came" not in text


@needs_load
def test_event_streams_and_an_open_breaker_are_asked_for_too(tmp_path):
    rows = bench(
        tmp_path / "page.md", "--scenario", "events", "rejection", "--only", "octollm-proxy"
    )

    assert [(row["scenario"], row["contender"]) for row in rows] == [
        ("events", "(no proxy)"),
        ("events", "octollm-proxy"),
        ("rejection", "octollm-proxy"),
    ]


def test_ratios_are_made_within_a_round():
    ours = Series("octollm-proxy", [Sample(1.0), Sample(30.0), Sample(2.0)])
    theirs = Series("Envoy", [Sample(2.0), Sample(60.0), Sample(4.0)])

    assert ours.ratio(theirs) == 0.5
    assert ours.ratio(Series("(no proxy)", [Sample(0.0)] * 3)) is None


def test_the_page_says_what_was_not_installed_and_what_failed():
    broken = Series("nginx", [Sample(1e-6, failed=3)])

    text = report.page([(ALL[0], [broken])], {"nginx": "1.22.1", "Envoy": None}, "about", None)

    assert "Compared: nginx 1.22.1. Not installed: Envoy." in text
    assert "nginx: 3 of its answers failed or never came." in text
    assert "No chart: matplotlib is not installed" in text


def test_the_page_shows_the_chart_and_says_who_was_left_out():
    series = [Series("nginx", left_out=True), Series("Envoy", [Sample(1e-6)])]

    text = report.page([(ALL[0], series)], {}, "about", "images/chart.png")

    assert "](images/chart.png)" in text
    assert "nginx is left out here: it ended, or answered nothing." in text
    assert "| nginx |" not in text


def test_the_cpu_time_of_children_counts():
    burn = "import time\nwhile time.process_time() < 0.2: pass\n"
    script = (
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}])\n"
        "print('burnt', flush=True); input()"
    )
    cpu = min(os.sched_getaffinity(0))

    with process.Process([sys.executable, "-c", script], cpu, Path(os.devnull)) as parent:
        assert parent.line() == "burnt"
        spent = parent.cpu_seconds()

    assert spent >= 0.2
