"""Both protocol classes fed with any bytes at all, on transports that are none.

Each input is one run: a byte that says how its bytes come and what is done with them, a byte for
the size of the pieces, and the bytes. `make test` runs the seeds; `search.py` looks for more.

What must hold, whatever comes: nothing raises but errors of ours, no task and no connection is left
behind, each request gets at most one answer and no answer is anybody else's, what we say when we
refuse are words of our own, and a request is what a strict reader takes it for.
"""

import ast
import asyncio
import contextlib
from pathlib import Path
from typing import Any

from exactness.answering import all_bytes as answered
from exactness.asking import all_bytes as asked
from exactness.readers import Asked, answers, requests_in

from proxy import errors
from proxy.config.url import Url
from proxy.testing.request import Malformed
from proxy.wire import caller, framing
from proxy.wire.client import Client
from proxy.wire.message import Limits, Outgoing
from proxy.wire.origin import Origin
from proxy.wire.pool import Pool
from proxy.wire.server import Server

SEEDS = Path(__file__).parent / "seeds"
NEXT = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Next: yes\r\n\r\nnext"

_TICKS = 12

UNREAD, CHUNKED, HALF_CLOSED = 1, 2, 4


def _words(*modules: Any) -> set[str]:
    """Every literal text in the source of *modules*."""
    trees = [ast.parse(Path(module.__file__).read_text()) for module in modules]
    return {
        node.value
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


OUR_WORDS = _words(caller, framing)


class Wire(asyncio.Transport):
    """A transport with nothing at its other end: it keeps what is written."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self.protocol = protocol
        self.written = bytearray()
        self.paused = self.closing = False
        protocol.connection_made(self)

    def write(self, data: Any) -> None:
        assert not self.closing
        self.written += data

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            self._loop.call_soon(self.protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        pass

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    async def feed(self, data: bytes, size: int) -> None:
        """Deliver *data* in pieces of *size*, as long as anybody wants them."""
        for start in range(0, len(data), size):
            for _ in range(_TICKS):
                if self.paused:
                    await asyncio.sleep(0)
            if self.closing or self.paused:
                return
            self.protocol.data_received(data[start : start + size])
            await asyncio.sleep(0)

    async def end(self) -> None:
        """End it from the other side, and give everybody time to notice."""
        if not self.closing and not self.protocol.eof_received():
            self.close()
        for _ in range(_TICKS):
            await asyncio.sleep(0)


def run(target: Any, data: bytes) -> None:
    """Run one input, and raise what went wrong, in a callback or a task just as well."""
    if len(data) < 3:
        return
    faults: list[Any] = []
    with asyncio.Runner() as runner:
        runner.get_loop().set_exception_handler(lambda _, context: faults.append(context))
        runner.run(target(data[0], data[1] or len(data), data[2:]))
    assert not faults, faults


async def feed_caller(behaviour: int, size: int, raw: bytes) -> None:
    handled: list[Asked] = []
    methods: list[str] = []

    async def handle(request: Any, reply: Any) -> None:
        body = b""
        methods.append(request.method)
        try:
            while not behaviour & UNREAD and request.body is not None:
                if not (chunk := await request.body.read()):
                    break
                body += chunk
        except errors.ValidationError as error:
            refuse(error, reply)
            return
        handled.append(Asked(request.method, request.target, body))
        if behaviour & CHUNKED:
            reply.start(200, [], None)
            reply.write(b"ok")
            reply.finish()
        else:
            reply.send(200, [], b"ok")

    def refuse(error: errors.OctoLLMError, reply: Any) -> None:
        assert error.message in OUR_WORDS, error.message
        reply.send(error.status, [], b"refused")

    server = Server(handle, refuse, caller.CallerLimits(header_size=4096, header_count=64))
    wire = Wire(server._connect())
    await wire.feed(raw, size)
    for _ in range(_TICKS):
        await asyncio.sleep(0)
    if behaviour & HALF_CLOSED:
        await wire.end()
    wire.close()
    for _ in range(_TICKS):
        await asyncio.sleep(0)

    assert server.connections == 0
    assert len(asyncio.all_tasks()) == 1
    told = answers(bytes(wire.written), *methods)
    assert len(told) <= len(methods) + 1
    assert {each.body for each in told} <= {b"ok", b"refused", b""}
    assert [each.status for each in told[:-1]] == [200] * len(told[:-1])
    strictly: list[Asked] = []
    with contextlib.suppress(Malformed):
        async for request in requests_in(raw, None):
            strictly.append(request)  # noqa: PERF401 -- those before a malformed one count
    for ours, theirs in zip(handled, strictly, strict=False):
        if ours.method == "CONNECT":  # what follows it is not HTTP to us; the gateway refuses it
            break
        assert ours[:2] == theirs[:2]
        assert behaviour & UNREAD or ours.body == theirs.body


async def feed_origin(behaviour: int, size: int, raw: bytes) -> None:
    method = ("GET", "HEAD", "POST")[behaviour // 8 % 3]
    wires: list[Wire] = []
    conditions: list[object] = []

    async def dial(gone: Any, _: float | None) -> Origin:
        wires.append(Wire(Origin(gone)))
        return wires[-1].protocol  # type: ignore[return-value]

    client = Client(Url(scheme="http", host="x", port=80, path=""))
    client.pool = Pool(dial, limit=1, pending=1, keepalive=15)

    async def ask(method: str) -> tuple[int, list[Any], bytes] | None:
        interim: list[int] = []
        try:
            with await client.exchange(
                Outgoing(method, "/", [(b"Host", b"x")], None),
                Limits(),
                lambda status, _: interim.append(status),
            ) as exchange:
                body = b""
                while not behaviour & UNREAD and (data := await exchange.read()):
                    body += data
                assert not body or method != "HEAD"
                assert all(100 <= status < 200 and status != 101 for status in interim)
                return exchange.status, list(exchange.headers), body
        except errors.NetworkError as error:
            conditions.append(error.condition)
            return None

    async def settle(asking: "asyncio.Task[Any]") -> Any:
        for _ in range(_TICKS):
            await asyncio.sleep(0)
        if not asking.done():
            await wires[-1].end()
        assert asking.done(), "an exchange hangs after the end of its connection"
        return asking.result()

    asking = asyncio.ensure_future(ask(method))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await wires[-1].feed(raw, size)
    if behaviour & HALF_CLOSED:
        await wires[-1].end()
    await settle(asking)
    if wires[-1].closing:  # its place in the pool is free when it has noticed
        await wires[-1].end()
    after = asyncio.ensure_future(ask("GET"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await wires[-1].feed(NEXT, len(NEXT))
    found = await settle(after)
    body = b"" if behaviour & UNREAD else b"next"
    assert found == (200, [(b"Content-Length", b"4"), (b"X-Next", b"yes")], body), found
    assert set(conditions) <= {"reset", "protocol", "cut"}
    await client.close()
    for _ in range(_TICKS):
        await asyncio.sleep(0)
    assert client.pool.connections == 0
    assert len(asyncio.all_tasks()) == 1


TARGETS = {"caller": (feed_caller, asked), "origin": (feed_origin, answered)}
