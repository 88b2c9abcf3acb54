"""Exchanges with one origin: a request is sent once, its answer read, the connection kept.

Rule 1: nothing is ever sent twice here; whether to try again is the gateway's to decide.
Rule 2: every failure is an error of `errors.py` that says what broke and whether anything was sent;
the words are ours, never an exception's or the upstream's.
"""

import asyncio
import ssl
from collections.abc import Callable

from proxy import errors
from proxy.config.url import Url
from proxy.wire.answer import Answer, Interim
from proxy.wire.connect import connect
from proxy.wire.headers import block
from proxy.wire.message import Limits, Outgoing, Timings
from proxy.wire.origin import Origin
from proxy.wire.pool import Pool
from proxy.wire.tunnel import SWITCHING


class Client:
    """`message.Client` for the origin of *url*; *egress* is an HTTP proxy that leads there."""

    def __init__(
        self,
        url: Url,
        *,
        connections: int = 1000,
        pending: int = 1000,
        keepalive: float = 15.0,
        egress: Url | None = None,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
    ) -> None:
        self._url = url
        self._egress = egress
        self._tls = tls or (ssl.create_default_context() if url.scheme == "https" else None)
        self._server_name = server_name
        self._loop = asyncio.get_running_loop()
        self.pool = Pool(self._dial, limit=connections, pending=pending, keepalive=keepalive)

    async def exchange(
        self, request: Outgoing, limits: Limits, interim: Interim | None = None
    ) -> Answer:
        """Send *request* once, and wait for the head of its answer. Never sends it twice."""
        began = self._loop.time()
        head = _head(request)
        timings = Timings(began)
        origin = self.pool.take_idle(began)
        if origin is None:
            origin = await self._connect(limits, timings)
        answer = Answer(self.pool, origin, request.method, limits, timings)
        try:
            answer.send(head, request.body)
            await answer.head(interim)
        except BaseException as error:
            answer.close()
            if isinstance(error, errors.NetworkError) and error.stale:
                self.pool.forget_idle()
            raise
        return answer

    def retire(self) -> None:
        """Let connections go as they fall idle; who still exchanges is served to the end."""
        self.pool.retire()

    async def close(self) -> None:
        """End all connections."""
        self.pool.close()

    async def _connect(self, limits: Limits, timings: Timings) -> Origin:
        try:
            async with asyncio.timeout_at(limits.deadline):
                origin = await self.pool.take(limits.connect)
        except TimeoutError:
            seconds = (limits.deadline or timings.began) - timings.began
            raise errors.TimeoutError("the call", seconds, sent=False) from None
        if not origin.used:
            timings.connected = self._loop.time()
        return origin

    async def _dial(self, gone: Callable[[Origin], None], patience: float | None) -> Origin:
        try:
            async with asyncio.timeout(patience):
                return await connect(
                    self._url, self._egress, self._tls, self._server_name, lambda: Origin(gone)
                )
        except TimeoutError:
            raise errors.TimeoutError(
                "connecting to the upstream", patience or 0.0, condition="connect", sent=False
            ) from None


def _head(request: Outgoing) -> bytes:
    """Write a request's head, all but its framing."""
    try:
        lines = block(request.headers)
    except ValueError:
        raise errors.ValidationError(
            "the request's head holds a control character", sent=False
        ) from None
    if request.upgrade:
        lines += SWITCHING
    return b"%b %b HTTP/1.1\r\n%b" % (request.method.encode(), request.target.encode(), lines)
