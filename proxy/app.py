"""The wiring, in one visible place: what listens, what it is given, and how it all ends.

data listener ──> wire.Server ──> Gateway ──> Runtime ──> wire.Client of each upstream
admin listener ─> admin.Admin ──> Metrics <── (everybody counts there)
"""

import asyncio
import signal
import time
from functools import partial
from random import Random

import uvloop

import proxy
from proxy.admin.server import Admin
from proxy.config import schema
from proxy.config.providers import PROVIDERS
from proxy.gateway.forward import Gateway
from proxy.gateway.runtime import Runtime, Surroundings
from proxy.observe import logs
from proxy.observe.metrics import Metrics
from proxy.wire.caller import CallerLimits
from proxy.wire.client import Client
from proxy.wire.server import Handle, Server

EXIT_DRAINED = 0
EXIT_CUT_SHORT = 3
"""Calls were still in flight when the time to drain was over, or a second signal came."""


class Proxy:
    """One process's listeners, from `start` to `stop`. Needs a running loop."""

    def __init__(self, config: schema.Config) -> None:
        self.config = config
        self.metrics = Metrics()
        loop = asyncio.get_running_loop()
        around = Surroundings(
            clock=loop.time,
            wall=time.time,
            stopwatch=time.perf_counter,
            random=Random(),
            metrics=self.metrics,
            connect=_client,
        )
        self.gateway = Gateway(Runtime(config, around))
        self.metrics.watch(lambda: self.gateway.runtime.breakers())
        self.ready = False
        self._admin = Admin(config.admin, self.metrics, lambda: self.ready)
        self._servers: list[Server] = []
        self.addresses: dict[str, str] = {}
        """Where each listener is: by upstream's name, "" for the one they share, and "admin"."""

    async def start(self) -> None:
        """Open every listener, or none: raises OSError that names the address."""
        shared = self.config.listen
        try:
            await self._listen("", shared.host, shared.port, self.gateway.handle)
            for name, upstream in self.config.upstreams.items():
                if upstream.listen is not None:
                    handle = partial(self.gateway.handle, only=name)
                    await self._listen(name, upstream.listen.host, upstream.listen.port, handle)
            host, port = await self._admin.start()
        except OSError:
            await self.stop()
            raise
        self.addresses["admin"] = _url(host, port)
        self.ready = True
        logs.get().info(
            "proxy.started",
            version=proxy.__version__,
            addresses=[url for name, url in self.addresses.items() if name != "admin"],
            admin_address=self.addresses["admin"],
            upstreams=list(self.config.upstreams),
        )

    async def drain(self) -> bool:
        """Let what is in flight end; tells whether all of it did, in the time there is."""
        self.ready = False
        limit = self.config.drain.timeout
        logs.get().info(
            "proxy.draining",
            in_flight=self.gateway.runtime.in_flight(),
            timeout_ms=round(limit * 1000),
        )
        await asyncio.sleep(self.config.drain.delay)
        self.gateway.draining = True
        for server in self._servers:
            server.drain()
        ended = await asyncio.gather(*(server.closed(limit) for server in self._servers))
        return all(ended)

    async def stop(self) -> None:
        """End whatever is left, at once."""
        self.ready = False
        for server in self._servers:
            server.drain()
            server.abort()
        await self.gateway.runtime.close()
        await self._admin.stop()
        logs.get().info("proxy.stopped")

    async def _listen(self, name: str, host: str, port: int, handle: Handle) -> None:
        limits = self.config.limits
        server = Server(
            handle,
            self.gateway.malformed,
            CallerLimits(header_size=limits.header_size, header_count=limits.header_count),
        )
        self._servers.append(server)
        try:
            bound = await server.listen(host, port)
        except OSError as error:
            raise OSError(
                error.errno, f"cannot listen on {host}:{port}: {error.strerror}"
            ) from error
        self.addresses[name] = _url(*bound[0])


def _client(settings: schema.Upstream) -> Client:
    return Client(
        settings.url,
        connections=settings.limits.connections,
        pending=settings.limits.pending,
        keepalive=PROVIDERS[settings.provider].keepalive,
        egress=settings.egress,
    )


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def serve(config: schema.Config) -> int:
    """Run until SIGTERM or SIGINT, then drain; a second signal ends at once. Gives an exit code."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    hurried = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: (hurried if told.is_set() else told).set())
    running = Proxy(config)
    await running.start()
    await told.wait()
    draining = loop.create_task(running.drain())
    hurry = loop.create_task(hurried.wait())
    await asyncio.wait((draining, hurry), return_when=asyncio.FIRST_COMPLETED)
    drained = draining.done() and draining.result()
    for task in (draining, hurry):
        task.cancel()
    await running.stop()
    return EXIT_DRAINED if drained else EXIT_CUT_SHORT


def run(config: schema.Config) -> int:
    """Serve on uvloop until a signal comes. Raises OSError where an address is taken."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(serve(config))
