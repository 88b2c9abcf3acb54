"""What the proxy costs, side by side with others, in one run: `make bench`.

The contender has one CPU to itself; load and upstream share another. Rounds are interleaved, so
that whatever else the machine does falls on all alike, and what is told is their median.
"""

import argparse
import os
import platform
import sys
import tempfile
from pathlib import Path

import chart
import contenders
import process
import report
import scenarios

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def main() -> None:
    options = _options()
    entrants = [one for one in contenders.ALL if not options.only or one.name in options.only]
    versions = {one.name: one.version() for one in entrants}
    chosen = [one for one in scenarios.ALL if not options.scenario or one.key in options.scenario]
    process.raise_file_limit()
    contender_cpu, load_cpu = process.cpus()
    results = []
    with tempfile.TemporaryDirectory(prefix="octollm-bench-") as name:
        folder = Path(name)
        command = [sys.executable, str(contenders.HERE / "upstream.py")]
        with process.Process(command, load_cpu, folder / "upstream.log") as upstream:
            place = scenarios.Place(contender_cpu, load_cpu, folder, int(upstream.line()))
            installed = [one for one in entrants if versions[one.name]]
            for scenario in chosen:
                series = scenarios.play(scenario, installed, place, options.seconds, options.rounds)
                results.append((scenario, series))
                print(report.section(scenario, series), flush=True)
    about = (
        f"`make bench`: {options.rounds} rounds of {options.seconds} s, medians. "
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, "
        f"Python {platform.python_version()}."
    )
    drawn = chart.draw(options.chart, results)
    picture = os.path.relpath(options.chart, options.page.parent) if drawn else None
    report.write_page(options.page, report.page(results, versions, about, picture))
    report.write_csv(options.csv, results, versions)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure what proxies cost.")
    parser.add_argument("--seconds", type=int, default=2, help="how long a round lasts")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these contenders alone")
    parser.add_argument("--scenario", nargs="+", metavar="KEY", help="these scenarios alone")
    parser.add_argument("--page", type=Path, default=DOCS / "performance.md")
    parser.add_argument("--csv", type=Path, default=DOCS / "performance.csv")
    parser.add_argument("--chart", type=Path, default=DOCS / "images" / "performance.png")
    return parser.parse_args()


if __name__ == "__main__":
    main()
