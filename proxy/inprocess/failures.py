"""What the end of an attempt means that a client library made for us.

No library is imported. Its exceptions are known by package and name, an answer of its by what it
has: `status_code` or `status`, and `headers`. What is not known here is the caller's own business.
"""

import errno
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from proxy import errors
from proxy.errors import OctoLLMError
from proxy.observe.scrub import scrub
from proxy.semantics import waits
from proxy.semantics.sentences import sentence
from proxy.semantics.statuses import Origin, meaning


@dataclass(frozen=True, slots=True)
class Fault:
    """A failed attempt as an error of ours, and the upstream's own word on asking again."""

    error: OctoLLMError
    should_retry: bool | None = None


class _Broken(NamedTuple):
    """A connection that failed: the condition it answers to, and whether a time limit ended it."""

    condition: str
    late: bool = False


_CONNECT, _CUT = _Broken("connect"), _Broken("cut")
_RESET, _PROTOCOL = _Broken("reset"), _Broken("protocol")
_CONNECT_LATE, _LATE = _Broken("connect", late=True), _Broken("timeout", late=True)
_CERTIFICATE = _Broken("certificate")

_HTTPX = {
    "ConnectError": _CONNECT,
    "ConnectTimeout": _CONNECT_LATE,
    "ProxyError": _CONNECT,
    "PoolTimeout": None,  # the client's own limit; the upstream was not asked
    "TimeoutException": _LATE,
    "NetworkError": _RESET,
    # Also what is malformed; but a connection that was closed is by far the likelier.
    "RemoteProtocolError": _RESET,
    "DecodingError": _PROTOCOL,
}
_AIOHTTP = {
    "ClientConnectorError": _CONNECT,
    "ClientConnectorSSLError": _CONNECT,
    "ClientConnectorCertificateError": _CERTIFICATE,
    "ServerFingerprintMismatch": _CERTIFICATE,
    "ConnectionTimeoutError": _CONNECT_LATE,
    "ServerTimeoutError": _LATE,
    "ServerDisconnectedError": _RESET,
    "ClientOSError": _RESET,
    "ClientConnectionResetError": _RESET,
    "ClientPayloadError": _CUT,
    # Behind a ClientResponseError of status 400, which nobody answered.
    "BadHttpMessage": _PROTOCOL,
}
_STANDARD = {
    "ConnectionRefusedError": _CONNECT,
    "gaierror": _CONNECT,
    "SSLCertVerificationError": _CERTIFICATE,
    "SSLError": _CONNECT,
    "ConnectionError": _RESET,
    "TimeoutError": _LATE,
    "IncompleteReadError": _CUT,
}
_KNOWN: dict[str, Mapping[str, _Broken | None]] = {
    "httpx": _HTTPX,
    "httpx2": _HTTPX,
    "aiohttp": _AIOHTTP,
    **dict.fromkeys(("builtins", "socket", "ssl", "asyncio"), _STANDARD),
}
_UNREACHABLE = frozenset((errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN))

_SENTENCES = {
    "connect": "the upstream could not be connected to",
    "certificate": "the upstream's certificate verification failed",
    "reset": "the upstream closed the connection without an answer",
    "protocol": "the upstream sent something that is not HTTP",
    "cut": "the upstream's answer was cut short",
    "timeout": "the client stopped waiting for the upstream",
}


def of_exception(raised: Exception, origin: Origin, now: float) -> Fault | None:
    """Say what an attempt that raised has come to; None: it is no failure of the call.

    *now* is Unix time, for dates that an answer gives.
    """
    if isinstance(raised, OctoLLMError):
        return Fault(raised)  # such as by `raise_for_envelope`
    for error in _causes(raised):
        found, broken = _look_up(error)
        if found:
            return None if broken is None else Fault(_network_error(broken))
    for error in _causes(raised):
        for answer in (getattr(error, "response", None), error):
            status = status_of(answer)
            if status is not None and status >= 400:
                said = _said(_content(answer)) or str(raised)
                return _fault(status, answer, origin, said, now)
    return None


async def of_answer(answer: object, origin: Origin, now: float) -> Fault | None:
    """Say what an attempt that returned has come to; None: it is good.

    The body of a bad answer is read, which gives its connection back.
    """
    status = status_of(answer)
    if status is None or status < 400 or not hasattr(answer, "headers"):
        return None
    read = getattr(answer, "aread", None) or getattr(answer, "read", None)
    try:
        content = await read() if read is not None else None
    except Exception as unread:  # noqa: BLE001 -- the status says enough, whatever else went wrong
        return _fault(status, answer, origin, str(unread), now)
    return _fault(status, answer, origin, _said(content), now)


def of_body(raised: Exception) -> OctoLLMError | None:
    """Say what went wrong while an answer was read that had begun well; None: nothing of its."""
    for error in _causes(raised):
        found, broken = _look_up(error)
        if found:
            if broken is None or broken.condition in ("connect", "certificate"):
                return None  # a connection of its own: another call
            return _network_error(_LATE if broken.late else _CUT)
    return None


def status_of(answer: object) -> int | None:
    """Read an answer's status as httpx and requests have it, or aiohttp."""
    for name in ("status_code", "status"):
        status = getattr(answer, name, None)
        if isinstance(status, int):
            return status
    return None


def fields_of(answer: object) -> dict[bytes, bytes]:
    """Give an answer's header fields by lower-case name."""
    headers = getattr(answer, "headers", None) or {}
    return {
        str(name).lower().encode("latin-1", "replace"): str(value).encode("latin-1", "replace")
        for name, value in headers.items()
    }


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Give an error and what it was raised from, outermost first."""
    seen = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__


def _look_up(error: BaseException) -> tuple[bool, _Broken | None]:
    """Tell whether an exception is known, and as what; known as None, it blames nobody."""
    for cls in type(error).__mro__:
        known = _KNOWN.get(cls.__module__.partition(".")[0], {})
        if cls.__name__ in known:
            return True, known[cls.__name__]
    if isinstance(error, OSError) and error.errno in _UNREACHABLE:
        return True, _CONNECT
    return False, None


def _network_error(broken: _Broken) -> OctoLLMError:
    condition, sent = broken.condition, broken.condition != "connect"
    if broken.late:
        error: OctoLLMError = errors.TimeoutError.rebuild(_SENTENCES["timeout"])
        error.condition, error.sent = condition, sent
    elif broken is _CERTIFICATE:
        error = errors.NetworkError(_SENTENCES[condition], condition="connect", sent=False)
        error.retryable = False  # it will not be another's a second later
    else:
        error = errors.NetworkError(_SENTENCES[condition], condition=condition, sent=sent)
    return error


def _fault(status: int, answer: object, origin: Origin, said: str, now: float) -> Fault:
    fields = fields_of(answer)
    asked = waits.asked(status, fields, now)
    error = meaning(status, origin, scrub(said).strip(), asked)
    return Fault(error, waits.should_retry(fields))


def _content(answer: object) -> Any:
    try:
        return getattr(answer, "content", None)
    except RuntimeError:  # httpx: a streamed body that has not been read
        return None


def _said(content: Any) -> str:
    """Find the sentence meant for people in an error's body, as far as there is one."""
    if not isinstance(content, bytes):
        return ""
    try:
        return sentence(json.loads(content))
    except (ValueError, RecursionError):
        return ""
