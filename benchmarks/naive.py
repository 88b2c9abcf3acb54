"""What one writes in an afternoon: an aiohttp passthrough that streams, on uvloop, and no policy.

It is the yardstick: `python naive.py PORT UPSTREAM_PORT`.
"""

import asyncio
import sys

import uvloop
from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, web

HOP_BY_HOP = frozenset(
    ("connection", "content-length", "host", "keep-alive", "transfer-encoding", "upgrade")
)


async def main(port: int, upstream: str) -> None:
    session = ClientSession(
        connector=TCPConnector(limit=0),
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
        timeout=ClientTimeout(total=600),
    )

    async def forward(request: web.BaseRequest) -> web.StreamResponse:
        headers = [(n, v) for n, v in request.headers.items() if n.lower() not in HOP_BY_HOP]
        body = await request.content.read() if request.body_exists else None
        async with session.request(
            request.method,
            upstream + request.raw_path,
            headers=headers,
            data=body,
            allow_redirects=False,
        ) as answer:
            reply = web.StreamResponse(status=answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in HOP_BY_HOP:
                    reply.headers.add(name, value)
            reply.content_length = answer.content_length
            await reply.prepare(request)
            async for data in answer.content.iter_any():
                await reply.write(data)
            await reply.write_eof()
            return reply

    server = web.Server(forward, access_log=None)
    loop = asyncio.get_running_loop()
    await loop.create_server(server, "127.0.0.1", port, backlog=4096)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), f"http://127.0.0.1:{sys.argv[2]}"))
