"""The wiring, in one visible place: what listens, what it is given, how it changes and ends.

    data listeners ─> wire.Server ──> Gateway ──> Runtime ──> wire.Client of each upstream
    admin listener ─> admin.Admin ──> Metrics <── (everybody counts there)

Nothing here decides about a request.
"""

import asyncio
import errno
import gc
import os
import signal
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from random import Random
from typing import TYPE_CHECKING

import uvloop

import proxy
from proxy import errors, notify
from proxy.admin.server import Admin
from proxy.admin.view import View
from proxy.cache.caches import Caches
from proxy.config import schema, tls
from proxy.config.listening import AdminListener
from proxy.config.load import load
from proxy.config.problem import ConfigError, Problem
from proxy.config.providers import PROVIDERS
from proxy.errors import CacheError
from proxy.gateway.forward import Gateway
from proxy.gateway.runtime import Runtime, Surroundings
from proxy.listeners import Listeners, naming, url
from proxy.observe import logs
from proxy.observe.history import History
from proxy.observe.metrics import Metrics
from proxy.observe.rejecting import Rejecting
from proxy.shared.sharing import Sharing
from proxy.watch import Watch
from proxy.wire.client import Client
from proxy.wire.server import Handle

if TYPE_CHECKING:  # who does not trace does not load it
    from proxy.observe.tracing import Tracing

EXIT_DRAINED = 0
EXIT_CUT_SHORT = 3
"""Calls were still in flight when the time to drain was over, or a second signal came."""

LAST_WORDS_SECONDS = 1.0
"""For what streams are told at the end of draining to reach their callers."""

FAREWELL_SECONDS = 0.1
"""For what all others are told at the very end: a packet each."""


class Proxy:
    """One process's listeners, from `start` to `stop`. Needs a running loop.

    *file* is what *config* was read from, and is read again by `reload`; without one there is
    nothing to reload. *admin_port* takes the place of the one that it says.
    """

    def __init__(
        self,
        config: schema.Config,
        file: str | os.PathLike[str] | None = None,
        admin_port: int | None = None,
    ) -> None:
        self._admin_port = admin_port
        self.config = config = self._own(config)
        self.file = None if file is None else os.fspath(file)
        self.metrics = Metrics()
        loop = asyncio.get_running_loop()
        self.history = History(self.metrics, loop.time, time.time)
        self._failing = Rejecting(logs.get(code=CacheError.error_code), "cache.failing")
        caches = Caches(loop.time, time.time, partial(_tell_of, self._failing, self.metrics))
        random = Random()
        self._sharing = Sharing(loop.time, random, self.metrics)
        self._around = Surroundings(
            clock=loop.time,
            wall=time.time,
            stopwatch=time.perf_counter,
            random=random,
            metrics=self.metrics,
            history=self.history,
            connect=_client,
            caches=caches,
            tracing=_tracing(config),
            moved=self._sharing.tell,
        )
        self.gateway = Gateway(Runtime(config, self._around))
        self.metrics.watch(lambda: self.gateway.runtime.breakers(), lambda: caches.used)
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
        self._share()
        if self.file is not None:
            self._begin(self._follow())
        logs.get().info(
            "proxy.started",
            version=proxy.__version__,
            upstreams=list(self.config.upstreams),
            **self._where(),
        )

    async def reload(self) -> str:
        """Take over the file as it is now, and say `reloaded`, or `unchanged`.

        Calls in flight end under the config they began with. ConfigError has all that keeps the
        file from being used, and then nothing has changed. CapacityExceededError: we are draining.
        """
        assert self.file is not None, "started without a file"
        async with self._reloading:
            with notify.reloading():
                return await self._take_over(self.file)

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
        self._listeners.retire()
        await asyncio.sleep(self.config.drain.delay)
        self.gateway.draining = True
        self._listeners.drain()
        if await self._listeners.closed(limit):
            return True
        self.gateway.end_streams()
        await self._listeners.closed(LAST_WORDS_SECONDS)
        return False

    async def stop(self, *, hurried: bool = False) -> None:
        """End whatever is left, at once; traces have a moment to be sent, if we are not hurried."""
        self.ready = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._listeners.drain()
        self.gateway.end_calls()
        await self._listeners.end(FAREWELL_SECONDS)
        await self._sharing.stop()
        await self.gateway.runtime.close()
        await self._around.caches.keep(())
        self._failing.stop()
        await self._admin.stop()
        if self._around.tracing is not None:
            patience = (0.0,) if hurried else ()
            await asyncio.to_thread(self._around.tracing.close, *patience)

    async def _take_over(self, file: str) -> str:
        await self._watch.acknowledge()
        try:
            config = self._own(await asyncio.to_thread(load, file))
            same = config == self.config
            if not same:
                await self._become(config)
        except ConfigError as error:
            self._reject(error)
            await self._watch.learn()
            raise
        if same and self.differs_since is not None:
            logs.get().info("config.restored", file=file)
        self.differs_since = None
        self.metrics.config_rejected_since = 0.0
        self._rejected_files = frozenset()
        await self._watch.learn()
        return "unchanged" if same else "reloaded"

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
                around = self._around
                if config.tracing != self.config.tracing:
                    tracing = await asyncio.to_thread(_tracing, config)
                    if tracing is not None:
                        undo.callback(tracing.close)
                    around = replace(around, tracing=tracing)
                runtime = Runtime(config, around, self.gateway.runtime)
            except OSError as error:
                problem = Problem(self.file, 1, 1, "", error.strerror or "cannot be used")
                raise ConfigError((problem,), config.files) from error
            if not self.ready:
                raise errors.CapacityExceededError("this proxy is shutting down")
            undo.pop_all()
        # From here on nothing can fail, and nothing waits.
        before = self._where()
        self.config, previous = config, self.gateway.runtime
        runtime.take_over()
        self.gateway.runtime = runtime
        self._listeners.adopt(ready)
        self._share()
        previous.let_go(runtime)
        if around.tracing is not self._around.tracing and self._around.tracing is not None:
            # Not a task: `stop` would cancel it, and its last spans were lost.
            asyncio.get_running_loop().run_in_executor(None, self._around.tracing.close)
        self._around = around
        self._begin(self._around.caches.keep(frozenset(runtime.caches())))
        if moves:
            self._begin(self._admin.stop())
            self._admin, self._admin_address = admin, admin_address
        else:
            self._admin.trust(config.admin.token)
        self.metrics.reloaded("reloaded")
        self.history.reloaded()
        moved = {key: place for key, place in self._where().items() if place != before[key]}
        upstreams = list(config.upstreams)
        logs.get().info("config.reloaded", file=self.file, upstreams=upstreams, **moved)
        tell_warnings(config, self.file)

    def _reject(self, error: ConfigError) -> None:
        self.differs_since = self.differs_since or self._around.wall()
        self.metrics.config_rejected_since = self.differs_since
        self._rejected_files = frozenset(error.files)
        self.metrics.reloaded("rejected")
        problems = [str(problem) for problem in error.problems]
        self.history.rejected(problems)
        logs.get().error("config.rejected", file=self.file, problems=problems)

    def _share(self) -> None:
        upstreams = self.gateway.runtime.upstreams.values()
        self._sharing.follow(self.config.shared, ((u.settings, u.breaker) for u in upstreams))

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

    def _where(self) -> dict[str, object]:
        """Say where the listeners are, as the log does."""
        data = list(self._listeners.addresses.values())
        return {"addresses": data, "admin_address": self._admin_address}

    def _own(self, config: schema.Config) -> schema.Config:
        """Give *config* with what holds for this process alone."""
        if self._admin_port is None:
            return config
        admin = config.admin.model_copy(update={"port": self._admin_port})
        return config.model_copy(update={"admin": admin})

    def _handler(self, name: str) -> Handle:
        return partial(self.gateway.handle, only=name) if name else self.gateway.handle

    def _admin_for(self, settings: AdminListener) -> Admin:
        reload = None if self.file is None else self.reload
        view = View(lambda: self.gateway.runtime, self.history, self.metrics)
        return Admin(settings, self.metrics, lambda: self.ready, reload, view)

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


