"""Who is connected to a server, and whether they are to go."""

import asyncio
from typing import Protocol

from proxy.wire.alarm import wake


class Connection(Protocol):
    """A connection of a caller, as far as its server is concerned."""

    def drain(self) -> None: ...

    def reset(self) -> None: ...


class Roster:
    """The connections there are, and whether they are to end."""

    __slots__ = ("_empty", "callers", "draining")

    def __init__(self) -> None:
        self.callers: set[Connection] = set()
        self.draining = False
        self._empty: asyncio.Future[None] | None = None

    def remove(self, caller: Connection) -> None:
        self.callers.discard(caller)
        if not self.callers:
            wake(self._empty)

    async def empty(self) -> None:
        """Wait until the last one has gone."""
        while self.callers:
            self._empty = asyncio.get_running_loop().create_future()
            await self._empty
