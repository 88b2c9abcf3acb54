"""An upstream's answer that is an error: its body read, its headers sorted, its meaning asked for.

Pure: a status, header fields and an error's body in, an error out. What a status means is
`semantics.statuses`'s to say.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from proxy.errors import OctoLLMError
from proxy.gateway.coding import decode
from proxy.observe.scrub import REMOVED, redact, scrub
from proxy.semantics.sentences import DEPTH, sentence
from proxy.semantics.statuses import Origin, meaning, passes
from proxy.wire.message import Headers

__all__ = ["BODY_LIMIT", "Origin", "kept_headers", "passes", "translate"]

BODY_LIMIT = 64 * 1024
"""Bytes of an error's body that are read, and bytes that may come out of decompressing it."""

_KEPT_ERROR = 8 * 1024


def translate(
    status: int,
    fields: Mapping[bytes, bytes],
    body: bytes,
    origin: Origin,
    asked: float | None,
    *,
    keys: Iterable[bytes] = (),
) -> OctoLLMError:
    """Give the error that an answer of *status* stands for; *asked* is how long it says to wait.

    *keys* are the credentials that it was asked with, which it shall not repeat.
    """
    text = decode(body, fields.get(b"content-encoding", b""), BODY_LIMIT) or b""
    for key in keys:
        text = text.replace(key, REMOVED.encode())
    content = _content(text)
    error = meaning(status, origin, _message(content, fields, text), asked)
    error.upstream_codes = frozenset(_codes(content))
    if content is not None and len(body) <= _KEPT_ERROR:
        error.details["upstream_error"] = _scrubbed(content, DEPTH)
    return error


def _content(text: bytes) -> Any:
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None


def _message(content: Any, fields: Mapping[bytes, bytes], text: bytes) -> str:
    """Find the sentence meant for people in the error shapes of the field; scrubbed."""
    found = sentence(content)
    if not found and content is None and fields.get(b"content-type", b"").startswith(b"text/plain"):
        found = text.decode("utf-8", "replace")
    return scrub(found).strip()


def _codes(content: Any) -> Iterator[str]:
    """Find the words for what went wrong: OpenAI has error.code and .type, Anthropic error.type."""
    if isinstance(content, dict):
        inner = content.get("error")
        for place in (content, inner if isinstance(inner, dict) else {}):
            yield from (place[key] for key in ("code", "type") if isinstance(place.get(key), str))


def _scrubbed(value: Any, depth: int, name: str = "") -> Any:
    if isinstance(value, str):
        # In `{"api_key": "x"}` it is the member's name that tells what x is.
        return redact(f"{name}: {value}").removeprefix(f"{name}: ")
    if isinstance(value, dict):
        members = ((redact(key), item) for key, item in value.items() if depth)
        return {key: _scrubbed(item, depth - 1, key) for key, item in members}
    if isinstance(value, list):
        return [_scrubbed(item, depth - 1, name) for item in value if depth]
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
