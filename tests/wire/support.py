"""What the tests of the wire share: a server, an origin that says what it is told, a raw caller."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from proxy import errors
from proxy.config.url import Url
from proxy.wire.client import Client
from proxy.wire.message import Body, Limits, Outgoing, Reply, Request
from proxy.wire.roster import CallerLimits
from proxy.wire.server import Server

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"


class Said(NamedTuple):
    status: int
    headers: dict[bytes, bytes]
    body: bytes


async def said(reader: asyncio.StreamReader, *, head: bool = False) -> Said:
    """Read one answer, framed as its head says."""
    lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[:-2]
    fields = [line.split(b": ", 1) for line in lines[1:]]
    headers = {name.lower(): value for name, value in fields}
    status = int(lines[0].split()[1])
    body = b""
    if head or status < 200 or status in (204, 304):
        pass
    elif b"content-length" in headers:
        body = await reader.readexactly(int(headers[b"content-length"]))
    elif headers.get(b"transfer-encoding") == b"chunked":
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        assert await reader.readline() == b"\r\n"
    else:
        body = await reader.read()
    return Said(status, headers, body)


def refuse(error: errors.OctoLLMError, reply: Reply) -> None:
    reply.send(error.status, [(b"Content-Type", b"text/plain")], error.message.encode())


async def echo(request: Request, reply: Reply) -> None:
    body = b"".join([chunk async for chunk in chunks(request.body)])
    reply.send(200, [(b"X-Target", request.target.encode())], body)


async def chunks(body: Body | None) -> AsyncIterator[bytes]:
    while body is not None and (chunk := await body.read()):
        yield chunk


@asynccontextmanager
async def serving(
    handle: Callable[[Request, Reply], Awaitable[None]] = echo, **limits: Any
) -> AsyncIterator[tuple[Server, int]]:
    server = Server(handle, refuse, CallerLimits(**limits))
    [address] = await server.listen("127.0.0.1")
    try:
        yield server, int(address[1])
    finally:
        server.drain()
        server.abort()
        await server.closed()


@asynccontextmanager
async def calling(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)


async def ask(port: int, *data: bytes) -> Said:
    """Send *data*, piece by piece, on a new connection, and read one answer."""
    async with calling(port) as (reader, writer):
        for piece in data:
            writer.write(piece)
            await asyncio.sleep(0.001)
        return await said(reader, head=data[0].startswith(b"HEAD"))


@asynccontextmanager
async def origin(script: Script, **facts: Any) -> AsyncIterator[Client]:
    """An origin that follows *script* on each connection, and a client for it."""
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await script(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    listener = await asyncio.start_server(connected, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    client = Client(Url(scheme="http", host="127.0.0.1", port=port, path=""), **facts)
    try:
        yield client
    finally:
        await client.close()
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def saying(*answers: bytes) -> Script:
    """Say one of *answers* to each request, on whatever connection it comes, and then nothing."""
    left = iter(answers)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(next(left, b""))

    return script


def closing(answer: bytes) -> Script:
    """Say *answer* to the first request, and end the connection."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    return script


def get(target: str = "/a", method: str = "GET", body: Body | None = None) -> Outgoing:
    return Outgoing(method, target, [(b"Host", b"up")], body)


def limits(**seconds: float) -> Limits:
    deadline = seconds.pop("deadline", None)
    now = asyncio.get_running_loop().time()
    return Limits(**seconds, deadline=None if deadline is None else now + deadline)
