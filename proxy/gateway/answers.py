"""What an upstream's answer means in the standard's words.

Pure: a status, header fields and an error's body in, an error out (or None: the answer passes).
The table is the contract's; this is the only file that turns a foreign status into a code of ours.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal

from proxy import errors
from proxy.errors import OctoLLMError, Severity
from proxy.gateway.coding import decode
from proxy.observe.scrub import redact, scrub
from proxy.wire.message import Headers

BODY_LIMIT = 64 * 1024
"""Bytes of an error's body that are read, and bytes that may come out of decompressing it."""

_KEPT_ERROR = 8 * 1024
_DEPTH = 12

_KIND_ERRORS: dict[str, type[errors.ExternalError]] = {
    "llm": errors.LLMAPIError,
    "vectordb": errors.VectorDBError,
    "http": errors.ThirdPartyAPIError,
}
_CALLERS_FAULTS = frozenset((400, 413, 415, 422))
_CREDENTIAL_ERRORS: dict[int, type[errors.ValidationError]] = {
    401: errors.AuthenticationError,
    403: errors.AuthorizationError,
}
_TIMEOUTS = frozenset((408, 504))
_UNAVAILABLE = frozenset((503, 529))


@dataclass(frozen=True, slots=True)
class Origin:
    """Who answered, as far as it matters for what the answer means."""

    kind: Literal["llm", "vectordb", "http"]
    provider: str
    our_credential: bool
    """The upstream's `auth` put our key in: a 401 is then our fault and not the caller's."""


def passes(status: int, origin: Origin, rewrite: bool | frozenset[int]) -> bool:
    """Tell whether an answer goes to the caller as it is: 2xx, 3xx, and 4xx not to be rewritten."""
    if 200 <= status < 400:
        return True
    if not 400 <= status < 500 or (origin.our_credential and status in _CREDENTIAL_ERRORS):
        return False
    return rewrite is False or (rewrite is not True and status not in rewrite)


def translate(
    status: int, fields: Mapping[bytes, bytes], body: bytes, origin: Origin, asked: float | None
) -> OctoLLMError:
    """Give the error that an answer of *status* stands for; *asked* is how long it says to wait.

    `condition` is the status itself: what `retry_on` and `failure_on` name.
    """
    content = _content(fields, body)
    said = _message(content, fields, body) or _phrase(status)
    details: dict[str, Any] = {
        "provider": origin.provider,
        "status_code": status,
        "error_message": said,
    }
    if content is not None and len(body) <= _KEPT_ERROR:
        details["upstream_error"] = _scrubbed(content, _DEPTH)
    error_class, told = _classify(status, origin)
    error = error_class.rebuild(
        f"{origin.provider} API error: {said}", details=details, retry_after=asked, status=told
    )
    error.condition = status
    if origin.our_credential and status in _CREDENTIAL_ERRORS:
        error.severity = Severity.CRITICAL  # nobody gets through until somebody mends our key
        error.message += " (the key is the proxy's own)"
    return error


def _classify(status: int, origin: Origin) -> tuple[type[OctoLLMError], int]:
    """Give class and status of ours for an upstream's status (the contract's second table)."""
    kind_error = _KIND_ERRORS[origin.kind]
    if status in _CREDENTIAL_ERRORS:
        if origin.our_credential:
            return kind_error, 502
        return _CREDENTIAL_ERRORS[status], status
    if status in _CALLERS_FAULTS:
        return errors.ValidationError, status
    if status in _TIMEOUTS:
        return errors.TimeoutError, 504
    if status == 429:
        return errors.RateLimitError, 429
    if status in _UNAVAILABLE:
        return kind_error, 503
    return kind_error, status if 400 <= status < 500 else 502


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"status {status}"


def _content(fields: Mapping[bytes, bytes], body: bytes) -> Any:
    text = decode(body, fields.get(b"content-encoding", b""), BODY_LIMIT)
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None


def _message(content: Any, fields: Mapping[bytes, bytes], body: bytes) -> str:
    """Find the sentence meant for people in the error shapes of the field; scrubbed."""
    found = _find(content, _DEPTH)
    if not found and content is None and fields.get(b"content-type", b"").startswith(b"text/plain"):
        text = decode(body, fields.get(b"content-encoding", b""), BODY_LIMIT) or b""
        found = text.decode("utf-8", "replace")
    return scrub(found).strip()


def _find(content: Any, depth: int) -> str:
    """OpenAI, Anthropic: error.message. Chroma: message. FastAPI: detail. Qdrant: status.error."""
    if isinstance(content, str):
        return content
    if not isinstance(content, dict) or not depth:
        return ""
    if isinstance(content.get("message"), str):
        return str(content["message"])
    for key in ("error", "detail", "status", "errors"):
        inner = content.get(key)
        if isinstance(inner, list) and inner:
            inner = inner[0]
        found = _find(inner, depth - 1) or (inner.get("msg") if isinstance(inner, dict) else None)
        if isinstance(found, str) and found:
            return found
    return ""


def _scrubbed(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {redact(key): _scrubbed(item, depth - 1) for key, item in value.items() if depth}
    if isinstance(value, list):
        return [_scrubbed(item, depth - 1) for item in value if depth]
    if isinstance(value, float) and not math.isfinite(value):
        return None  # Python reads NaN; JSON has none, and our envelope is JSON
    return value


_REPLACED = (b"content-", b"retry-after", b"x-octollm-")
_OURS = frozenset(
    (b"etag", b"set-cookie", b"set-cookie2", b"x-should-retry", b"x-ms-retry-after-ms")
)


def kept_headers(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Give the end-to-end fields of an upstream's error that its rewritten answer keeps."""
    return [
        pair
        for pair in headers
        if (name := pair[0].lower()) not in _OURS and not name.startswith(_REPLACED)
    ]
