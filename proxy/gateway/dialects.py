"""How each provider's event streams look: facts in a table, one entry each.

What an error looks like, what ends a stream, and what makes the provider's own client raise. Adding
a provider is adding an entry here. Nothing here reads, waits or sends.

Streams are looked at as bytes, at the speed of `in`; only an event that may be an error is parsed.
Inside JSON a line break and a quote are escaped, so no text that a model writes can look like a
line of the stream, or like a key.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from proxy.errors import OctoLLMError
from proxy.wire import sse

_LINE = rb"(?:^|[\r\n])(?:data|event): ?"
_ERROR = b'"error"'
_ANYTHING = re.compile(b"")


@dataclass(frozen=True, slots=True)
class Fault:
    """An error that an upstream sent as an event: the status it stands for, and its JSON."""

    status: int
    data: str


@dataclass(frozen=True, slots=True)
class Dialect:
    """The facts of one provider's streams.

    *ends* are the data, or the names, of an event after which nothing follows. *finished* is found
    in a stream that is whole even without one, if its body ends cleanly. *errors* are the names of
    events that may be errors, "" for those without one. *raises* is what the provider's client
    raises on the event that `write` gives. *json*: the data of every event is JSON.
    """

    ends: tuple[bytes, ...]
    finished: re.Pattern[bytes]
    errors: frozenset[str]
    raises: str
    json: bool
    _fault: Callable[[str, dict[str, Any]], int | None]
    _write: Callable[[OctoLLMError], tuple[str, dict[str, Any]]]

    def is_end(self, events: bytes) -> bool:
        """Tell whether one of these events is the stream's last."""
        for mark in self.ends:
            if mark in events and re.search(_LINE + re.escape(mark), events):
                return True
        return False

    def fault(self, events: bytes) -> Fault | None:
        """Find the first error among these events."""
        if not self.errors or _ERROR not in events:
            return None
        for event in sse.split(events):
            name, data = sse.fields(event)
            content = _json(data) if name in self.errors else None
            status = self._fault(name, content) if isinstance(content, dict) else None
            if status is not None:
                return Fault(status, data)
        return None

    def is_well_formed(self, event: bytes) -> bool:
        """Tell whether the provider's client can read this event."""
        try:
            event.decode()
        except UnicodeDecodeError:
            return False
        _, data = sse.fields(event)
        return not self.json or data in ("", "[DONE]") or _json(data) is not None

    def write(self, error: OctoLLMError) -> bytes:
        """Write *error* as the event on which the provider's client raises."""
        name, content = self._write(error)
        return sse.write(json.dumps(content, separators=(",", ":"), default=str), name)


def _json(data: str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


# OpenAI: platform.openai.com/docs/api-reference/chat-streaming, /responses-streaming

_OPENAI_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "tokens": 429,
    "requests": 429,
    "overloaded_error": 529,
    "service_unavailable_error": 503,
    "engine_overloaded": 503,
}


def _openai_fault(name: str, content: dict[str, Any]) -> int | None:
    error = content.get("error")
    if name == "error" and not isinstance(error, dict):
        error = content  # the responses API puts code and message beside `type`
    if name == "response.failed":
        response = content.get("response")
        error = response.get("error") if isinstance(response, dict) else None
    if not isinstance(error, dict):
        return 500 if error and isinstance(error, str) else None
    for said in (error.get("code"), error.get("type")):
        if isinstance(said, int) and 400 <= said <= 599:
            return said
        if isinstance(said, str) and said.isdecimal() and 400 <= int(said) <= 599:
            return int(said)
        if isinstance(said, str) and said in _OPENAI_STATUS:
            return _OPENAI_STATUS[said]
    return 500


def _openai_error(error: OctoLLMError) -> dict[str, Any]:
    return {
        "message": error.message,
        "type": error.error_code,
        "code": error.error_code,
        "param": None,
        "request_id": error.details.get("request_id"),
    }


def _write_chat(error: OctoLLMError) -> tuple[str, dict[str, Any]]:
    return "", {"error": _openai_error(error)}


def _write_response(error: OctoLLMError) -> tuple[str, dict[str, Any]]:
    said = _openai_error(error)
    # Flat as the API has it, and nested because its Python client raises on `error` alone.
    return "error", {**said, "type": "error", "error": said}


# Anthropic: docs.anthropic.com/en/api/errors, /messages-streaming

_ANTHROPIC_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}


def _anthropic_fault(_: str, content: dict[str, Any]) -> int | None:
    error = content.get("error")
    kind = error.get("type") if isinstance(error, dict) else None
    return _ANTHROPIC_STATUS.get(str(kind), 500)


def _write_anthropic(error: OctoLLMError) -> tuple[str, dict[str, Any]]:
    said = {
        "type": error.error_code,
        "message": error.message,
        "request_id": error.details.get("request_id"),
    }
    return "error", {"type": "error", "error": said}


def _write_generic(error: OctoLLMError) -> tuple[str, dict[str, Any]]:
    return "error", error.to_dict()


CHAT = Dialect(
    ends=(b"[DONE]",),
    finished=re.compile(rb'"finish_reason": ?"'),
    errors=frozenset(("", "error")),
    raises="openai.APIError",
    json=True,
    _fault=_openai_fault,
    _write=_write_chat,
)
RESPONSES = Dialect(
    ends=tuple(b"response." + how for how in (b"completed", b"incomplete", b"failed")),
    finished=re.compile(rb'"type": ?"response\.(?:completed|incomplete|failed)"'),
    errors=frozenset(("", "error", "response.failed")),
    raises="openai.APIError",
    json=True,
    _fault=_openai_fault,
    _write=_write_response,
)
# Files, images, audio: their streams end each in a way of its own.
OPENAI = replace(CHAT, finished=_ANYTHING)
ANTHROPIC = Dialect(
    ends=(b"message_stop",),
    finished=re.compile(rb'"stop_reason": ?"'),
    errors=frozenset(("error",)),
    raises="anthropic.APIStatusError",
    json=True,
    _fault=_anthropic_fault,
    _write=_write_anthropic,
)
GENERIC = Dialect(
    ends=(),
    finished=_ANYTHING,
    errors=frozenset(),
    raises="",
    json=False,
    _fault=lambda *_: None,
    _write=_write_generic,
)

TABLE: dict[str, tuple[tuple[re.Pattern[str], Dialect], ...]] = {
    "openai": (
        (re.compile(r".*/completions/?"), CHAT),
        (re.compile(r".*/responses(?:/.*)?"), RESPONSES),
        (re.compile(r".*"), OPENAI),
    ),
    "anthropic": ((re.compile(r".*"), ANTHROPIC),),
}
"""What each provider speaks, by path; a provider that is not here speaks GENERIC."""


def of(provider: str, path: str) -> Dialect:
    """Give the dialect in which *provider* streams at *path* (without its query)."""
    for pattern, dialect in TABLE.get(provider, ()):
        if pattern.fullmatch(path):
            return dialect
    return GENERIC
