"""Processes: started on a CPU of their own, watched through /proc, ended with all their children.

Nothing here knows what is measured.
"""

import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parent.parent

TICK = os.sysconf("SC_CLK_TCK")
PATIENCE = 20.0
"""Seconds a contender has to begin listening."""


def cpus() -> tuple[int, int]:
    """Give the CPU of the contender, and that of load and upstream."""
    ours = sorted(os.sched_getaffinity(0))
    if len(ours) < 2:
        raise SystemExit("two CPUs are needed: one for the proxy, one for load and upstream")
    return ours[0], ours[1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def raise_file_limit() -> int:
    """Let what is started from here open as many files as it may; gives how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class Gone(SystemExit):
    """Whoever was asked has ended or answers nothing; uncaught, it ends the run and says why."""


class Process:
    """A command on one CPU; `with Process(...)` ends it and whatever it started."""

    def __init__(self, command: Sequence[str], cpu: int, log: Path) -> None:
        self._log = log
        self._command = " ".join(command)
        with log.open("wb") as errors:
            self._popen = subprocess.Popen(
                ["taskset", "-c", str(cpu), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                cwd=ROOT,
                text=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._popen.pid, number)
                self._popen.wait(timeout=3)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        self._popen.wait()
        for pipe in (self._popen.stdin, self._popen.stdout):
            assert pipe is not None
            pipe.close()

    def ask(self) -> None:
        """Send it an empty line."""
        assert self._popen.stdin is not None
        self._popen.stdin.write("\n")
        self._popen.stdin.flush()

    def line(self) -> str:
        """Wait for a line of its output."""
        assert self._popen.stdout is not None
        return self._popen.stdout.readline().strip() or self._gone()

    def rest(self) -> str:
        """Wait for its end, and give all that it printed."""
        assert self._popen.stdout is not None
        return self._popen.stdout.read() or self._gone()

    def listening(self, port: int) -> None:
        """Wait until it accepts connections at *port*."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and self._popen.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        self._gone()

    def _gone(self) -> str:
        said = self._log.read_text(errors="replace")[-2000:]
        raise Gone(f"{self._command} does not do its part:\n{said}")

    def cpu_seconds(self) -> float:
        """Give user and system time of the whole tree, of its dead children too."""
        return sum(_cpu_ticks(pid) for pid in self._tree()) / TICK

    def memory(self) -> int:
        """Give the bytes of memory that the tree does not share with others (PSS)."""
        return sum(_pss(pid) for pid in self._tree())

    def _tree(self) -> list[int]:
        found = [self._popen.pid]
        for pid in found:
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                found += map(int, children.read_text().split())
        return found


def _cpu_ticks(pid: int) -> int:
    # The name may hold blanks and brackets; what follows its last bracket is numbers.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15]))


def _pss(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise Gone(f"no memory figures for process {pid}")
