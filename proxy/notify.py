"""What systemd is told, where it asked to be (`Type=notify`): ready, reloading, stopping.

The protocol is a datagram of lines to $NOTIFY_SOCKET: sd_notify(3). Nothing here knows what is
ready, or waits: a service manager that does not listen is no reason not to serve.
"""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress


def ready() -> None:
    _tell("READY=1")


def stopping() -> None:
    _tell("STOPPING=1")


@contextmanager
def reloading() -> Iterator[None]:
    """Be reloading from `with` to its end, however that comes: the old config serves on."""
    _tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
    try:
        yield
    finally:
        ready()


def _tell(*lines: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # Linux's abstract names begin with NUL
        address = f"\0{address[1:]}"
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.setblocking(False)
        manager.sendto("\n".join(lines).encode(), address)
