"""The API under `/api/v1`: what `view` shows, and what `steering` does, over HTTP.

Rule 1: it adds nothing to what those two say. Rule 2: what cannot be answered is raised; `server`
makes the envelope of it.
`openapi` describes it; a test keeps the two together.
"""

import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from aiohttp import web

from proxy import errors
from proxy.admin import openapi, steering
from proxy.admin.view import Json, Upstream, View
from proxy.observe.history import Action

ROOT = "/api/v1"

BODY_LIMIT = 16 << 10


class Api:
    """The handlers; *about* is what the listener says of itself."""

    def __init__(self, view: View, about: Callable[[], Json]) -> None:
        self._view = view
        self._about = about

    def routes(self) -> Iterator[web.RouteDef]:
        """Give every route there is."""
        view = self._view
        for path, tell in {
            "/version": lambda: {**view.version(), **self._about()},
            "/upstreams": lambda: {"upstreams": view.upstreams(), "pools": view.pools()},
            "/breakers": lambda: {"breakers": view.breakers()},
            "/config": lambda: {"config": view.config()},
            "/transitions": lambda: {"transitions": view.transitions()},
            "/timeline": lambda: {"timeline": view.timeline()},
            "/failures": lambda: {"failures": view.failures()},
            "/openapi.json": openapi.document,
        }.items():
            yield web.get(ROOT + path, _telling(tell))
        yield web.get(ROOT + "/upstreams/{name}", self._one(view.upstream))
        yield web.get(ROOT + "/breakers/{name}", self._one(view.breaker))
        for action in steering.ACTIONS:
            yield web.post(ROOT + "/breakers/{name}/" + action, self._steering(action))

    def _one(
        self, tell: Callable[[str], Json | None]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            self._asked_for(request)
            return web.json_response(tell(request.match_info["name"]))

        return handle

    def _steering(self, action: Action) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            upstream, name = self._asked_for(request), request.match_info["name"]
            order = steering.read(action, await _json(request))
            by = request.remote or "unknown"
            steering.obey(order, name, upstream.breaker, self._view.history, by)
            return web.json_response(self._view.breaker(name))

        return handle

    def _asked_for(self, request: web.Request) -> Upstream:
        upstream = self._view.find(request.match_info["name"])
        if upstream is None:
            raise errors.RouteNotFoundError("there is no upstream of this name")
        return upstream


def _telling(tell: Callable[[], Json]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(_: web.Request) -> web.Response:
        return web.json_response(tell())

    return handle


async def _json(request: web.Request) -> Any:
    if request.content_type != "application/json":
        raise errors.ValidationError("the body must be application/json", status=415)
    try:
        return json.loads(await request.read())
    except (ValueError, RecursionError):
        raise errors.ValidationError("the body is not JSON") from None