def _tell_of(failing: Rejecting, metrics: Metrics, error: CacheError) -> None:
    """Count and log that a store of the cache has failed."""
    metrics.cache_failed()
    failing.add(error=error.message)


def _tracing(config: schema.Config) -> "Tracing | None":
    """Begin to trace, where that is switched on. Raises OSError that says what is in the way."""
    if not config.tracing.enabled:
        return None
    try:
        # OpenTelemetry takes its time to load: nobody waits for it who does not trace.
        from proxy.observe import tracing  # noqa: PLC0415

        return tracing.start()
    except ImportError as missing:
        text = "tracing needs OpenTelemetry: pip install 'octollm-proxy[tracing]'"
        raise OSError(errno.ENOPKG, text) from missing
    except ValueError as wrong:
        text = f"tracing: one of OpenTelemetry's environment variables cannot be used: {wrong}"
        raise OSError(errno.EINVAL, text) from wrong


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


async def serve(
    config: schema.Config, file: str | os.PathLike[str], admin_port: int | None = None
) -> int:
    """Run until SIGTERM or SIGINT, then drain; a second signal ends at once. Gives an exit code.

    SIGHUP reads *file* again.
    """
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    hurried = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: (hurried if told.is_set() else told).set())
    running = Proxy(config, file, admin_port)
    loop.add_signal_handler(signal.SIGHUP, running.reload_soon)
    await running.start()
    # What is here now stays; requests leave no cycles behind, so looking for some can be rare.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    notify.ready()
    await told.wait()
    notify.stopping()
    draining = loop.create_task(running.drain())
    hurry = loop.create_task(hurried.wait())
    await asyncio.wait((draining, hurry), return_when=asyncio.FIRST_COMPLETED)
    drained = draining.done() and draining.result()
    for task in (draining, hurry):
        task.cancel()
    await running.stop(hurried=hurried.is_set())
    logs.get().info("proxy.stopped")
    return EXIT_DRAINED if drained else EXIT_CUT_SHORT


def run(config: schema.Config, file: str | os.PathLike[str], admin_port: int | None = None) -> int:
    """Serve on uvloop until a signal comes. Raises OSError where an address is taken."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(serve(config, file, admin_port))
