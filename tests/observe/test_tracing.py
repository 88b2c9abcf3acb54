import io
import json
import logging
import threading

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from proxy.config.load import parse
from proxy.observe import logs, tracing
from proxy.observe.counting import Example
from proxy.observe.tracing import COMPLAINT_INTERVAL, Tracing
from proxy.testing.clock import Clock
from proxy.wire.message import Request

PARENT = (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")


@pytest.fixture
def exporter():
    return InMemorySpanExporter()


@pytest.fixture
def traced(exporter):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    traced = Tracing(provider)
    yield traced
    traced.close()


def asked(*headers, method="GET", secure=False):
    return Request(method, "/up/secret?key=secret", (1, 1), headers, None, "::1", 0.0, secure)


def upstream(url="https://api.test/base", **more):
    settings = "".join(f", {key}: {value}" for key, value in more.items())
    text = f"version: 1\nupstreams: {{up: {{url: '{url}'{settings}}}}}"
    return parse(text, "x.yaml", {}).upstreams["up"]


def ended(span, status=200, code="", outcome="completed", answered_by="up"):
    return span.end(
        request_id="r",
        upstream="up",
        answered_by=answered_by,
        attempts=1,
        status=status,
        code=code,
        outcome=outcome,
    )


@pytest.mark.parametrize(
    "path, operation",
    [
        ("/v1/chat/completions", "chat"),
        ("/chat/completions", "chat"),
        ("/v1/messages", "chat"),
        ("/v1/responses", "chat"),
        ("/api/chat", "chat"),
        ("/v1/completions", "text_completion"),
        ("/api/generate", "text_completion"),
        ("/v1/embeddings", "embeddings"),
        ("/api/embed", "embeddings"),
        ("/v1beta/models/g:embedContent", "embeddings"),
        ("/v1beta/models/g:batchEmbedContents", "embeddings"),
        ("/v1beta/models/g:generateContent", "generate_content"),
        ("/v1beta/models/g:streamGenerateContent", "generate_content"),
    ],
)
def test_what_is_asked_of_a_model_is_told_by_the_end_of_the_path(traced, exporter, path, operation):
    span = traced.request(asked(method="POST"))

    span.attempt(upstream(kind="llm", provider="anthropic"), path, 0).end("success", None)

    (attempt,) = exporter.get_finished_spans()
    assert attempt.name == f"{operation} up"
    assert attempt.attributes["gen_ai.operation.name"] == operation
    assert attempt.attributes["gen_ai.provider.name"] == "anthropic"


@pytest.mark.parametrize("path", ["/v1/models", "/v1/messages/batches", "/v1/threads/t/messages"])
def test_what_is_no_question_to_a_model_has_only_its_method(traced, exporter, path):
    span = traced.request(asked())

    span.attempt(upstream(kind="llm"), path, 0).end("success", None)

    (attempt,) = exporter.get_finished_spans()
    assert attempt.name == "GET up"
    assert not any(key.startswith("gen_ai") for key in attempt.attributes)


def test_what_is_no_model_is_not_described_as_one(traced, exporter):
    span = traced.request(asked())

    span.attempt(upstream(kind="vectordb"), "/v1/embeddings", 0).end("success", None)

    (attempt,) = exporter.get_finished_spans()
    assert not any(key.startswith("gen_ai") for key in attempt.attributes)


def test_an_upstream_is_where_the_config_says_and_a_socket_has_no_port(traced, exporter):
    span = traced.request(asked())

    span.attempt(upstream(), "/x", 0).end("success", None)
    span.attempt(upstream("unix:/run/up.sock"), "/x", 2).end("success", None)

    tcp, unix = (dict(span.attributes) for span in exporter.get_finished_spans())
    assert (tcp["server.address"], tcp["server.port"]) == ("api.test", 443)
    assert unix["server.address"] == "/run/up.sock"
    assert "server.port" not in unix
    assert unix["http.request.resend_count"] == 2


def test_a_method_that_nobody_knows_is_not_repeated(traced, exporter):
    ended(traced.request(asked(method="SECRET", secure=True)))

    (span,) = exporter.get_finished_spans()
    assert span.name == "HTTP up"
    assert span.attributes["http.request.method"] == "_OTHER"
    assert span.attributes["url.scheme"] == "https"
    assert "SECRET" not in span.to_json().upper()


@pytest.mark.parametrize(
    "status, code, is_error",
    [
        (200, "", False),
        (404, "ROUTE_NOT_FOUND", False),
        (429, "RATE_LIMIT_EXCEEDED", False),
        (503, "CIRCUIT_OPEN", True),
        (200, "NETWORK_ERROR", True),
        (0, "NETWORK_ERROR", True),
    ],
)
def test_a_request_is_an_error_unless_it_is_the_callers_own(
    traced, exporter, status, code, is_error
):
    ended(traced.request(asked()), status, code)

    (span,) = exporter.get_finished_spans()
    assert (span.status.status_code is StatusCode.ERROR) == is_error
    assert span.attributes.get("error.type", "") == code
    assert span.attributes.get("http.response.status_code", 0) == status


def test_what_happens_after_the_end_is_not_told(traced, exporter):
    span = traced.request(asked())
    ended(span)

    span.note("retry.scheduled", wait_ms=1)

    assert exporter.get_finished_spans()[0].events == ()


def test_only_a_trace_that_is_kept_is_an_example(traced):
    kept = ended(traced.request(asked(PARENT)))
    name, value = PARENT
    dropped = ended(traced.request(asked((name, value[:-1] + b"0"))))

    assert isinstance(kept, Example)
    assert kept.trace_id == "0af7651916cd43dd8448eb211c80319c"
    assert dropped is None


def test_the_headers_of_before_make_room_for_ours(traced):
    span = traced.request(asked(PARENT, (b"TraceState", b"a=1"), (b"tracestate", b"b=2")))

    headers = span.onto([(b"Host", b"x"), PARENT, (b"TraceState", b"a=1"), (b"Via", b"y")])

    assert [name for name, _ in headers] == [b"Host", b"Via", b"traceparent", b"tracestate"]
    assert headers[-1][1] == b"a=1,b=2"


def test_complaints_are_told_once_in_a_while_with_their_number():
    stream, clock = io.BytesIO(), Clock()
    logs.configure("info", "json", stream)
    complaints = tracing._Complaints(clock)
    complaints.listen()
    try:
        exporter = logging.getLogger("opentelemetry.exporter.otlp")
        for number in range(5):
            exporter.warning("no collector %s", number)
        exporter.info("not a complaint")
        clock.advance(COMPLAINT_INTERVAL)
        exporter.error("still none")
    finally:
        complaints.stop_listening()
        logs.close()

    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["event"], line["count"], line["message"]) for line in told] == [
        ("tracing.failing", 1, "no collector 0"),
        ("tracing.failing", 5, "still none"),
    ]
    assert logging.getLogger("opentelemetry").propagate


