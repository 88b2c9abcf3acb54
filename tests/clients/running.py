"""The proxy as its users run it, and what its clients' sync and async halves have in common."""

import inspect
import json
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterable
from pathlib import Path
from typing import Any, Self
from urllib.request import urlopen


class Served:
    """`octollm-proxy serve` as a process of its own, from `with` to its end."""

    def __init__(self, config: Path) -> None:
        self.events: list[dict[str, Any]] = []
        """The lines of its log, as far as they have come out."""
        self._came = threading.Condition()
        self._command = [sys.executable, "-m", "proxy", "serve", "-c", str(config)]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stderr=subprocess.PIPE, text=True)
        started = self._read_until("proxy.started")
        self.addresses: list[str] = started["addresses"]
        self.admin: str = started["admin_address"]
        # Nobody waits for the rest, but a full pipe would stop the proxy.
        self._reader = threading.Thread(target=self._read_until, args=[None])
        self._reader.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.terminate()
        code = self._process.wait()
        self._reader.join()
        assert self._process.stderr is not None
        self._process.stderr.close()
        assert code == 0, self.events[-5:]
        assert [event for event in self.events if event["level"] == "critical"] == []

    def _read_until(self, wanted: str | None) -> dict[str, Any]:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            event = json.loads(line)
            with self._came:
                self.events.append(event)
                self._came.notify_all()
            if event["event"] == wanted:
                return event
        assert wanted is None, self.events
        return {}

    def tells(self, wanted: str) -> bool:
        """Wait until the log has told of an event: it is written behind our back."""
        with self._came:
            return self._came.wait_for(lambda: any(e["event"] == wanted for e in self.events), 10)

    def metric(self, name: str, **labels: str) -> float:
        """Add up the samples of this name and these labels."""
        with urlopen(f"{self.admin}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(
            float(line.rpartition(" ")[2])
            for line in lines
            if line.startswith(f"{name}{{") and all(label in line for label in wanted)
        )


class Chroma:
    """`chroma run` on a port and a folder that stay its own over its lives."""

    def __init__(self, port: int, folder: Path) -> None:
        self.port = port
        self._command = [
            *(Path(sys.executable).with_name("chroma"), "run", "--host", "127.0.0.1"),
            *("--port", str(port), "--path", str(folder)),
        ]

    def start(self) -> None:
        """Begin to start; `listen` waits until it is done."""
        self._process = subprocess.Popen(
            self._command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "ANONYMIZED_TELEMETRY": "False"},
        )
        self._listens = threading.Event()
        self._reader = threading.Thread(target=self._read, args=[self._process])
        self._reader.start()

    def listen(self) -> None:
        assert self._listens.wait(60), "chroma did not start"

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                if b"listening" in line:
                    self._listens.set()


async def settled(value: Any) -> Any:
    """Give what a sync client has answered, or an async one is about to."""
    return await value if inspect.isawaitable(value) else value


async def each(items: Any, into: list[Any]) -> list[Any]:
    """Read a stream of either half to its end; what came before a failure is in *into* then."""
    if isinstance(items, AsyncIterable):
        async for item in items:
            into.append(item)  # noqa: PERF401 -- what came before a failure has to be there
    else:
        into.extend(items)
    return into
