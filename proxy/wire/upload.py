"""The body of a request as it comes from its caller.

Rule 1: what is malformed, or stalls, is raised to whoever reads; what came before it is read first.
Rule 2: the connection is `caller`'s, and so are the waiting and the timer.
"""

from typing import TYPE_CHECKING

from proxy.wire.parser import StreamReader

if TYPE_CHECKING:
    from proxy.wire.caller import Caller


class CallersBody:
    """`message.Upload` on a connection of a caller."""

    __slots__ = ("_caller", "_payload", "idle", "length")

    def __init__(self, caller: "Caller", payload: StreamReader, length: int | None) -> None:
        self._caller = caller
        self._payload = payload
        self.length = length
        self.idle: float | None = caller.limits.idle

    async def read(self) -> bytes:
        """Wait for the next bytes; `b""` is the end."""
        while (data := self.read_nowait()) is None:
            await self._caller.readable(self.idle)
        return data

    def read_nowait(self) -> bytes | None:
        """Give what is there without waiting: None where nothing is, `b""` at the end."""
        data = self._payload.read_nowait()
        if data or self._payload.is_eof():
            return data
        if self._caller.fault is not None:
            raise self._caller.fault
        return None
