"""A request that the cache is for: its answer from there, or through it.

What is kept, and for whom, is `cache`'s to say. Here stands only what a request is to the cache,
and where its body comes from.
"""

import asyncio
from collections.abc import Awaitable, Callable

from proxy import errors
from proxy.cache import rules
from proxy.cache.cache import Answered, Cache, Question, Served
from proxy.config import schema
from proxy.gateway import credentials
from proxy.gateway.call import Call
from proxy.gateway.refusal import identity
from proxy.policy.deadline import Deadline
from proxy.semantics import requests
from proxy.wire.body import Memory, Whole
from proxy.wire.message import Body, Reply

Ask = Callable[[Body | None, Reply], Awaitable[int]]


def covers(settings: schema.Cache, method: str, path: str) -> bool:
    """Tell whether answers to such requests are kept at all."""
    if settings.ttl is None:
        return False
    if not settings.match:
        return method in settings.methods
    return any(
        requests.serves(match, method, path)
        and (match.methods is not None or method in settings.methods)
        for match in settings.match
    )


async def serve(
    call: Call,
    cache: Cache,
    settings: schema.Cache,
    *,
    scope: bytes,
    rest: str,
    limit: int,
    memory: Memory,
    deadline: Deadline,
    reply: Reply,
    ask: Ask,
) -> int:
    """Answer a request from *cache*, or let *ask* do it and keep what it says.

    *ask* may outlive the caller, as long as others wait for the same answer. A body of at most
    *limit* bytes is read, as far as there is *memory*.
    """
    accepted_age = rules.accepted_age(call.request.headers)
    size = _size(call.request.body, limit)
    if accepted_age is None or size is None or not memory.take(size):
        call.metrics.cached("bypass")
        return await ask(call.request.body, reply)
    try:
        data = await _whole(call, deadline)
        key, without = _key(call, settings, scope, rest, data)
        question = Question(key, accepted_age, without, settings, deadline.at)
        served = cache.find(question) or await _fetched(
            call, cache, question, data=data, reply=reply, ask=ask
        )
    finally:
        memory.give(size)
    call.metrics.cached(served.result)
    if isinstance(served, Answered):
        return served.status
    entry = served.entry
    reply.send(entry.status, served.head() + identity(call), entry.body)
    return entry.status


def _size(body: Body | None, limit: int) -> int | None:
    """Give the length of a body; None where it is too long to be read, or nobody knows it."""
    if body is None:
        return 0
    return body.length if body.length is not None and body.length <= limit else None


def _key(
    call: Call, settings: schema.Cache, scope: bytes, rest: str, data: bytes
) -> tuple[bytes, frozenset[bytes]]:
    """Give the key of what is asked, and the names of the fields that do not count in it."""
    request, without = call.request, call.token_fields
    if settings.shared:
        rest, without = credentials.without_key(rest), without | credentials.CALLERS_OWN
    key = rules.key(scope, request.method, rest, request.headers, body=data, without=without)
    return key, without


async def _fetched(
    call: Call, cache: Cache, question: Question, *, data: bytes, reply: Reply, ask: Ask
) -> Served | Answered:
    """Have *ask* give what is not here, unless others have asked already."""
    began, bodiless = call.stopwatch(), call.request.body is None
    asked: float | None = None

    def fetch(reply: Reply) -> Awaitable[int]:
        nonlocal asked
        asked = call.stopwatch()
        return ask(None if bodiless else Whole(data), reply)

    try:
        return await cache.answer(question, reply, fetch)
    finally:
        # Until we ask ourselves, if we ever do, others are waited for, whatever comes of it.
        call.elsewhere += (call.stopwatch() if asked is None else asked) - began


async def _whole(call: Call, deadline: Deadline) -> bytes:
    """Read a body to its end: nothing else says whether two questions are the same."""
    body, data, began = call.request.body, bytearray(), call.stopwatch()
    try:
        async with asyncio.timeout_at(deadline.at):
            while body is not None and (chunk := await body.read()):
                data += chunk
    except TimeoutError:
        raise errors.TimeoutError("the call", (deadline.at or 0) - deadline.began) from None
    finally:
        call.elsewhere += call.stopwatch() - began
    return bytes(data)
