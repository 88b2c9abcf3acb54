"""The data listeners that are open: all or none at first, later changed under running calls.

Rule 1: a new listener is open before an old one goes. At an address that stays, both accept from
one queue for that moment, so that no caller is turned away.
Rule 2: who is connected to an old listener is served to the end, and goes with the next answer.
What a request means is the handler's.
"""

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from proxy.config import schema, tls
from proxy.config.listening import ListenerTls
from proxy.wire.roster import CallerLimits
from proxy.wire.server import Address, Handle, Refuse, Server


@dataclass(frozen=True, slots=True)
class Wanted:
    """All that makes a listener what it is, certificates included; equal ones are left alone."""

    name: str
    host: str
    port: int
    tls: ListenerTls | None
    files: tuple[str, ...]
    limits: CallerLimits

    def stands_at(self, other: "Wanted") -> bool:
        """Tell whether it is the same address; one the system chose is so under one name only."""
        fixed = self.port != 0 or self.host.startswith("unix:")
        same = (self.host, self.port) == (other.host, other.port)
        return same and (fixed or self.name == other.name)


@dataclass(frozen=True, slots=True)
class Opened:
    """A listener that accepts callers, beside the one whose address it shares, if any."""

    wanted: Wanted
    server: Server
    url: str
    beside: Server | None = None


class Listeners:
    """The listeners of a config: the shared one, named "", and those of single upstreams."""

    def __init__(self, handler: Callable[[str], Handle], refuse: Refuse) -> None:
        self._handler = handler
        self._refuse = refuse
        self._open: dict[str, Opened] = {}
        self._leaving: set[Server] = set()

    @property
    def addresses(self) -> dict[str, str]:
        return {name: opened.url for name, opened in self._open.items()}

    async def prepare(self, config: schema.Config) -> dict[str, Opened]:
        """Open what *config* wants and is not open, for `adopt`; what is open stays untouched.

        Raises OSError that names the address, and has then opened nothing.
        """
        ready: dict[str, Opened] = {}
        try:
            for wanted in _wanted(config):
                present = self._open.get(wanted.name)
                if present is not None and present.wanted == wanted:
                    ready[wanted.name] = present
                else:
                    with naming(wanted.host, wanted.port):
                        opened = await self._opened(wanted, config.listen.reuse_port)
                    ready[wanted.name] = opened
        except BaseException:
            self.abandon(ready)
            raise
        return ready

    def abandon(self, ready: Mapping[str, Opened]) -> None:
        """Close again what `prepare` has opened."""
        for opened in ready.values():
            if opened not in self._open.values():
                self._leave(opened.server)

    def adopt(self, ready: Mapping[str, Opened]) -> None:
        """Let what `prepare` gave be all there is; the others let their callers end, and go."""
        heirs = {opened.beside: opened.server for opened in ready.values()}
        staying = {opened.server for opened in ready.values()}
        for old in self._open.values():
            if old.server not in staying:
                self._leave(old.server, heirs.get(old.server))
        self._open = dict(ready)

    def retire(self) -> None:
        """Serve whoever comes, and send each on with the answer, to find another of us in time."""
        for server in self._servers():
            server.retire()

    def drain(self) -> None:
        """Accept nobody any more."""
        for server in self._servers():
            server.drain()

    async def closed(self, within: float) -> bool:
        """Wait, after `drain`, for the last caller; False if it takes more than *within*."""
        return all(await asyncio.gather(*(server.closed(within) for server in self._servers())))

    async def end(self, within: float) -> None:
        """Cancel, after `drain`, what is under way; its last word has until *within* to leave."""
        await asyncio.gather(*(server.end(within) for server in self._servers()))

    def _servers(self) -> list[Server]:
        return [*(opened.server for opened in self._open.values()), *self._leaving]

    def _leave(self, server: Server, heir: Server | None = None) -> None:
        server.leave(heir)
        self._leaving = {left for left in (*self._leaving, server) if left.connections}

    async def _opened(self, wanted: Wanted, reuse_port: bool) -> Opened:
        server = Server(self._handler(wanted.name), self._refuse, wanted.limits)
        secure = wanted.tls is not None
        context = None if wanted.tls is None else tls.of_listener(wanted.tls)
        old = next((o for o in self._open.values() if o.wanted.stands_at(wanted)), None)
        if old is not None:
            await server.join(old.server, context)
            return Opened(wanted, server, _again(old.url, secure), old.server)
        bound = await server.listen(wanted.host, wanted.port, reuse_port=reuse_port, tls=context)
        return Opened(wanted, server, url(bound[0], secure=secure))


def _wanted(config: schema.Config) -> Iterator[Wanted]:
    own = ((name, upstream.listen) for name, upstream in config.upstreams.items())
    limits = CallerLimits(
        header_size=config.limits.header_size, header_count=config.limits.header_count
    )
    for name, where in (("", config.listen), *own):
        if where is not None:
            files = tuple(config.files.get(file, "") for file in tls.files(where.tls))
            yield Wanted(name, where.host, where.port, where.tls, files, limits)


@contextmanager
def naming(host: str, port: int) -> Iterator[None]:
    """Let an address that cannot be had be named by who asked for it."""
    try:
        yield
    except OSError as error:
        place = host if host.startswith("unix:") else f"{host}:{port}"
        why = os.strerror(error.errno) if error.errno else "no such address"
        raise OSError(error.errno, f"cannot listen on {place}: {why}") from error


def url(address: Address, *, secure: bool = False) -> str:
    """Write an address as callers would."""
    if isinstance(address, str):
        return f"unix:{address}"
    host, port = address
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return f"https://{authority}" if secure else f"http://{authority}"


def _again(known: str, secure: bool) -> str:
    """Write a known address as callers would now."""
    scheme, slashes, rest = known.partition("://")
    return f"{'https' if secure else 'http'}://{rest}" if slashes else scheme
