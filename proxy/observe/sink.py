"""Where log lines go: a thread writes them, so whoever reads them cannot stall a call.

Rule 1: `write` never waits. A full pipe, a slow disk or a stopped terminal costs lines, which are
counted and owned up to, and no latency.
Rule 2: nothing here knows what a line says.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import BinaryIO

LINES = 16_384
"""Lines kept for a reader that is behind: some seconds at full load, a few MiB."""


class Sink:
    """Lines on their way to *stream*; *confess* words the line that says how many were lost."""

    def __init__(
        self, stream: BinaryIO, confess: Callable[[int], bytes], capacity: int = LINES
    ) -> None:
        self._stream = stream
        self._confess = confess
        self._capacity = capacity
        self._lines: deque[bytes] = deque()
        self._lost = 0
        self._closing = False
        self._waiting = threading.Event()
        self._thread = threading.Thread(target=self._pump, name="log-sink", daemon=True)
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Take one line, with its end; drop it if too many are waiting already."""
        if len(self._lines) >= self._capacity:
            self._lost += 1
            return
        self._lines.append(line)
        if not self._waiting.is_set():
            self._waiting.set()

    def close(self, timeout: float = 1.0) -> None:
        """Write what is left and stop, waiting at most *timeout* seconds for a stalled reader."""
        self._closing = True
        self._waiting.set()
        self._thread.join(timeout)

    def _pump(self) -> None:
        while True:
            self._waiting.wait()
            # Read before the lines are: what is written after this is none of our closing.
            closing = self._closing
            self._waiting.clear()
            taken = b"".join(self._lines.popleft() for _ in range(len(self._lines)))
            lost, self._lost = self._lost, 0
            self._put(taken + self._confess(lost) if lost else taken)
            if closing:
                return

    def _put(self, data: bytes) -> None:
        try:
            while data:
                # A raw stream takes what it can and says how much that was.
                data = data[self._stream.write(data) :]
            self._stream.flush()
        except (OSError, ValueError):
            # Whoever read our lines has gone; the calls go on.
            return
