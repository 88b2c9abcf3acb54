"""The wiring, in one visible place: what listens, what it is given, how it changes and ends.

    data listeners ─> wire.Server ──> Gateway ──> Runtime ──> wire.Client of each upstream
    admin listener ─> admin.Admin ──> Metrics <── (everybody counts there)

Nothing here decides about a request.
"""

import asyncio
import gc
import os
import signal
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from functools import partial
from random import Random

import uvloop

import proxy
from proxy import errors
from proxy.admin.server import Admin
from proxy.config import schema, tls
from proxy.config.listening import AdminListener
from proxy.config.load import load
from proxy.config.problem import ConfigError, Problem
from proxy.config.providers import PROVIDERS
from proxy.gateway.forward import Gateway
from proxy.gateway.runtime import Runtime, Surroundings
from proxy.listeners import Listeners, naming, url
from proxy.observe import logs
from proxy.observe.metrics import Metrics
from proxy.watch import Watch
from proxy.wire.client import Client
from proxy.wire.server import Handle

EXIT_DRAINED = 0
EXIT_CUT_SHORT = 3
"""Calls were still in flight when the time to drain was over, or a second signal came."""

LAST_WORDS_SECONDS = 1.0
"""For what streams are told at the end of draining to reach their callers."""


class Proxy:
    """One process's listeners, from `start` to `stop`. Needs a running loop.

    *file* is what *config* was read from, and is read again by `reload`; without one there is
    nothing to reload.
    """

    def __init__(self, config: schema.Config, file: str | os.PathLike[str] | None = None) -> None:
        self.config = config
        self.file = None if file is None else os.fspath(file)
        self.metrics = Metrics()
        loop = asyncio.get_running_loop()
        self._around = Surroundings(
            clock=loop.time,
            wall=time.time,
            stopwatch=time.perf_counter,
            random=Random(),
            metrics=self.metrics,
            connect=_client,
        )
        self.gateway = Gateway(Runtime(config, self._around))
        self.metrics.watch(lambda: self.gateway.runtime.breakers())
        self.ready = False
        self.differs_since: float | None = None
        """Unix time since which the file has been one that cannot be used; None while it can."""
        self._rejected_files: frozenset[str] = frozenset()
        self._reloading = asyncio.Lock()
        self._watch = Watch(self._watched)
        self._tasks: set[asyncio.Task[None]] = set()
        self._admin = self._admin_for(config.admin)
        self._admin_address = ""
        self._listeners = Listeners(self._handler, self.gateway.malformed)

    @property
    def addresses(self) -> dict[str, str]:
        """Where each listener is: by upstream's name, "" for the one they share, and "admin"."""
        return {**self._listeners.addresses, "admin": self._admin_address}

    async def start(self) -> None:
        """Open every listener, or none: raises OSError that names the address."""
        try:
            self._listeners.adopt(await self._listeners.prepare(self.config))
            self._admin_address = await self._opened(self._admin, self.config.admin)
        except OSError:
            await self.stop()
            raise
        self.ready = True
        if self.file is not None:
            self._begin(self._follow())
        logs.get().info(
            "proxy.started",
            version=proxy.__version__,
            addresses=[url for name, url in self.addresses.items() if name != "admin"],
            admin_address=self.addresses["admin"],
            upstreams=list(self.config.upstreams),
        )

    async def reload(self) -> str:
        """Take over the file as it is now, and say `reloaded`, or `unchanged`.

        Calls in flight end under the config they began with. ConfigError has all that keeps the
        file from being used, and then nothing has changed. CapacityExceededError: we are draining.
        """
        assert self.file is not None, "started without a file"
        async with self._reloading:
            await self._watch.acknowledge()
            try:
                config = await asyncio.to_thread(load, self.file)
                same = config == self.config
                if not same:
                    await self._become(config)
            except ConfigError as error:
                self._reject(error)
                await self._watch.learn()
                raise
            self.differs_since = None
            self._rejected_files = frozenset()
            await self._watch.learn()
        return "unchanged" if same else "reloaded"

    def reload_soon(self) -> None:
        """Reload; what comes of it is in the log."""
        self._begin(self._try_to_reload())

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
        self._listeners.drain()
        if await self._listeners.closed(limit):
            return True
        self.gateway.end_streams()
        await self._listeners.closed(LAST_WORDS_SECONDS)
        return False

    async def stop(self) -> None:
        """End whatever is left, at once."""
        self.ready = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._listeners.drain()
        self._listeners.abort()
        await self.gateway.runtime.close()
        await self._admin.stop()

    async def _become(self, config: schema.Config) -> None:
        """Let *config* be in force, or raise ConfigError and have changed nothing."""
        assert self.file is not None
        moves = _place(config.admin) != _place(self.config.admin)
        async with AsyncExitStack() as undo:
            try:
                ready = await self._listeners.prepare(config)
                undo.callback(self._listeners.abandon, ready)
                if moves:
                    admin = self._admin_for(config.admin)
                    admin_address = await self._opened(admin, config.admin)
                    undo.push_async_callback(admin.stop)
                if config.log != self.config.log:
                    # Before the runtime, whose loggers keep the level they are made with.
                    undo.callback(logs.change, self.config.log.level, self.config.log.format)
                    logs.change(config.log.level, config.log.format)
                runtime = Runtime(config, self._around, self.gateway.runtime)
            except OSError as error:
                problem = Problem(self.file, 1, 1, "", error.strerror or "cannot be used")
                raise ConfigError((problem,), config.files) from error
            if not self.ready:
                raise errors.CapacityExceededError("this proxy is shutting down")
            undo.pop_all()
        # From here on nothing can fail, and nothing waits.
        self.config, previous = config, self.gateway.runtime
        runtime.take_over()
        self.gateway.runtime = runtime
        self._listeners.adopt(ready)
        previous.let_go(runtime)
        if moves:
            self._begin(self._admin.stop())
            self._admin, self._admin_address = admin, admin_address
        else:
            self._admin.trust(config.admin.token)
        self.metrics.reloaded("reloaded")
        logs.get().info("config.reloaded", file=self.file, upstreams=list(config.upstreams))
        tell_warnings(config, self.file)

    def _reject(self, error: ConfigError) -> None:
        self.differs_since = self.differs_since or self._around.wall()
        self._rejected_files = frozenset(error.files)
        self.metrics.reloaded("rejected")
        problems = [str(problem) for problem in error.problems]
        logs.get().error("config.rejected", file=self.file, problems=problems)

    async def _follow(self) -> None:
        while True:
            await self._watch.changed()
            await self._try_to_reload()

    async def _try_to_reload(self) -> None:
        try:
            await self.reload()
        except (ConfigError, errors.CapacityExceededError):
            pass  # told, or of no interest now
        except Exception as fault:  # noqa: BLE001 -- a fault of ours must not end the watching
            logs.get().critical("config.rejected", file=self.file, exc_info=fault)

    def _watched(self) -> set[str]:
        if self.file is None or not self.config.watch:
            return set()
        return {self.file, *self.config.files, *self._rejected_files}

    def _handler(self, name: str) -> Handle:
        return partial(self.gateway.handle, only=name) if name else self.gateway.handle

    def _admin_for(self, settings: AdminListener) -> Admin:
        reload = None if self.file is None else self.reload
        return Admin(settings, self.metrics, lambda: self.ready, reload)

    async def _opened(self, admin: Admin, where: AdminListener) -> str:
        with naming(where.host, where.port):
            return url(await admin.start())

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def tell_warnings(config: schema.Config, file: str) -> None:
    """Log what is valid in *config*, and probably not what was meant."""
    for warning in config.warnings:
        logs.get().warning("config.warning", file=file, problems=[str(warning)])


