"""The table of providers: what their streams' errors stand for, and what their clients are told."""

import json

import pytest

from proxy import errors
from proxy.gateway import dialects
from proxy.gateway.dialects import ANTHROPIC, CHAT, GENERIC, OPENAI, RESPONSES
from proxy.testing import sse
from proxy.wire import sse as wire_sse


@pytest.mark.parametrize(
    ("provider", "path", "dialect"),
    [
        ("openai", "/v1/chat/completions", CHAT),
        ("openai", "/openai/deployments/gpt/chat/completions/", CHAT),
        ("openai", "/v1/completions", CHAT),
        ("openai", "/v1/responses", RESPONSES),
        ("openai", "/v1/responses/resp_1", RESPONSES),
        ("openai", "/v1/images/generations", OPENAI),
        ("anthropic", "/v1/messages", ANTHROPIC),
        ("generic", "/v1/chat/completions", GENERIC),
        ("qdrant", "/events", GENERIC),
    ],
)
def test_provider_and_path_choose_the_dialect(provider, path, dialect):
    assert dialects.of(provider, path) is dialect


def chat(error, **more):
    return sse.event({**more, "error": error})


FAULTS = [
    (CHAT, chat({"message": "no", "type": "server_error"}), 500),
    (CHAT, chat({"message": "no", "type": "x", "code": "rate_limit_exceeded"}), 429),
    (CHAT, chat({"message": "no", "code": 503}), 503),
    (CHAT, chat({"message": "no", "code": "502"}), 502),
    (CHAT, chat({"message": "no", "code": 7}), 500),
    (CHAT, chat({"message": "no", "type": "invalid_request_error"}), 400),
    (CHAT, chat({"message": "no"}, id="gen-1", choices=[]), 500),
    (CHAT, chat("model not found"), 500),
    (CHAT, sse.event({"error": {"message": "no"}}, "error"), 500),
    (CHAT, chat(None), None),
    (CHAT, chat({}, id="x").replace(b'"error"', b'\\"error\\"'), None),
    (CHAT, b'data: {"error": {"message":\n\n', None),
    (CHAT, b'data: ["error"]\n\n', None),
    (CHAT, b': "error"\n\n', None),
    (CHAT, sse.event({"choices": [{"delta": {"content": "error"}}]}), None),
    (RESPONSES, sse.event({"type": "error", "code": "server_error", "message": "no"}, "error"), 500),
    (RESPONSES, sse.event({"error": {"type": "overloaded_error"}}), 529),
    (RESPONSES, sse.event({"response": {"error": {"code": "rate_limit_exceeded"}}}, "response.failed"), 429),
    (RESPONSES, sse.event({"response": None, "why": "error"}, "response.failed"), None),
    (RESPONSES, sse.event({"response": {"error": None}}, "response.created"), None),
    (ANTHROPIC, sse.event({"type": "error", "error": {"type": "overloaded_error"}}, "error"), 529),
    (ANTHROPIC, sse.event({"type": "error", "error": {"type": "api_error"}}, "error"), 500),
    (ANTHROPIC, sse.event({"type": "error", "error": {"type": "timeout_error"}}, "error"), 504),
    (ANTHROPIC, sse.event({"type": "error", "error": {"type": "new_error"}}, "error"), 500),
    (ANTHROPIC, sse.event({"type": "error", "error": "plain"}, "error"), 500),
    (ANTHROPIC, sse.event({"type": "error"}), None),
    (GENERIC, sse.event({"error": {"message": "no"}}, "error"), None),
]  # fmt: skip


@pytest.mark.parametrize(("dialect", "event", "status"), FAULTS)
def test_an_error_event_stands_for_a_status(dialect, event, status):
    found = dialect.fault(b": ping\n\n" + event + event)

    assert (found and found.status) == status
    assert found is None or json.loads(found.data)


ENDS = [
    (CHAT, b"data: [DONE]\n\n", True),
    (CHAT, b"data: {}\r\n\r\ndata:[DONE]\r\n\r\n", True),
    (CHAT, b'data: {"content": "data: [DONE]"}\n\n', False),
    (OPENAI, b"event: done\ndata: [DONE]\n\n", True),
    (RESPONSES, b"event: response.completed\ndata: {}\n\n", True),
    (RESPONSES, b"event: response.incomplete\ndata: {}\n\n", True),
    (RESPONSES, b"event: response.failed\ndata: {}\n\n", True),
    (RESPONSES, b"event: response.created\ndata: {}\n\n", False),
    (ANTHROPIC, b"event: message_stop\ndata: {}\n\n", True),
    (ANTHROPIC, b'event: content_block_delta\ndata: {"text": "message_stop"}\n\n', False),
    (GENERIC, b"data: [DONE]\n\n", False),
]


@pytest.mark.parametrize(("dialect", "events", "ends"), ENDS)
def test_an_end_mark_is_found_where_it_is_one(dialect, events, ends):
    assert dialect.is_end(events) is ends


@pytest.mark.parametrize(
    ("dialect", "event", "good"),
    [
        (CHAT, b'data: {"a": 1}\n\n', True),
        (CHAT, b"data: [DONE]\n\n", True),
        (CHAT, b": comment\n\n", True),
        (CHAT, b'data: {"a":\ndata: 1}\n\n', True),
        (CHAT, b'data: {"a"\n\n', False),
        (CHAT, b'data: {"a": "\xff"}\n\n', False),
        (CHAT, b"data: " + b"[" * 100_000 + b"\n\n", False),
        (GENERIC, b"data: anything\n\n", True),
        (GENERIC, b"data: \xff\n\n", False),
    ],
)
def test_an_event_is_well_formed_if_the_client_can_read_it(dialect, event, good):
    assert dialect.is_well_formed(event) is good


@pytest.mark.parametrize("dialect", [RESPONSES, ANTHROPIC, GENERIC])
def test_a_named_event_is_named_error_and_so_is_its_type(dialect):
    name, data = wire_sse.fields(dialect.write(errors.NetworkError("no")))

    assert name == "error"
    assert json.loads(data).get("type", "error") == "error"


@pytest.mark.parametrize("dialect", [CHAT, RESPONSES, OPENAI, ANTHROPIC])
def test_what_we_write_is_an_error_in_the_dialect_itself(dialect):
    error = errors.NetworkError('cut\n\nshort "here"', details={"request_id": "r1"})

    event = dialect.write(error)

    assert event.endswith(b"\n\n")
    assert event.count(b"\n\n") == 1
    assert dialect.is_well_formed(event)
    said = json.loads(dialect.fault(event).data)["error"]
    assert said["message"] == error.message
    assert said["request_id"] == "r1"
    assert "NETWORK_ERROR" in (said["type"], said.get("code"))
