"""The story of one request, from its head to its answer, in the order that the policies have.

    request limits ⊃ total deadline ⊃ cache ⊃ targets ⊃ guard ⊃ rate ⊃ retry ⊃ hedge ⊃
    throttle gate ⊃ place ⊃ breaker ⊃ attempt timeouts ⊃ send

A policy is a `with` block: what must be given back cannot be forgotten. Errors rise untouched to
`Gateway.handle`, the one place where they become an envelope.
"""

import asyncio
import re
from collections.abc import Coroutine, Mapping

from proxy import errors
from proxy.errors import OctoLLMError
from proxy.gateway import batch, caching, credentials, routing
from proxy.gateway.call import UNROUTED, Call
from proxy.gateway.destination import Destination
from proxy.gateway.refusal import refuse
from proxy.gateway.runtime import Runtime
from proxy.gateway.turns import Work
from proxy.policy.deadline import Deadline, wish
from proxy.wire import headers
from proxy.wire.message import Reply, Request

_SANE_ID = re.compile(rb"[\w\-.:+/=@]{1,128}", re.ASCII)


class Gateway:
    """Answers requests with what `runtime` holds; a reload replaces it under the next request."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.draining = False
        self._ending = False

    async def handle(self, request: Request, reply: Reply, only: str | None = None) -> None:
        """Answer one request; *only* is the upstream that a listener of its own serves."""
        runtime = self.runtime  # a request ends under the config it began with
        call = _begin(request, runtime)
        try:
            self._stay_open()
            status = await self._answer(call, runtime, reply, only)
        except OctoLLMError as error:
            refuse(call, error, reply, runtime.around.metrics, runtime.around.history)
        except asyncio.CancelledError:
            if not self._ending:
                call.left()
                raise
            # It is we who go: the caller is still there, to be told.
            refuse(call, _shutting_down(), reply, runtime.around.metrics, runtime.around.history)
        except Exception as crash:  # noqa: BLE001 -- the last rescue: an envelope or a cut, never silence
            refuse(call, _internal(crash), reply, runtime.around.metrics, runtime.around.history)
        else:
            call.completed(status)

    def _answer(
        self, call: Call, runtime: Runtime, reply: Reply, only: str | None
    ) -> Coroutine[None, None, int]:
        """Find out whose a request is; what is then awaited gives the status of its answer."""
        many = runtime.config.batch
        if many and only is None and routing.path_of(call.request.target) == batch.PATH:
            return batch.serve(call, runtime, many, reply, self.handle)
        destination, rest = _destination(call, runtime, only)
        return _serve(call, runtime, destination, rest, reply)

    def _stay_open(self) -> None:
        if self.draining:
            raise _shutting_down(sent=False)

    def end_streams(self) -> None:
        """Let every open event stream fail, so that its caller is told in the stream's own way."""
        for exchange in tuple(self.runtime.around.streams):
            exchange.fail(_shutting_down())

    def end_calls(self) -> None:
        """Take every call that is cancelled from here on for one that we end, and begin none."""
        self.draining = self._ending = True

    def malformed(self, error: OctoLLMError, reply: Reply) -> None:
        """Answer what could not be read as a request."""
        around = self.runtime.around
        nothing = Request("", "", (1, 1), (), None, "", around.clock())
        refuse(_begin(nothing, self.runtime), error, reply, around.metrics, around.history)


def _shutting_down(*, sent: bool = True) -> errors.CapacityExceededError:
    return errors.CapacityExceededError("this proxy is shutting down", retry_after=1, sent=sent)


def _internal(crash: Exception) -> errors.InternalError:
    error = errors.InternalError("an internal error occurred")
    error.__cause__ = crash
    return error


def _begin(request: Request, runtime: Runtime) -> Call:
    """Open the record of a request that has just arrived."""
    fields = headers.by_name(request.headers)
    brought = fields.get(b"x-request-id", b"")
    request_id = brought.decode() if _SANE_ID.fullmatch(brought) else runtime.request_id()
    tracing = runtime.around.tracing
    span = None if tracing is None else tracing.request(request)
    call = Call(request, fields, request_id, runtime.around.stopwatch, span)
    call.concerns(UNROUTED, runtime.unrouted, runtime.log)
    return call


def _destination(call: Call, runtime: Runtime, only: str | None) -> tuple[Destination, str]:
    """Find out where a request goes, as name and target there, and whether it may."""
    request, fields = call.request, call.fields
    if request.method in ("CONNECT", "TRACE"):
        # A tunnel would make us an open proxy; an echoed request would show our key to its caller.
        raise errors.ValidationError(f"{request.method} is not served here", status=501)
    if runtime.token:
        call.token_fields = credentials.require_token(fields, runtime.token)
    if only is None:
        name, rest = routing.locate(request.target)
    else:
        name, rest = only, routing.to_origin_form(request.target)
    destination = runtime.find(name, call)
    if destination.lends_key and (b"origin" in fields or b"sec-fetch-site" in fields):
        loopback = runtime.is_loopback(destination, only)
        credentials.refuse_other_origins(fields, loopback=loopback)
    if b"via" in fields and headers.loops(request.headers, runtime.via):
        raise errors.NetworkError("this proxy was asked to call itself", status=508)
    return destination, rest


async def _serve(
    call: Call, runtime: Runtime, destination: Destination, rest: str, reply: Reply
) -> int:
    """Give a request its policies, and see it through; gives the status of its answer."""
    request, fields = call.request, call.fields
    needed = fields.get(b"x-required-capabilities")
    path = routing.path_of(rest)
    targets = destination.targets(routing.capabilities(needed) if needed else (), call, path)
    upstream = targets[0].upstream
    plan = upstream.plan(request.method, path)
    deadline = Deadline(request.received, plan.timeouts.total, _wish(fields))
    if request.body is not None:
        request.body.idle = plan.timeouts.idle
    work = Work(call, runtime, destination, targets, plan, deadline, rest, path)
    with destination.metrics.in_flight:
        if plan.cache.ttl is None or not (
            destination.speaks_by(upstream) and caching.covers(plan.cache, request.method, path)
        ):
            return await work.ask(request.body, reply)
        return await caching.serve(
            call,
            runtime.cache(plan.cache),
            plan.cache,
            scope=destination.scope,
            rest=rest,
            limit=upstream.settings.replay_limit,
            memory=runtime.memory,
            deadline=deadline,
            reply=reply,
            ask=work.ask,
        )


def _wish(fields: Mapping[bytes, bytes]) -> float | None:
    own, sdk = fields.get(b"x-octollm-timeout"), fields.get(b"x-stainless-read-timeout")
    if own is None and sdk is None:
        return None
    return wish(
        None if own is None else own.decode("latin-1"),
        None if sdk is None else sdk.decode("latin-1"),
    )