def _place(where: AdminListener) -> tuple[str, int]:
    return where.host, where.port


def _client(settings: schema.Upstream) -> Client:
    return Client(
        settings.url,
        connections=settings.limits.connections,
        pending=settings.limits.pending,
        keepalive=PROVIDERS[settings.provider].keepalive,
        egress=settings.egress,
        tls=tls.of_upstream(settings.tls) if settings.url.scheme == "https" else None,
        server_name=None if settings.tls is None else settings.tls.server_name,
    )


async def serve(config: schema.Config, file: str | os.PathLike[str]) -> int:
    """Run until SIGTERM or SIGINT, then drain; a second signal ends at once. Gives an exit code.

    SIGHUP reads *file* again.
    """
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    hurried = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: (hurried if told.is_set() else told).set())
    running = Proxy(config, file)
    loop.add_signal_handler(signal.SIGHUP, running.reload_soon)
    await running.start()
    # What is here now stays; requests leave no cycles behind, so looking for some can be rare.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    await told.wait()
    draining = loop.create_task(running.drain())
    hurry = loop.create_task(hurried.wait())
    await asyncio.wait((draining, hurry), return_when=asyncio.FIRST_COMPLETED)
    drained = draining.done() and draining.result()
    for task in (draining, hurry):
        task.cancel()
    await running.stop()
    logs.get().info("proxy.stopped")
    return EXIT_DRAINED if drained else EXIT_CUT_SHORT


def run(config: schema.Config, file: str | os.PathLike[str]) -> int:
    """Serve on uvloop until a signal comes. Raises OSError where an address is taken."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(serve(config, file))
