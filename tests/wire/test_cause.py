"""Why a connection failed, as it is told to who runs us: enough to act on, and nobody's secret."""

import errno
import socket
import ssl
from asyncio import IncompleteReadError

import pytest

from proxy.wire.cause import cause


class LibraryError(Exception):
    """What a library makes of it, its text with more in it than is ours to tell."""

    def __init__(self) -> None:
        super().__init__("cannot use redis://:hunter2@cache.internal")


def caught(origin: BaseException) -> LibraryError:
    error = LibraryError()
    error.__cause__ = origin
    return error


def refused(reason: str | None) -> ssl.SSLError:
    error = ssl.SSLError(1, "hunter2")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    "origin, why",
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "hunter2"), "connection refused"),
        (OSError("Multiple: [Errno 111] hunter2:1, [Errno 101] hunter2:2"), "connection refused"),
        (socket.gaierror(-2, "hunter2"), "no such address"),
        (TimeoutError(), "timed out"),
        (TimeoutError(errno.ETIMEDOUT, "hunter2"), "timed out"),
        (IncompleteReadError(b"hunter2", 9), "closed"),
        (refused("CERTIFICATE_VERIFY_FAILED"), "certificate verify failed"),
        (refused(None), "tls"),
    ],
)
def test_the_class_is_named_and_what_the_system_said(origin, why):
    assert cause(caught(origin)) == f"LibraryError: {why}"


@pytest.mark.parametrize("origin", [ValueError("hunter2"), OSError("hunter2")])
def test_where_the_system_said_nothing_the_class_has_to_do(origin):
    assert cause(caught(origin)) == "LibraryError"


def test_of_two_things_at_once_it_is_the_first():
    group = ExceptionGroup("both", [caught(TimeoutError()), ValueError()])

    assert cause(ExceptionGroup("outside", [group])) == "LibraryError: timed out"


def test_what_stood_in_the_way_unnamed_counts_too():
    error = LibraryError()
    error.__context__ = TimeoutError()

    assert cause(error) == "LibraryError: timed out"
