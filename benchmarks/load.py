"""What is asked of a contender: requests by wrk, or event streams that are held open.

Nothing here knows who answers.
"""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from contenders import program
from process import Process

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Requests:
    """What wrk saw; times in seconds. *unwelcome* are answers other than 2xx and 3xx."""

    requests: int
    seconds: float
    p50: float
    p99: float
    unwelcome: int
    lost: int


@dataclass(frozen=True)
class Target:
    """A port, the path of what is asked for, and with what: a method and bytes of body."""

    port: int
    path: str
    method: str = "POST"
    body: int = 820
    headers: tuple[str, ...] = ()
    """Lines of their own, for wrk alone."""


def requests(target: Target, connections: int, seconds: int, cpu: int, log: Path) -> Requests:
    """Ask as fast as answers come, on so many connections."""
    wrk = program("wrk")
    if wrk is None:
        raise SystemExit("wrk is not installed (Debian: apt-get install wrk)")
    command = [wrk, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    command += [word for line in target.headers for word in ("-H", line)]
    command += ["-s", str(HERE / "wrk.lua"), f"http://127.0.0.1:{target.port}{target.path}"]
    with Process([*command, "--", target.method, str(target.body)], cpu, log) as process:
        said = process.rest()
    return Requests(**json.loads(said.partition("\nresult ")[2]))


@dataclass(frozen=True)
class Events:
    """What the readers of event streams saw; from an event's sending to its arrival, in seconds."""

    events: int
    streams: int
    p50: float
    p99: float


class Streams:
    """So many open event streams, on another process; `with Streams(...)` ends them."""

    def __init__(self, target: Target, count: int, cpu: int, log: Path) -> None:
        command = [sys.executable, str(HERE / "streams.py"), str(target.port), target.path]
        self._process = Process([*command, str(count)], cpu, log)

    def __enter__(self) -> Self:
        self._process.__enter__()
        self._process.line()  # it says so when every stream has begun
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.__exit__(*exc)

    def events_of(self, seconds: int) -> Events:
        """Tell what comes in so many seconds from now."""
        time.sleep(seconds)
        return self.events()

    def events(self) -> Events:
        """Tell what came since the last time this was asked."""
        self._process.ask()
        return Events(**json.loads(self._process.line()))
