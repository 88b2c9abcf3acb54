"""Answers in the forms of OpenAI and Anthropic, good enough for their official clients.

Every answer is a function of the request: the same question has the same answer, byte for byte.

Rule: nothing here misbehaves; that is `script.py`'s.
"""

import json
import zlib
from typing import Any

from proxy.testing import sse
from proxy.testing.request import Seen
from proxy.testing.script import Answer, chunk, event_stream, last_chunk, ok, status

_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def answer(seen: Seen) -> Answer | None:
    """Answer where OpenAI or Anthropic would; None anywhere else."""
    for ending, say in _ENDPOINTS.items():
        if seen.path.endswith(ending) and seen.method == say[0]:
            return _asked(seen, say[1])
    return None


def chat_completion(seen: Seen) -> Answer:
    asked = seen.json()
    text, model = reply_to(asked.get("messages", [])), asked.get("model", "scripted")
    headers = _openai_headers(seen)
    wanted = (asked.get("response_format") or {}).get("json_schema")
    if wanted:
        text = json.dumps(fill_in(wanted["schema"], text))
    tool = _tool_call(asked["tools"][0]["function"], text) if asked.get("tools") else None
    if asked.get("stream"):
        usage = bool((asked.get("stream_options") or {}).get("include_usage"))
        return event_stream(sse.chat(text, model, usage, tool), headers=headers)
    said = {"content": text} if tool is None else {"content": None, "tool_calls": [tool]}
    choice = {
        "index": 0,
        "message": {"role": "assistant", "refusal": None, **said},
        "logprobs": None,
        "finish_reason": "stop" if tool is None else "tool_calls",
    }
    return ok(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": sse.CREATED,
            "model": model,
            "choices": [choice],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        },
        headers,
    )


def response(seen: Seen) -> Answer:
    asked = seen.json()
    said = asked.get("input", "")
    text = reply_to([{"role": "user", "content": said}] if isinstance(said, str) else said)
    wanted = (asked.get("text") or {}).get("format", {})
    if wanted.get("type") == "json_schema":
        text = json.dumps(fill_in(wanted["schema"], text))
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    whole = {
        "id": "resp_1",
        "object": "response",
        "created_at": sse.CREATED,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": asked.get("model", "scripted"),
        "output": [
            {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [part],
            }
        ],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
    }
    headers = _openai_headers(seen)
    if asked.get("stream"):
        return event_stream(sse.responses(text, whole), headers=headers)
    return ok(whole, headers)


def embeddings(seen: Seen) -> Answer:
    asked = seen.json()
    texts = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
    data = [
        {"object": "embedding", "index": n, "embedding": [float(len(text)), float(n), 1.0]}
        for n, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
    return ok(
        {"object": "list", "data": data, "model": asked.get("model", "scripted"), "usage": usage},
        _openai_headers(seen),
    )


def models(seen: Seen) -> Answer:
    model = {"id": "scripted", "object": "model", "created": sse.CREATED, "owned_by": "nobody"}
    return ok({"object": "list", "data": [model]}, _openai_headers(seen))


def message(seen: Seen) -> Answer:
    asked = seen.json()
    text = reply_to(asked.get("messages", []))
    block: dict[str, Any] = {"type": "text", "text": text}
    if asked.get("tools"):
        tool = asked["tools"][0]
        given = fill_in(tool["input_schema"], text)
        text = json.dumps(given)
        block = {"type": "tool_use", "id": "toolu_1", "name": tool["name"], "input": given}
    whole = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": asked.get("model", "scripted"),
        "content": [block],
        "stop_reason": "tool_use" if asked.get("tools") else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    if asked.get("stream"):
        return event_stream(sse.message(text, whole), request_id=_request_id(seen))
    return ok(whole, request_id=_request_id(seen))


def openai_error(code: int, text: str, headers: dict[str, Any] | None = None) -> Answer:
    """Fail as OpenAI's API does."""
    return status(code, {"error": _openai_fault(text, code)}, headers)


def anthropic_error(code: int, text: str, headers: dict[str, Any] | None = None) -> Answer:
    """Fail as Anthropic's API does."""
    return status(code, _anthropic_fault(text, code), headers)


def error_event(seen: Seen) -> Answer:
    """Fail in the middle of a stream, in the form of the provider that was asked."""
    if seen.path.endswith("/messages"):
        fault = sse.event(_anthropic_fault("Overloaded", 529), "error")
    else:
        fault = sse.event({"error": _openai_fault("The server had an error", 500)})
    return chunk(fault) + last_chunk()


def reply_to(messages: list[dict[str, Any]]) -> str:
    """Say something that shows what was asked."""
    content = messages[-1].get("content", "") if messages else ""
    if isinstance(content, list):
        content = " ".join(str(part.get("text", "")) for part in content)
    return f"You said: {content}"


def fill_in(schema: dict[str, Any], text: str) -> Any:
    """Give a value of this JSON schema; its strings are *text*."""
    match schema.get("type"):
        case "object":
            parts = schema.get("properties", {})
            return {name: fill_in(part, text) for name, part in parts.items()}
        case "array":
            return [fill_in(schema["items"], text)]
        case "integer" | "number":
            return 1
        case "boolean":
            return True
    return text


def _tool_call(function: dict[str, Any], text: str) -> dict[str, Any]:
    given = json.dumps(fill_in(function["parameters"], text))
    name = function["name"]
    return {"id": "call_1", "type": "function", "function": {"name": name, "arguments": given}}


def _asked(seen: Seen, say: Any) -> Answer:
    try:
        told: Answer = say(seen)
    except (ValueError, KeyError, TypeError, AttributeError):
        return openai_error(400, "We could not parse the JSON body of your request.")
    return told


def _openai_headers(seen: Seen) -> dict[str, str]:
    return {
        "x-request-id": _request_id(seen),
        "openai-processing-ms": "1",
        "x-ratelimit-limit-requests": "1000",
        "x-ratelimit-remaining-requests": "999",
    }


def _request_id(seen: Seen) -> str:
    # By content: asked directly and through a proxy, the same question has the same answer.
    return f"req_{zlib.crc32(seen.body):08x}"


def _openai_fault(text: str, code: int) -> dict[str, Any]:
    kind = _KINDS.get(code, "server_error" if code >= 500 else "invalid_request_error")
    return {"message": text, "type": kind, "param": None, "code": None}


def _anthropic_fault(text: str, code: int) -> dict[str, Any]:
    return {"type": "error", "error": {"type": _KINDS.get(code, "api_error"), "message": text}}


_ENDPOINTS = {
    "/chat/completions": ("POST", chat_completion),
    "/responses": ("POST", response),
    "/embeddings": ("POST", embeddings),
    "/messages": ("POST", message),
    "/v1/models": ("GET", models),
}
