"""Files as they were seen last, looked at every second; a change counts when it has settled.

Looking beats being told: it sees a Kubernetes ConfigMap being swapped, a renewed certificate and
an editor's rename alike, on every file system, and costs one `stat` a file. Nothing here reads a
file or knows what is in it.
"""

import asyncio
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

SECONDS = 1.0
"""Between two looks; what two of them see alike has settled."""

Sign = tuple[int, int, int]
"""A file's inode, time of change in nanoseconds, and size."""


class Watch:
    """Looks at the *files* of the moment, through symbolic links, from when it is made."""

    def __init__(self, files: Callable[[], Iterable[str]]) -> None:
        self._files = files
        self._known = self._seen = self._look()

    async def changed(self) -> None:
        """Wait until something is other than when this last returned, and stays so for a look."""
        while True:
            before = self._seen
            await asyncio.sleep(SECONDS)
            # A network's file system that hangs must not hold up the calls.
            self._seen = await asyncio.to_thread(self._look)
            if self._seen == before != self._known:
                self._known = self._seen
                return

    async def acknowledge(self) -> None:
        """Take what stands there now for known: it is about to be read anyway."""
        self._known = self._seen = await asyncio.to_thread(self._look)

    async def learn(self) -> None:
        """Take for known what is new to the files of the moment: it has just been read."""
        now = await asyncio.to_thread(self._look)
        self._known = self._seen = {name: self._known.get(name, sign) for name, sign in now.items()}

    def _look(self) -> dict[str, Sign | None]:
        return {name: _sign(name) for name in self._files()}


def _sign(name: str) -> Sign | None:
    """Tell one state of a file from another; None where there is none, as of a pipe."""
    try:
        found = Path(name).stat()
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
