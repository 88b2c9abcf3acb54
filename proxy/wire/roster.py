"""Who is connected to a server, what each may take up, and whether they are to go."""

import asyncio
from dataclasses import dataclass
from typing import Protocol

from proxy.wire.alarm import wake


@dataclass(frozen=True, slots=True)
class CallerLimits:
    """What a caller may take up: bytes of a head, its fields, and seconds of waiting for it."""

    header_size: int = 65536
    header_count: int = 200
    head_timeout: float = 30.0
    idle: float = 300.0
    """Between bytes of a body, both ways: of theirs while we read, of ours while they do not."""
    keepalive: float = 75.0


class Guest(Protocol):
    """A connection of a caller, as far as its server is concerned."""

    def drain(self) -> None: ...

    def end(self) -> None: ...

    def reset(self) -> None: ...


class Roster:
    """The connections there are, and whether they are to end."""

    __slots__ = ("_empty", "callers", "draining", "leaving")

    def __init__(self) -> None:
        self.callers: set[Guest] = set()
        self.leaving = False
        """Whether each answer is the last on its connection."""
        self.draining = False
        """Whether a connection ends as soon as nothing is under way on it."""
        self._empty: asyncio.Future[None] | None = None

    def remove(self, caller: Guest) -> None:
        self.callers.discard(caller)
        if not self.callers:
            wake(self._empty)

    async def empty(self) -> None:
        """Wait until the last one has gone."""
        while self.callers:
            self._empty = asyncio.get_running_loop().create_future()
            await self._empty
