"""Many requests in one: each is served like any other, and their answers come back together.

A batch is a request too, counted and logged under no upstream; its items pass `Gateway.handle`, so
that every policy, metric and line of log holds for them. Nothing here chooses an upstream or
repeats a call.
Rule: an item's failure is its own. Only the caller who leaves ends the rest.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from proxy import envelope, errors
from proxy.config import schema
from proxy.errors import OctoLLMError
from proxy.gateway import answers, collected, credentials, items
from proxy.gateway.call import Call
from proxy.gateway.collected import Collected
from proxy.gateway.items import Asked, Item
from proxy.gateway.refusal import identity
from proxy.gateway.relay import let_the_caller_read
from proxy.gateway.runtime import Runtime
from proxy.policy.deadline import Deadline, wish
from proxy.semantics import waits
from proxy.wire import headers
from proxy.wire.body import Memory, Whole
from proxy.wire.headers import by_name
from proxy.wire.message import Reply, Request

PATH = "/-/batch"

Handle = Callable[[Request, Reply], Awaitable[None]]
"""How one request is answered."""

_JSON_LINES = frozenset((b"application/jsonl", b"application/x-ndjson"))

_INHERITED = credentials.CALLERS_OWN | {b"proxy-authorization"}
"""The fields an item has from its batch, unless it brings its own."""

_UNKNOWN = answers.Origin("http", "generic", our_credential=False)
"""Who answered, where a reload has taken it away since."""

_ID_LIMIT = 120
"""As much of a batch's id begins those of its items: with a number behind it, it is still sane."""


async def serve(
    call: Call, runtime: Runtime, settings: schema.Batch, reply: Reply, handle: Handle
) -> int:
    """Answer a batch, its items by *handle*; gives the status of its answer."""
    media_type = _admit(call, runtime)
    lines = media_type in _JSON_LINES
    if b"expect" in call.fields:
        reply.interim(100, ())
    text = await _read(call, settings.size)
    query = call.request.target.partition("?")[2]
    asked = items.read(text, query, settings, runtime.config.limits, lines=lines)
    del text  # what is needed of it is in the items
    batch = Batch(call, runtime, asked, Memory(settings.size), handle)
    with call.metrics.in_flight:
        if lines:
            await batch.stream(reply, media_type)
        else:
            await batch.collect(reply)
    return 200


def _admit(call: Call, runtime: Runtime) -> bytes:
    """Refuse what is no batch, or may not ask for one; gives its media type."""
    request, fields = call.request, call.fields
    if runtime.token:
        credentials.require_token(fields, runtime.token)
    if b"via" in fields and headers.loops(request.headers, runtime.via):
        raise errors.NetworkError("this proxy was asked to call itself", status=508)
    if request.method != "POST":
        raise errors.ValidationError("a batch is asked for by POST", field="method")
    media_type = fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if media_type != envelope.JSON and media_type not in _JSON_LINES:
        raise errors.ValidationError(
            "a batch is application/json, application/jsonl or application/x-ndjson",
            field="Content-Type",
        )
    if b"content-encoding" in fields:
        raise errors.ValidationError("a batch is not compressed", field="Content-Encoding")
    return media_type


async def _read(call: Call, limit: int) -> bytearray:
    """Read the whole body. Raises PayloadTooLargeError beyond *limit* bytes."""
    body, text = call.request.body, bytearray()
    began = call.stopwatch()
    try:
        while body is not None and len(text) <= limit and (data := await body.read()):
            text += data
    finally:
        call.elsewhere += call.stopwatch() - began
    if len(text) > limit:
        raise errors.PayloadTooLargeError(
            f"the batch is larger than batch.size, which is {limit} bytes"
        )
    return text


@dataclass(slots=True)
class Result:
    """What became of an item, as JSON on one line; *taken* is what it has of the batch's memory."""

    good: bool
    text: bytes
    taken: int = 0


