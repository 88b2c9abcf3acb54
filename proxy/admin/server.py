"""The admin listener: metrics, health, the status page, the API, and each error as the envelope.

Rule 1: it answers whatever the upstreams do; it never asks one.
Rule 2: who may change something is `guard`'s to say, before any page is looked for.
Rule 3: aiohttp has no words of its own here: they would quote what a caller sent.
"""

import asyncio
import contextlib
import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final

from aiohttp import web

from proxy import envelope, errors
from proxy.admin import api, assets, guard
from proxy.admin.live import Live
from proxy.admin.view import Json, View
from proxy.config import schema
from proxy.config.listening import AdminListener
from proxy.config.problem import ConfigError
from proxy.config.url import is_loopback
from proxy.errors import OctoLLMError
from proxy.observe import logs
from proxy.observe.metrics import Metrics

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

INDEX: Final = """\
octollm-proxy, admin listener

/metrics     for Prometheus, as text or OpenMetrics
/-/healthy   200 while the process lives
/-/ready     200 while it takes calls, 503 while it starts or drains
/-/reload    POST: take over the config file as it is now
"""

# A line costs some 8 µs to render: from here on a scrape would hold up the calls for too long.
MANY_LINES = 1_000

# A person reads the newest; the API has all.
TIMELINE_SHOWN = 100

# Seconds until a connection without a request, or with half a head, is closed: longer than from
# one scrape to the next.
IDLE = 75.0

# Seconds that the body of an order, which is a few words, may take.
BODY_PATIENCE = 10.0

# What we say is true for this moment only.
_CAREFUL: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

_UNHEARD = logging.getLogger("proxy.admin.unheard")
_UNHEARD.disabled = True


