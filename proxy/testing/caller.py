"""The other side of one connection: what is said to it, and when it leaves.

Rule: nothing here chooses an answer, or remembers one; that is `upstream.py`'s.
"""

import asyncio
import contextlib
import socket
import struct

from proxy.testing.request import Seen, read_body
from proxy.testing.script import Answer, Ask, End, Send, Wait

# On, and for no seconds: the close that follows is a reset.
_NO_LINGER = struct.pack("ii", 1, 0)

# A caller still sending when its early answer is out would have that answer destroyed by a reset.
_LINGER = 2.0


class Caller(asyncio.StreamReaderProtocol):
    """asyncio's own reader and writer, which also tell when the other side has left.

    A caller who only ends its own half of the connection counts as one who left. While it sends a
    body that is not read, its leaving cannot be noticed.
    """

    def __init__(self) -> None:
        super().__init__(asyncio.StreamReader(), self._begin)
        self.gone = asyncio.Event()

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer
        # So that `drain` means: with the kernel. A reset must not overtake what was said before.
        writer.transport.set_write_buffer_limits(0)

    def eof_received(self) -> bool | None:
        self.gone.set()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()
        super().connection_lost(exc)

    async def read_body(self, seen: Seen) -> None:
        if (seen.header("expect") or "").lower() == "100-continue":
            self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await read_body(self.reader, seen)

    async def play(self, answer: Answer, seen: Seen | None) -> End | None:
        """Take the steps of an answer; tells how the connection is to end, or None: it may go on.

        End.HANG stands for a caller who left before the answer was over, too.
        """
        for step in answer.steps:
            if self.gone.is_set():
                return End.HANG
            match step:
                case Send(data, of_body):
                    if not (of_body and seen is not None and seen.method == "HEAD"):
                        self._writer.write(data)
                        await self._writer.drain()
                case Wait(seconds):
                    if await self._leaves_within(seconds):
                        return End.HANG
                case Ask(decide):
                    assert seen is not None
                    end = await self.play(decide(seen), seen)
                    if end is not None:
                        return end
                case End.HANG:
                    await self.gone.wait()
                    return End.HANG
                case _:
                    return step
        return None

    async def _leaves_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.gone.wait()
        return self.gone.is_set()

    async def linger(self) -> None:
        """Take what the caller still sends, for a moment, so that it can read what we said."""
        self._writer.write_eof()
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(_LINGER):
                while await self.reader.read(1 << 16):
                    pass

    def close(self) -> None:
        self._writer.close()

    def reset(self) -> None:
        reset_on_close(self._writer.get_extra_info("socket"))
        self._writer.transport.abort()


def reset_on_close(connection: socket.socket) -> None:
    """Make the end of *connection*, whoever brings it about, a reset."""
    with contextlib.suppress(OSError):  # it has ended already
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
