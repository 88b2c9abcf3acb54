"""What it takes to start: `python benchmarks/startup.py`.

Runs each command several times with the interpreter it is run with, and writes the median wall
time, CPU time and memory into docs/deploy.md, with what the imports of `serve` are made of. Run it
in a virtual environment that has the proxy and nothing else: libraries look for others and import
what they find.
"""

import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "deploy.md"
MARKS = ("<!-- startup: written by benchmarks/startup.py -->\n", "<!-- startup: end -->\n")

ROUNDS = 11
SHOWN = 8
"""Packages named in the table of imports; the others are one row."""

CONFIG = """
version: 1
listen: {port: 0}
admin: {port: 0}
log: {format: json}
upstreams: {up: {url: "http://127.0.0.1:9"}}
"""


@dataclass(frozen=True)
class Cost:
    """What one run took: seconds until it was done or serving, of the CPU, and MiB at most."""

    wall: float
    cpu: float
    memory: float


def run(words: Sequence[str], until: bytes | None = None) -> Cost:
    """Run the proxy to its end, or until its log has said *until*; then it is told to stop."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "proxy", *words],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    with process.stderr as log:
        if until is not None:
            any(until in line for line in log)
            wall = time.perf_counter() - began
            os.kill(process.pid, signal.SIGTERM)  # send_signal would reap it, if it has ended
        log.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{words} has failed: run it by hand to see why")
    if until is None:
        wall = time.perf_counter() - began
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def median(measure: Callable[[], Cost]) -> Cost:
    measure()  # the first one reads the disk, and may write byte code
    costs = [measure() for _ in range(ROUNDS)]
    return Cost(
        statistics.median(cost.wall for cost in costs),
        statistics.median(cost.cpu for cost in costs),
        statistics.median(cost.memory for cost in costs),
    )


def imports() -> Counter[str]:
    """Give the seconds that importing the proxy spends in each package's own modules."""
    told = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import proxy.app"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    spent: Counter[str] = Counter()
    for own, module in re.findall(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)", told.stderr):
        package = module.partition(".")[0]
        spent["the standard library" if package in sys.stdlib_module_names else package] += int(own)
    return spent


def tables() -> str:
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "proxy.yaml"
        config.write_text(CONFIG)
        commands: list[tuple[str, list[str], bytes | None]] = [
            ("`--version`, or a Tab in the shell", ["--version"], None),
            ("`check`", ["check", str(config)], None),
            ("`serve`, until it is ready", ["serve", "-c", str(config)], b'"proxy.started"'),
        ]
        machine = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
        lines = [
            f"Medians of {ROUNDS} runs, {machine}. CPU and memory are of the whole short life.",
            "",
            "|  | ms | CPU ms | MiB |",
            "| --- | ---: | ---: | ---: |",
        ]
        for name, words, until in commands:
            cost = median(partial(run, words, until))
            lines.append(
                f"| {name} | {cost.wall * 1e3:.0f} | {cost.cpu * 1e3:.0f} | {cost.memory:.0f} |"
            )
    spent = imports()
    shown = spent.most_common(SHOWN)
    rest = spent.total() - sum(own for _, own in shown)
    total = spent.total()
    lines += ["", "| imported by `serve` | share |", "| --- | ---: |"]
    lines += [f"| {package} | {own / total:.0%} |" for package, own in shown]
    lines += [f"| {len(spent) - SHOWN} others | {rest / total:.0%} |"]
    return "\n".join(lines) + "\n"


def main() -> None:
    before, found, rest = PAGE.read_text().partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    assert found, f"{PAGE} has no place for it"
    assert end, f"the place in {PAGE} has no end"
    PAGE.write_text(f"{before}{MARKS[0]}\n{tables()}\n{MARKS[1]}{after}")


if __name__ == "__main__":
    main()
