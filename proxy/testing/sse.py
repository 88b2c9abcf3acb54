"""Event streams in the forms of OpenAI and Anthropic, event by event.

Each function gives a list of whole events as bytes, so that a test can leave some out:
`event_stream(chat("Hello there")[:2])`.

Rule: nothing here knows how the events are sent.
"""

import json
from typing import Any

CREATED = 1_700_000_000
"""A fixed point in time, so that two answers to one question are equal."""


def event(data: Any, name: str | None = None) -> bytes:
    """Write one event; *data* that is not text is written as JSON."""
    text = data if isinstance(data, str) else json.dumps(data)
    named = f"event: {name}\n" if name else ""
    return f"{named}data: {text}\n\n".encode()


def words(text: str) -> list[str]:
    """Cut a text into the pieces in which it is streamed."""
    first, *rest = text.split(" ")
    return [first, *(f" {word}" for word in rest)]


def chat(
    text: str, model: str = "scripted", usage: bool = False, tool: dict[str, Any] | None = None
) -> list[bytes]:
    """Stream a chat completion as OpenAI does, down to `[DONE]`.

    *tool* is a call of a tool that is made in place of the text.
    """
    common = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": model,
    }

    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return event({**common, "choices": [choice]})

    if tool is None:
        said: list[dict[str, Any]] = [{"content": word} for word in words(text)]
    else:
        function = tool["function"]
        begun = {**tool, "index": 0, "function": {**function, "arguments": ""}}
        said = [
            {"tool_calls": [begun]},
            *(
                {"tool_calls": [{"index": 0, "function": {"arguments": word}}]}
                for word in words(function["arguments"])
            ),
        ]
    counted = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return [
        chunk({"role": "assistant", "content": "" if tool is None else None}),
        *map(chunk, said),
        chunk({}, "stop" if tool is None else "tool_calls"),
        *([event({**common, "choices": [], "usage": counted})] if usage else []),
        event("[DONE]"),
    ]


def responses(text: str, whole: dict[str, Any]) -> list[bytes]:
    """Stream *whole*, a response object of OpenAI's responses API, whose text is *text*."""
    begun = {**whole, "status": "in_progress", "output": []}
    [message] = whole["output"]
    [part] = message["content"]
    at = {"item_id": message["id"], "output_index": 0, "content_index": 0}
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("response.created", {"response": begun}),
        ("response.in_progress", {"response": begun}),
        (
            "response.output_item.added",
            {"output_index": 0, "item": {**message, "status": "in_progress", "content": []}},
        ),
        ("response.content_part.added", {**at, "part": {**part, "text": ""}}),
        *(
            ("response.output_text.delta", {**at, "delta": word, "logprobs": []})
            for word in words(text)
        ),
        ("response.output_text.done", {**at, "text": text, "logprobs": []}),
        ("response.content_part.done", {**at, "part": part}),
        ("response.output_item.done", {"output_index": 0, "item": message}),
        ("response.completed", {"response": whole}),
    ]
    return [
        event({"type": name, "sequence_number": number, **data}, name)
        for number, (name, data) in enumerate(bodies)
    ]


def message(text: str, whole: dict[str, Any]) -> list[bytes]:
    """Stream *whole*, a message of Anthropic's API, whose text, or input of a tool, is *text*."""
    [block] = whole["content"]
    begun = {**whole, "content": [], "stop_reason": None}
    kind, key = ("text_delta", "text")
    empty: dict[str, Any] = {**block, "text": ""}
    if block["type"] == "tool_use":
        kind, key = ("input_json_delta", "partial_json")
        empty = {**block, "input": {}}
    bodies: list[dict[str, Any]] = [
        {"type": "message_start", "message": begun},
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": empty,
        },
        {"type": "ping"},
        *(
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": kind, key: word},
            }
            for word in words(text)
        ),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": whole.get("stop_reason"), "stop_sequence": None},
            "usage": {"output_tokens": 1},
        },
        {"type": "message_stop"},
    ]
    return [event(body, body["type"]) for body in bodies]
