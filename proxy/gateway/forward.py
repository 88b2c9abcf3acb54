"""The story of one request, from its head to its answer, in the order that the policies have.

    request limits ⊃ total deadline ⊃ retry ⊃ breaker ⊃ attempt timeouts ⊃ send

A policy is a `with` block: what must be given back cannot be forgotten. Errors rise untouched to
`Gateway.handle`, the one place where they become an envelope.
"""

import asyncio
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

from proxy import errors
from proxy.errors import OctoLLMError
from proxy.gateway import credentials, routing
from proxy.gateway.call import UNROUTED, Call
from proxy.gateway.errand import Errand
from proxy.gateway.refusal import refuse
from proxy.gateway.runtime import Runtime
from proxy.gateway.upstream import Upstream
from proxy.policy.deadline import Deadline, wish
from proxy.wire import headers
from proxy.wire.body import Memory, Replay
from proxy.wire.message import Body, Reply, Request

_SANE_ID = re.compile(rb"[\w\-.:+/=@]{1,128}", re.ASCII)

_NO_BODY: AbstractContextManager[None] = nullcontext()


class Gateway:
    """Answers requests with what `runtime` holds; a reload replaces it under the next request."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.draining = False

    async def handle(self, request: Request, reply: Reply, only: str | None = None) -> None:
        """Answer one request; *only* is the upstream that a listener of its own serves."""
        runtime = self.runtime  # a request ends under the config it began with
        call = _begin(request, runtime)
        try:
            self._stay_open()
            upstream, rest = _destination(call, runtime, only)
            with upstream.metrics.in_flight:
                status = await _serve(call, runtime, upstream, rest, reply)
        except OctoLLMError as error:
            refuse(call, error, reply, runtime.around.metrics)
        except asyncio.CancelledError:
            call.left()
            raise
        except Exception as crash:  # noqa: BLE001 -- the last rescue: an envelope or a cut, never silence
            refuse(call, _internal(crash), reply, runtime.around.metrics)
        else:
            call.completed(status)

    def _stay_open(self) -> None:
        if self.draining:
            raise _shutting_down()

    def end_streams(self) -> None:
        """Let every open event stream fail, so that its caller is told in the stream's own way."""
        for exchange in tuple(self.runtime.around.streams):
            exchange.fail(_shutting_down())

    def malformed(self, error: OctoLLMError, reply: Reply) -> None:
        """Answer what could not be read as a request."""
        around = self.runtime.around
        nothing = Request("", "", (1, 1), (), None, "", around.clock())
        refuse(_begin(nothing, self.runtime), error, reply, around.metrics)


def _shutting_down() -> errors.CapacityExceededError:
    return errors.CapacityExceededError("this proxy is shutting down", retry_after=1)


def _internal(crash: Exception) -> errors.InternalError:
    error = errors.InternalError("an internal error occurred")
    error.__cause__ = crash
    return error


def _begin(request: Request, runtime: Runtime) -> Call:
    """Open the record of a request that has just arrived."""
    fields = headers.by_name(request.headers)
    brought = fields.get(b"x-request-id", b"")
    request_id = brought.decode() if _SANE_ID.fullmatch(brought) else runtime.request_id()
    call = Call(request, fields, request_id, runtime.around.stopwatch)
    call.concerns(UNROUTED, runtime.unrouted, runtime.log)
    return call


def _destination(call: Call, runtime: Runtime, only: str | None) -> tuple[Upstream, str]:
    """Find out where a request goes, as upstream and target there, and whether it may."""
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
    upstream = runtime.find(name, call)
    if upstream.origin.our_credential:
        if b"origin" in fields or b"sec-fetch-site" in fields:
            loopback = runtime.is_loopback(upstream, only)
            credentials.refuse_other_origins(fields, loopback=loopback)
        rest = credentials.without_key(rest)
    if b"via" in fields and headers.loops(request.headers, runtime.via):
        raise errors.NetworkError("this proxy was asked to call itself", status=508)
    return upstream, rest


async def _serve(call: Call, runtime: Runtime, upstream: Upstream, rest: str, reply: Reply) -> int:
    """Give a request its policies, and see it through; gives the status of its answer."""
    request, fields = call.request, call.fields
    path = routing.path_of(rest)
    plan = upstream.plan(request.method, path)
    deadline = Deadline(request.received, plan.timeouts.total, _wish(fields))
    upstream.budget.deposit()
    if request.body is not None:
        request.body.idle = plan.timeouts.idle
    with _kept(request.body, upstream.settings.replay_limit, runtime.memory) as body:
        return await Errand(
            call=call,
            runtime=runtime,
            upstream=upstream,
            plan=plan,
            deadline=deadline,
            path=path,
            target=routing.join(upstream.base_path, rest),
            body=body,
            reply=reply,
        ).run()


def _kept(body: Body | None, limit: int, memory: Memory) -> AbstractContextManager[Replay | None]:
    """Keep a body for other attempts while it streams; no body needs no keeping."""
    return _NO_BODY if body is None else Replay(body, limit, memory)


def _wish(fields: Mapping[bytes, bytes]) -> float | None:
    own, sdk = fields.get(b"x-octollm-timeout"), fields.get(b"x-stainless-read-timeout")
    if own is None and sdk is None:
        return None
    return wish(
        None if own is None else own.decode("latin-1"),
        None if sdk is None else sdk.decode("latin-1"),
    )