class Batch:
    """The items of one batch on their way. Their answers together take from *memory*."""

    def __init__(
        self, call: Call, runtime: Runtime, asked: Asked, memory: Memory, handle: Handle
    ) -> None:
        self._call = call
        self._runtime = runtime
        self._memory = memory
        self._handle = handle
        self._waiting = deque(enumerate(asked.items))
        self._workers = min(asked.concurrency, len(asked.items))
        own = call.fields.get(b"x-octollm-timeout")
        caller = wish(None if own is None else own.decode("latin-1"), None)
        self._deadline = Deadline(call.request.received, asked.deadline, caller)
        self._inherited = [
            pair
            for pair in call.request.headers
            if (name := pair[0].lower()) in items.BATCHS_OWN or name in _INHERITED
        ]
        if call.span is not None:
            self._inherited = call.span.onto(self._inherited)

    async def collect(self, reply: Reply) -> None:
        """Answer with one object when all is done; the items stand as they were asked for."""
        call = self._call
        results: dict[int, Result] = {}

        async def keep(n: int, result: Result) -> None:
            results[n] = result

        call.phase = "waiting"
        await self._run(keep)
        reply.start(200, [(b"Content-Type", envelope.JSON), *identity(call)], None)
        call.phase, call.told = "response", "body"
        for piece in _document([results[n] for n in sorted(results)]):
            reply.write(piece)
            if reply.congested:
                await let_the_caller_read(call, reply)
        reply.finish()

    async def stream(self, reply: Reply, media_type: bytes) -> None:
        """Answer with a line for each item, as soon as it is done."""
        call = self._call
        turn = asyncio.Lock()

        async def tell(_: int, result: Result) -> None:
            # One at a time waits for a slow caller; the others wait for their turn, and nobody
            # asks for more meanwhile.
            async with turn:
                reply.write(result.text + b"\n")
                if reply.congested:
                    await reply.drain()
            self._memory.give(result.taken)

        reply.start(200, [(b"Content-Type", media_type), *identity(call)], None)
        reply.flush()
        call.phase, call.told = "response", "body"
        await self._run(tell)
        reply.finish()

    async def _run(self, tell: Callable[[int, Result], Awaitable[None]]) -> None:
        """Have every item done, so many at a time; who is cancelled cancels them all."""
        began = self._call.stopwatch()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._workers):
                    group.create_task(self._work(tell))
        finally:
            # What each item costs us is counted with the item.
            self._call.elsewhere += self._call.stopwatch() - began

    async def _work(self, tell: Callable[[int, Result], Awaitable[None]]) -> None:
        while self._waiting:
            n, item = self._waiting.popleft()
            await tell(n, await self._done(n, item))

    async def _done(self, n: int, item: Item) -> Result:
        """Have one item done, whatever comes of it."""
        answer = Collected(self._memory)
        try:
            await self._answer(self._request(n, item), answer)
            result = self._told(item, answer)
        except OctoLLMError as error:
            result = self._failed(n, item, error)
        finally:
            answer.clear()
        if not self._memory.take(len(result.text)):
            return self._failed(n, item, collected.too_large())
        result.taken = len(result.text)
        return result

    async def _answer(self, request: Request, answer: Collected) -> None:
        """Have a request answered within the batch's deadline; raises TimeoutError past it."""
        if self._deadline.remaining(self._runtime.around.clock()) == 0:
            raise self._late()
        try:
            async with asyncio.timeout_at(self._deadline.at):
                await self._handle(request, answer)
        except TimeoutError:
            raise self._late() from None

    def _late(self) -> errors.TimeoutError:
        at, began = self._deadline.at, self._deadline.began
        assert at is not None  # without a deadline nobody is late
        return errors.TimeoutError("the batch", at - began)

    def _request(self, n: int, item: Item) -> Request:
        """Make an item the request that its batch's caller could have sent by itself."""
        brought = {name.lower() for name, _ in item.headers}
        fields = [pair for pair in self._inherited if pair[0].lower() not in brought]
        if b"x-request-id" not in brought:
            fields.append((b"X-Request-ID", self._id(n).encode()))
        request = self._call.request
        return Request(
            item.method,
            item.path,
            request.version,
            [*fields, *item.headers],
            None if item.body is None else ItemBody(item.body),
            request.peer,
            self._runtime.around.clock(),
            request.secure,
        )

    def _id(self, n: int) -> str:
        return f"{self._call.request_id[:_ID_LIMIT]}.{n}"

    def _failed(self, n: int, item: Item, error: OctoLLMError) -> Result:
        """Tell what went wrong with an item outside of its own request."""
        error.details["request_id"] = self._id(n)
        return Result(good=False, text=collected.failure(item.id, error))

    def _told(self, item: Item, answer: Collected) -> Result:
        if answer.status < 400:
            return Result(good=True, text=collected.success(item.id, answer))
        text = collected.relayed_failure(item.id, answer)
        if text is None:
            text = collected.foreign_failure(item.id, answer, self._meaning(answer))
        return Result(good=False, text=text)

    def _meaning(self, answer: Collected) -> OctoLLMError:
        """Give the error that a passed answer stands for: a batch tells a failure as one."""
        fields = by_name(answer.headers)
        name = fields.get(b"x-octollm-upstream", b"").decode("latin-1")
        upstream = self._runtime.upstreams.get(name)
        origin = upstream.origin if upstream else _UNKNOWN
        asked = waits.asked(answer.status, fields, self._runtime.around.wall())
        return answers.translate(answer.status, fields, answer.body, origin, asked)


class ItemBody(Whole):
    """The body of an item, which has been read, and so never idles."""

    __slots__ = ("idle",)

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.idle: float | None = None


def _document(results: list[Result]) -> Iterator[bytes]:
    """Write the answer of a batch, piece by piece."""
    for opening, good in ((b'{"successes":[', True), (b'],"failures":[', False)):
        yield opening
        comma = b""
        for result in results:
            if result.good is good:
                yield comma + result.text
                comma = b","
    yield b"]}"