class Admin:
    """The admin pages. *ready* tells whether the data listeners take new calls.

    *reload* takes over the config file as it is now, or raises ConfigError; it gives the word for
    what came of it. Without it there is nothing to reload; without a *view* no page and no API.
    """

    def __init__(
        self,
        settings: AdminListener,
        metrics: Metrics,
        ready: Callable[[], bool],
        reload: Callable[[], Awaitable[str]] | None = None,
        view: View | None = None,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._ready = ready
        self._reload = reload
        self._view = view
        self.trust(settings.token)
        self._loopback = is_loopback(settings.host)
        self._lines = 0
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None

    def application(self) -> web.Application:
        """Build what answers; tests put it behind a server of their own."""
        application = web.Application(
            middlewares=[self._rescue, self._admit], client_max_size=api.BODY_LIMIT
        )
        application.on_response_prepare.append(_say_little)
        application.add_routes(
            [
                web.get("/metrics", self._render_metrics),
                web.get("/-/healthy", self._tell_healthy),
                web.get("/-/ready", self._tell_ready),
                web.post("/-/reload", self._take_over),
            ]
        )
        if self._view is None:
            application.router.add_get("/", self._index)
        else:
            self._show(application, self._view)
        return application

    def _show(self, application: web.Application, view: View) -> None:
        """Let the status page and the API be served, and the figures they show grow."""
        live = Live(lambda: self._topics(view))
        application.add_routes(assets.routes())
        application.add_routes(api.Api(view, self._about).routes())
        application.router.add_get(f"{api.ROOT}/live", live.handle, allow_head=False)
        # A stream is in nobody's way when the listener closes.
        application.on_shutdown.append(live.end)

        async def watching(_: web.Application) -> AsyncIterator[None]:
            watch = asyncio.get_running_loop().create_task(view.watch())
            yield
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch

        application.cleanup_ctx.append(watching)

    def _topics(self, view: View) -> Mapping[str, Any]:
        """Give all that the status page shows."""
        return {
            "state": {
                "now": view.now(),
                **view.version(),
                **self._about(),
                "upstreams": view.upstreams(),
                "pools": view.pools(),
            },
            "series": view.series(),
            "timeline": view.timeline()[:TIMELINE_SHOWN],
        }

    def _about(self) -> Json:
        """Tell whether calls are taken, and what a change needs: see `openapi`."""
        control = "free" if self._loopback else "token" if self._token else "none"
        return {"ready": self._ready(), "control": control}

    def trust(self, token: schema.Secret | None) -> None:
        """Ask for another token from now on."""
        self._token = token.get_secret_value() if token else None

    async def start(self) -> tuple[str, int]:
        """Open the listener, and give the address it got. Raises OSError where it is taken."""
        runner = web.AppRunner(self.application(), shutdown_timeout=1.0)
        await runner.setup()
        self._runner = runner
        site = runner.server
        assert site is not None
        # An odd Expect, say, is refused before any middleware is asked.
        site.request_handler = functools.partial(self._rescue, handler=site.request_handler)
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                functools.partial(_Connection, site, loop=loop),
                self._settings.host,
                self._settings.port,
            )
        except OSError:
            await self.stop()
            raise
        host, port = self._server.sockets[0].getsockname()[:2]
        return host, port

    async def stop(self) -> None:
        """Close the listener; a scrape under way gets a second or two to end."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @web.middleware
    async def _rescue(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except OctoLLMError as error:
            return _answer(request, error)
        except web.HTTPException as refused:
            return _answer(request, _named(refused), refused.headers.get("Allow"))
        except Exception as fault:  # noqa: BLE001 -- the one place where a fault of ours ends
            logs.get().critical(
                "request.failed",
                method=request.method,
                status=500,
                code="INTERNAL_ERROR",
                exc_info=fault,
            )
            return _answer(request, errors.InternalError("the admin listener failed"))

    @web.middleware
    async def _admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        headers = request.headers
        ask = guard.Ask(
            method=request.method,
            host=headers.get("Host"),
            origin=headers.get("Origin"),
            fetch_site=headers.get("Sec-Fetch-Site"),
            authorization=headers.get("Authorization"),
        )
        refusal = guard.refusal(ask, loopback=self._loopback, token=self._token)
        if refusal is not None:
            raise refusal
        await _read(request)
        return await handler(request)

    async def _index(self, _: web.Request) -> web.Response:
        return web.Response(text=INDEX)

    async def _render_metrics(self, request: web.Request) -> web.Response:
        accept = request.headers.get("Accept", "")
        if self._lines < MANY_LINES:
            body, content_type = self._metrics.render(accept)
        else:
            self._metrics.read_breakers()
            body, content_type = await asyncio.to_thread(self._metrics.expose, accept)
        self._lines = body.count(b"\n")
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _tell_healthy(self, _: web.Request) -> web.Response:
        return web.Response(text="healthy\n")

    async def _tell_ready(self, _: web.Request) -> web.Response:
        if not self._ready():
            raise errors.CapacityExceededError("no new calls are taken: starting or draining")
        return web.Response(text="ready\n")

    async def _take_over(self, _: web.Request) -> web.Response:
        if self._reload is None:
            raise errors.RouteNotFoundError("this proxy was not started from a file")
        try:
            result = await self._reload()
        except ConfigError as rejected:
            raise errors.ValidationErrors(
                [{"field": found.path, "message": str(found)} for found in rejected.problems]
            ) from None
        return web.json_response({"result": result})


class _Connection(web.RequestHandler):
    """A connection on which a head that cannot be read, too, is answered with the envelope."""

    __slots__ = ()

    def __init__(self, site: web.Server, *, loop: asyncio.AbstractEventLoop) -> None:
        # Our own log has the lines that matter: a scrape every 15 s is none of them, nor is a
        # body that breaks while nobody reads it.
        super().__init__(
            site, loop=loop, keepalive_timeout=IDLE, logger=_UNHEARD, access_log=_UNHEARD
        )

    def handle_error(self, request: web.BaseRequest, *_: Any, **__: Any) -> web.StreamResponse:
        """Refuse what the parser gave up on; every other fault ends in `Admin._rescue`."""
        response = _answer(request, errors.ValidationError("the request cannot be read"))
        # Without a Server of ours, aiohttp would name itself and its version.
        response.headers.update(_CAREFUL, Connection="close", Server=envelope.PROXY_NAME)
        return response


async def _read(request: web.Request) -> None:
    """Wait until the body, if there is one, is here; `request.read` then has it."""
    if not request.can_read_body:
        return
    try:
        async with asyncio.timeout(BODY_PATIENCE):
            await request.read()
    except TimeoutError:
        raise errors.ValidationError("the body did not come in time", status=408) from None
    except (web.RequestPayloadError, ConnectionError):
        raise errors.ValidationError("the body cannot be read") from None


def _answer(
    request: web.BaseRequest, error: OctoLLMError, allow: str | None = None
) -> web.Response:
    accept = request.headers.get("Accept", "").encode("utf-8", "surrogateescape")
    status, headers, body = envelope.render(error, accept=accept)
    response = web.Response(status=status, body=body)
    for name, value in headers:
        response.headers[name.decode()] = value.decode()
    if allow is not None:
        response.headers["Allow"] = allow
    if request.can_read_body:
        # Where a body is left unread the connection ends, and the caller should know.
        response.force_close()
    return response


def _named(refused: web.HTTPException) -> OctoLLMError:
    """Give what aiohttp refuses a name of ours: no such page, or not this method."""
    if refused.status == 404:
        return errors.RouteNotFoundError("there is no such page on the admin listener")
    if refused.status == 413:
        return errors.PayloadTooLargeError("the body is larger than anything that is wanted here")
    return errors.ValidationError(refused.reason, status=refused.status)


async def _say_little(_: web.Request, response: web.StreamResponse) -> None:
    # What we are built with is nobody's business.
    del response.headers["Server"]
    response.headers.update(_CAREFUL)
