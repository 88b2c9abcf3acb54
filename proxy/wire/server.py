"""Listeners, and the connections they let in.

Rule 1: a server knows how to accept, to drain and to end; what a request means is the handler's.
"""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

from proxy import errors
from proxy.wire.caller import Caller
from proxy.wire.message import Reply, Request
from proxy.wire.roster import CallerLimits, Roster

_BACKLOG = 1024

Handle = Callable[[Request, Reply], Awaitable[None]]
Refuse = Callable[[errors.OctoLLMError, Reply], None]
Address = tuple[str, int] | str


class Server:
    """Serves *handle* on any number of listeners; *refuse* answers what is not a request.

    A handler answers each request through its reply; one that ends without an answer, or raises,
    ends the connection. It is cancelled when its caller leaves, or by `end`.
    """

    def __init__(self, handle: Handle, refuse: Refuse, limits: CallerLimits | None = None) -> None:
        self._handle = handle
        self._refuse = refuse
        self._limits = limits or CallerLimits()
        self._listeners: list[asyncio.Server] = []
        self.paths: list[str] = []
        """The socket files that go when it drains."""
        self._roster = Roster()

    @property
    def connections(self) -> int:
        """How many callers are connected."""
        return len(self._roster.callers)

    @property
    def sockets(self) -> list[socket.socket]:
        """Where it accepts callers, until it drains."""
        return [sock for listener in self._listeners for sock in listener.sockets]

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
        # A handshake that stalls is a head that stalls.
        patience = self._limits.head_timeout if tls else None
        if host.startswith("unix:"):
            path = host.removeprefix("unix:")
            listener = await loop.create_unix_server(
                self._connect,
                sock=_bind(path),
                backlog=_BACKLOG,
                ssl=tls,
                ssl_handshake_timeout=patience,
            )
            self.paths.append(path)
        else:
            listener = await loop.create_server(
                self._connect,
                host,
                port,
                backlog=_BACKLOG,
                reuse_port=reuse_port or None,
                ssl=tls,
                ssl_handshake_timeout=patience,
            )
        self._listeners.append(listener)
        names = [sock.getsockname() for sock in listener.sockets]
        return [name if isinstance(name, str) else (name[0], name[1]) for name in names]

    async def join(self, other: "Server", tls: ssl.SSLContext | None = None) -> None:
        """Accept callers where *other* does, beside it, so that it can go and no call is lost."""
        loop = asyncio.get_running_loop()
        patience = self._limits.head_timeout if tls else None
        for theirs in other.sockets:
            # One queue of callers, and two who accept from it. uvloop's sockets have no `dup`.
            sock = socket.socket(fileno=os.dup(theirs.fileno()))
            create = (
                loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server
            )
            listener = await create(
                self._connect,
                sock=sock,
                backlog=_BACKLOG,
                ssl=tls,
                ssl_handshake_timeout=patience,
            )
            self._listeners.append(listener)

    def retire(self) -> None:
        """Accept callers as before, but let each answer be the last on its connection."""
        self._roster.leaving = True

    def leave(self, heir: "Server | None" = None) -> None:
        """Accept nobody any more, and send nobody away: callers go with their next answer.

        *heir* is who has joined, and stays: its are the socket files from now on.
        """
        self.retire()
        if heir is not None:
            heir.paths += self.paths
            self.paths.clear()
        # Before nobody answers there: else it could be another's already that takes the place.
        for path in self.paths:
            Path(path).unlink(missing_ok=True)
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        self.paths.clear()

    def drain(self) -> None:
        """Accept nobody any more; who waits for nothing goes now, the others with their answer."""
        self.leave()
        self._roster.draining = True
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

    async def end(self, within: float) -> None:
        """Cancel, after `drain`, every handler; its last word has until *within* to leave."""
        for caller in list(self._roster.callers):
            caller.end()
        await self.closed(within)
        self.abort()

    def abort(self) -> None:
        """End every connection now."""
        for caller in list(self._roster.callers):
            caller.reset()

    def _connect(self) -> Caller:
        return Caller(self._handle, self._refuse, self._limits, self._roster)


def _bind(path: str) -> socket.socket:
    """Make the socket file of a listener, for this user and group; one nobody serves is replaced.

    Raises OSError: in use, where somebody does, or where something else stands there.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if _is_stale(path):
            Path(path).unlink(missing_ok=True)
        # By chmod there would be a moment in which everybody could connect.
        mask = os.umask(0o117)
        try:
            sock.bind(path)
        finally:
            os.umask(mask)
    except BaseException:
        sock.close()
        raise
    return sock


def _is_stale(path: str) -> bool:
    """Tell whether a socket file was left behind by somebody who is gone."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex(path) == errno.ECONNREFUSED and Path(path).is_socket()
