"""Making a connection to an origin: names, addresses, an egress proxy, TLS.

Rule 1: nothing of the request has been sent when this fails, and the error says so.
Rule 2: certificates are always verified, for the origin's own name.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import TypeVar

from aiohappyeyeballs import AddrInfoType, start_connection

from proxy import errors
from proxy.config.url import Url

_HEAD_START = 0.25
"""Seconds that one address has before the next is tried beside it (RFC 8305)."""

_EGRESS_HEAD = 16384

P = TypeVar("P", bound=asyncio.Protocol)


async def connect(
    url: Url,
    egress: Url | None,
    tls: ssl.SSLContext | None,
    server_name: str | None,
    make: Callable[[], P],
) -> P:
    """Connect to the origin of *url* and give the protocol that *make* made for it.

    With *tls*, its certificate must be for *server_name*, or else for the host of *url*. Raises
    NetworkError(connect), which is not retryable where a certificate is to blame.
    """
    loop = asyncio.get_running_loop()
    hop = egress or url
    try:
        if url.scheme == "unix":
            return (await loop.create_unix_connection(make, url.host))[1]
        name = server_name or url.host if tls else None
        found: Sequence[AddrInfoType] = await loop.getaddrinfo(
            hop.host, hop.port, type=socket.SOCK_STREAM
        )
        if len(found) == 1 and egress is None:
            # Nothing to race: the loop's own way takes a quarter of the time.
            address, port = found[0][4][:2]
            transport, protocol = await loop.create_connection(
                make, address, port, ssl=tls, server_hostname=name
            )
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            return protocol
        sock = await start_connection(found, happy_eyeballs_delay=_HEAD_START, loop=loop)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if egress is not None:
                await _tunnel(loop, sock, url)
            _, protocol = await loop.create_connection(
                make, sock=sock, ssl=tls, server_hostname=name
            )
        except BaseException:
            sock.close()
            raise
    except (socket.gaierror, UnicodeError) as error:
        raise _unreached("the upstream's name could not be resolved") from error
    except ssl.SSLCertVerificationError as error:
        refusal = _unreached("the upstream's certificate verification failed")
        refusal.retryable = False  # it will not be another's a second later
        raise refusal from error
    except ssl.SSLError as error:
        raise _unreached("the TLS handshake with the upstream failed") from error
    except ConnectionRefusedError as error:
        raise _unreached("the upstream refused the connection") from error
    except OSError as error:
        raise _unreached("the upstream could not be connected to") from error
    return protocol


async def _tunnel(loop: asyncio.AbstractEventLoop, sock: socket.socket, url: Url) -> None:
    """Ask an egress proxy for a way through (RFC 9110 9.3.6)."""
    # Unlike in a Host field, the port is never left out.
    authority = f"[{url.host}]:{url.port}" if ":" in url.host else f"{url.host}:{url.port}"
    lines = f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n"
    await loop.sock_sendall(sock, lines.encode())
    head = b""
    while b"\r\n\r\n" not in head:
        data = await loop.sock_recv(sock, _EGRESS_HEAD)
        head += data
        if not data or len(head) > _EGRESS_HEAD:
            raise _unreached("the egress proxy sent no answer")
    status = head.split(b" ", 2)
    if len(status) < 2 or not status[0].startswith(b"HTTP/1.") or status[1][:1] != b"2":
        raise _unreached("the egress proxy refused")


def _unreached(message: str) -> errors.NetworkError:
    return errors.NetworkError(message, condition="connect", sent=False)
