"""The error envelope: an error as status, headers and body, and back again for Python callers.

It knows JSON and three header fields (RFC 9110 Retry-After, RFC 9209 Proxy-Status, RFC 9457
problem+json). It does not know who asks, what was tried, or how bytes are sent.
"""

import json
from http import HTTPStatus
from typing import Any

from proxy import errors
from proxy.errors import OctoLLMError, whole_seconds

JSON = b"application/json"
PROBLEM_JSON = b"application/problem+json"

PROXY_NAME = "octollm-proxy"

# RFC 9209 2.3: what happened, as a token every HTTP tool can read. Coarser than our codes.
_BY_CONDITION = {
    ("NETWORK_ERROR", "connect"): "connection_refused",
    ("NETWORK_ERROR", "reset"): "connection_terminated",
    ("NETWORK_ERROR", "protocol"): "http_protocol_error",
    ("NETWORK_ERROR", "cut"): "http_response_incomplete",
    ("TIMEOUT_ERROR", "connect"): "connection_timeout",
}
_BY_CODE = {
    "VALIDATION_ERROR": "http_request_error",
    "VALIDATION_ERRORS": "http_request_error",
    "TASK_NOT_FOUND": "http_request_error",
    "PAYLOAD_TOO_LARGE": "http_request_error",
    "PII_DETECTED": "http_request_denied",
    "AUTHENTICATION_ERROR": "http_request_denied",
    "AUTHORIZATION_ERROR": "http_request_denied",
    "RATE_LIMIT_EXCEEDED": "http_request_denied",
    "ROUTE_NOT_FOUND": "destination_not_found",
    "ARM_UNAVAILABLE": "destination_unavailable",
    "CIRCUIT_OPEN": "destination_unavailable",
    "CAPACITY_EXCEEDED": "connection_limit_reached",
    "TIMEOUT_ERROR": "http_response_timeout",
    "NETWORK_ERROR": "connection_terminated",
}


def render(
    error: OctoLLMError, *, accept: bytes = b"", should_retry: bool | None = None
) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Give status, header fields and body for *error*, as a caller with this Accept wants it.

    *should_retry* is what the SDKs of OpenAI and Anthropic obey; None leaves it to them.
    """
    content = error.to_dict()
    media_type = JSON
    if wants_problem(accept):
        media_type = PROBLEM_JSON
        content |= {
            "type": "about:blank",
            "title": _phrase(error.status),
            "status": error.status,
            "detail": error.message,
        }
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":"), default=str)
    headers = [(b"Content-Type", media_type), (b"Proxy-Status", proxy_status(error))]
    if isinstance(error, errors.AuthenticationError) and "status_code" not in error.details:
        # RFC 9110 15.5.2; an upstream that says 401 brings its own.
        headers.append((b"WWW-Authenticate", b"Bearer"))
    if error.retry_after is not None:
        headers.append((b"Retry-After", b"%d" % whole_seconds(error.retry_after)))
    if should_retry is not None:
        headers.append((b"X-Should-Retry", b"true" if should_retry else b"false"))
    # A lone surrogate, from an upstream's JSON, is no text: `?` stands for it.
    return error.status, headers, body.encode("utf-8", "replace")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def proxy_status(error: OctoLLMError) -> bytes:
    """Give the Proxy-Status member for *error* (RFC 9209): never an address, never a text."""
    received = error.details.get("status_code")
    if isinstance(received, int):
        return f"{PROXY_NAME}; received-status={received}".encode()
    if error.status == HTTPStatus.LOOP_DETECTED:
        return f"{PROXY_NAME}; error=proxy_loop_detected".encode()
    code = error.error_code
    token = _BY_CONDITION.get((code, str(error.condition))) or _BY_CODE.get(code)
    return f"{PROXY_NAME}; error={token or 'proxy_internal_error'}".encode()


def wants_problem(accept: bytes) -> bool:
    """Tell whether problem+json is asked for by name, and plain JSON is not liked better."""
    if PROBLEM_JSON not in accept.lower():
        return False
    liking = {JSON: 0.0, PROBLEM_JSON: 0.0}
    for choice in accept.lower().split(b","):
        media_type, *parameters = (part.strip() for part in choice.split(b";"))
        if media_type in liking:
            liking[media_type] = _quality(parameters)
    return liking[PROBLEM_JSON] > 0 and liking[PROBLEM_JSON] >= liking[JSON]


def _quality(parameters: list[bytes]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition(b"=")
        if name.strip() == b"q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


# The first class of a code stands for it: VALIDATION_ERROR comes back as ValidationError.
_CLASS_OF: dict[str, type[OctoLLMError]] = {}
for _class in errors.taxonomy():
    _CLASS_OF.setdefault(_class.error_code, _class)


def from_response(status: int, body: bytes | str) -> OctoLLMError:
    """Give a Python caller the exception back that the proxy, or another service, rendered.

    A body that is no envelope gives a plain OctoLLMError (UNKNOWN_ERROR) that keeps the status.
    """
    content = _parse(body)
    code = content.get("error")
    if not isinstance(code, str) or not isinstance(content.get("message"), str):
        return OctoLLMError(f"HTTP {status} without an OctoLLM envelope", status=status)
    details = content.get("details")
    retry_after = content.get("retry_after")
    return _CLASS_OF.get(code, OctoLLMError).rebuild(
        content["message"],
        details=details if isinstance(details, dict) else {},
        retry_after=float(retry_after) if isinstance(retry_after, int | float) else None,
        status=status,
    )


def _parse(body: bytes | str) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
