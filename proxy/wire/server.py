"""Listeners, and the connections they let in.

Rule 1: a server knows how to accept, to drain and to end; what a request means is the handler's.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

from proxy import errors
from proxy.wire.caller import Caller, CallerLimits
from proxy.wire.message import Reply, Request
from proxy.wire.roster import Roster

_BACKLOG = 1024

Handle = Callable[[Request, Reply], Awaitable[None]]
Refuse = Callable[[errors.OctoLLMError, Reply], None]
Address = tuple[str, int] | str


class Server:
    """Serves *handle* on any number of listeners; *refuse* answers what is not a request.

    A handler answers each request through its reply; one that ends without an answer, or raises,
    ends the connection. It is cancelled when its caller leaves.
    """

    def __init__(self, handle: Handle, refuse: Refuse, limits: CallerLimits | None = None) -> None:
        self._handle = handle
        self._refuse = refuse
        self._limits = limits or CallerLimits()
        self._listeners: list[asyncio.Server] = []
        self._paths: list[str] = []
        self._roster = Roster()

    @property
    def connections(self) -> int:
        """How many callers are connected."""
        return len(self._roster.callers)

    async def listen(
        self,
        host: str,
        port: int = 0,
        *,
        reuse_port: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> list[Address]:
        """Accept callers at *host* and *port* (0: any free one) or at `unix:/path`.

        Gives the addresses bound. Raises OSError.
        """
        loop = asyncio.get_running_loop()
        if host.startswith("unix:"):
            path = host.removeprefix("unix:")
            listener = await loop.create_unix_server(self._connect, path, backlog=_BACKLOG, ssl=tls)
            self._paths.append(path)
        else:
            listener = await loop.create_server(
                self._connect,
                host,
                port,
                backlog=_BACKLOG,
                reuse_port=reuse_port or None,
                ssl=tls,
            )
        self._listeners.append(listener)
        names = [sock.getsockname() for sock in listener.sockets]
        return [name if isinstance(name, str) else (name[0], name[1]) for name in names]

    def drain(self) -> None:
        """Accept nobody any more; who waits for nothing goes now, the others with their answer."""
        self._roster.draining = True
        for listener in self._listeners:
            listener.close()
        for path in self._paths:
            Path(path).unlink(missing_ok=True)
        self._listeners.clear()
        self._paths.clear()
        for caller in list(self._roster.callers):
            caller.drain()

    async def closed(self, within: float | None = None) -> bool:
        """Wait, after `drain`, for the last caller to go; False if it takes more than *within*."""
        try:
            async with asyncio.timeout(within):
                await self._roster.empty()
        except TimeoutError:
            return False
        return True

    def abort(self) -> None:
        """End every connection now."""
        for caller in list(self._roster.callers):
            caller.reset()

    def _connect(self) -> Caller:
        return Caller(self._handle, self._refuse, self._limits, self._roster)