def test_of_two_who_listen_the_second_goes_on():
    first, second = tracing._Complaints(Clock()), tracing._Complaints(Clock())
    logger = logging.getLogger("opentelemetry")
    first.listen()
    second.listen()

    first.stop_listening()
    try:
        assert not logger.propagate
    finally:
        second.stop_listening()
    assert logger.propagate


def test_closing_waits_no_longer_than_it_is_told():
    released, asked_to_end = threading.Event(), threading.Event()

    class Stuck(InMemorySpanExporter):
        def shutdown(self):
            asked_to_end.set()
            released.wait()

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(Stuck()))

    Tracing(provider).close(patience=0.01)

    assert asked_to_end.wait(10)
    released.set()


def test_opentelemetrys_own_switch_turns_it_off(monkeypatch):
    monkeypatch.setenv("OTEL_SDK_DISABLED", " True ")

    assert tracing.start() is None


def test_the_service_has_our_name_unless_it_is_given_another(monkeypatch):
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    ours = tracing.start()
    monkeypatch.setenv("OTEL_SERVICE_NAME", "theirs")
    theirs = tracing.start()
    try:
        assert ours._provider.resource.attributes["service.name"] == "octollm-proxy"
        assert ours._provider.resource.attributes["deployment.environment.name"] == "test"
        assert theirs._provider.resource.attributes["service.name"] == "theirs"
    finally:
        ours.close()
        theirs.close()
