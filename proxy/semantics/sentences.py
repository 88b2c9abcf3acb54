"""The sentence for people in an upstream's error, in the shapes that the field uses.

It gives what was written, whatever that holds: to take credentials out is `observe.scrub`'s.
"""

from typing import Any

DEPTH = 12
"""How far into a body anybody looks."""


def sentence(content: Any, depth: int = DEPTH) -> str:
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
        found = sentence(inner, depth - 1) or (
            inner.get("msg") if isinstance(inner, dict) else None
        )
        if isinstance(found, str) and found:
            return found
    return ""
