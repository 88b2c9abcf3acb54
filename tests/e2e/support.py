"""The whole proxy on real sockets, and a caller who sees every byte of its answers."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from proxy.app import Proxy
from proxy.config.load import parse
from proxy.testing.upstream import Upstream

PLAIN = """
version: 1
listen: {port: 0}
admin: {port: 0}
upstreams:
  up: {url: "${UP}"}
"""


@asynccontextmanager
async def proxied(text: str = PLAIN, **urls: str) -> AsyncIterator[Proxy]:
    """Run the proxy on *text*; `${UP}` and the like are given as words."""
    env = {name.upper(): url for name, url in urls.items()}
    proxy = Proxy(parse(text, "test.yaml", env))
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()


@asynccontextmanager
async def both(upstream_settings: str = "") -> AsyncIterator[tuple[Proxy, Upstream]]:
    """Run a scripted upstream and the proxy in front of it, as the upstream named `up`."""
    text = PLAIN.replace('"${UP}"', '"${UP}", ' + upstream_settings) if upstream_settings else PLAIN
    async with Upstream() as upstream, proxied(text, up=upstream.url) as proxy:
        yield proxy, upstream


@dataclass
class Answer:
    """What came back; *whole* is False where framing shows that something is missing."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    whole: bool

    def __getitem__(self, name: str) -> str:
        return next(value for field, value in self.headers if field.lower() == name.lower())

    def get(self, name: str) -> str | None:
        return next((v for field, v in self.headers if field.lower() == name.lower()), None)

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json()["error"])


async def call(
    base: str,
    target: str,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Make one request on a connection of its own, and read its answer to the end."""
    reader, writer = await connect(base)
    try:
        writer.write(request(base, target, method, body, headers))
        return await answer(reader, method)
    finally:
        writer.close()


async def connect(base: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = base.removeprefix("http://").rsplit(":", 1)
    return await asyncio.open_connection(host, int(port))


def request(
    base: str,
    target: str,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    fields = {"Host": base.removeprefix("http://"), **(headers or {})}
    if body is not None:
        fields.setdefault("Content-Length", str(len(body)))
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode() + (body or b"")


async def answer(reader: asyncio.StreamReader, method: str = "GET") -> Answer:
    """Read one answer; an end or a reset before the framing says so leaves it not whole."""
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    found = Answer(int(first.split()[1]), headers, b"", whole=True)
    if method == "HEAD" or found.status in (204, 304):
        return found
    try:
        if found.get("transfer-encoding") == "chunked":
            await _chunks(reader, found)
        else:
            found.body = await reader.readexactly(int(found["content-length"]))
    except asyncio.IncompleteReadError as end:
        found.body += end.partial
        found.whole = False
    except ConnectionResetError:
        found.whole = False
    return found


async def _chunks(reader: asyncio.StreamReader, found: Answer) -> None:
    while size := int(await reader.readuntil(b"\r\n"), 16):
        found.body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)


async def metric(proxy: Proxy, name: str, **labels: str) -> float:
    """Read one sample from /metrics, over HTTP; 0 where there is none."""
    text = (await call(proxy.addresses["admin"], "/metrics")).body.decode()
    total = 0.0
    for line in text.splitlines():
        series, _, value = line.rpartition(" ")
        if series.partition("{")[0] == name and all(
            f'{key}="{wanted}"' in series for key, wanted in labels.items()
        ):
            total += float(value)
    return total
