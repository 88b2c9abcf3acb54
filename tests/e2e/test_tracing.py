"""The spans of real requests: who is whose parent, what they say, and what they never say."""

import asyncio
import gzip
import io
import json
import socket
import subprocess
import sys
import threading
import time
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from e2e.support import answer, call, connect, proxied, request
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, format_span_id, format_trace_id
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from proxy.app import Proxy
from proxy.config.load import load
from proxy.observe import logs, tracing
from proxy.observe.tracing import Tracing
from proxy.testing import script
from proxy.testing.script import hang, ok, reset, status, wait
from proxy.testing.upstream import Upstream

CONFIG = """
version: 1
listen: {port: 0}
admin: {port: 0}
tracing: {enabled: true}
batch: {}
upstreams:
  up: {url: "${UP}", %s}
  other: {url: "${OTHER}"}
"""
LLM = "kind: llm, provider: openai"
CHAT = "/up/v1/chat/completions"

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"
UNSAMPLED = f"00-{TRACE_ID}-b7ad6b7169203331-00"


class Spans(InMemorySpanExporter):
    """The spans that have ended, oldest first."""

    def of(self, kind):
        return [span for span in self.get_finished_spans() if span.kind is kind]

    @property
    def requests(self):
        return self.of(SpanKind.SERVER)

    @property
    def attempts(self):
        return self.of(SpanKind.CLIENT)

    @property
    def request(self):
        (span,) = self.requests
        return span


@pytest.fixture
def spans(monkeypatch):
    """Keep the spans of the proxies that are started, instead of sending them."""
    spans = Spans()

    def start():
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(spans))
        return Tracing(provider)

    monkeypatch.setattr(tracing, "start", start)
    return spans


@asynccontextmanager
async def traced(up="", text=CONFIG):
    async with Upstream() as upstream, Upstream() as other:
        async with proxied(text % up, up=upstream.url, other=other.url) as proxy:
            upstream.always(ok("up"))
            other.always(ok("other"))
            yield proxy, upstream, other


@pytest.fixture
def said():
    stream = io.BytesIO()
    logs.configure("debug", "json", stream)

    def lines():
        logs.close()
        return [json.loads(line) for line in stream.getvalue().splitlines()]

    yield lines
    logs.close()


def named(span):
    """A span as a traceparent names it."""
    context = span.context
    ids = f"{format_trace_id(context.trace_id)}-{format_span_id(context.span_id)}"
    return f"00-{ids}-{context.trace_flags:02x}"


def events(span):
    return [(event.name, dict(event.attributes)) for event in span.events]


# --- what is made


async def test_a_request_and_its_attempt_are_two_spans_of_one_trace(spans):
    async with traced(LLM) as (proxy, upstream, _):
        told = await call(proxy.addresses[""], CHAT, "POST", b"{}")

    (attempt,) = spans.attempts
    assert attempt.parent.span_id == spans.request.context.span_id
    assert spans.request.parent is None
    assert spans.request.name == "POST up"
    assert dict(spans.request.attributes) == {
        "http.request.method": "POST",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "octollm.request_id": told["x-octollm-request-id"],
        "octollm.upstream": "up",
        "octollm.attempts": 1,
        "octollm.outcome": "completed",
        "http.response.status_code": 200,
    }
    assert attempt.name == "chat up"
    assert dict(attempt.attributes) == {
        "http.request.method": "POST",
        "server.address": "127.0.0.1",
        "server.port": upstream.port,
        "octollm.upstream": "up",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "http.response.status_code": 200,
        "octollm.outcome": "success",
    }
    assert {span.status.status_code for span in spans.get_finished_spans()} == {StatusCode.UNSET}


async def test_each_attempt_of_a_retry_is_a_span_and_the_wait_between_them_an_event(spans):
    async with traced("retry: {jitter: false}") as (proxy, upstream, _):
        upstream.script(reset(), status(503), ok())

        await call(proxy.addresses[""], "/up/x")

    resends = [span.attributes.get("http.request.resend_count") for span in spans.attempts]
    assert resends == [None, 1, 2]
    first, second, third = spans.attempts
    assert first.attributes["error.type"] == "NETWORK_ERROR"
    assert "http.response.status_code" not in first.attributes
    assert second.attributes["error.type"] == "THIRD_PARTY_API_ERROR"
    assert second.attributes["http.response.status_code"] == 503
    outcomes = [span.attributes["octollm.outcome"] for span in spans.attempts]
    assert outcomes == ["reset", "status_5xx", "success"]
    failed = [span.status.status_code is StatusCode.ERROR for span in spans.attempts]
    assert failed == [True, True, False]
    assert events(spans.request) == [
        ("retry.scheduled", {"octollm.wait_ms": 1000, "octollm.reason": "reset"}),
        ("retry.scheduled", {"octollm.wait_ms": 2000, "octollm.reason": "status_5xx"}),
    ]
    assert spans.request.status.status_code is StatusCode.UNSET
    assert spans.request.attributes["octollm.attempts"] == 3
    assert third.end_time <= spans.request.end_time


async def test_a_fallback_is_an_event_and_its_attempt_names_who_was_tried(spans):
    settings = "retry: {max_retries: 0}, fallback: [{upstream: other}]"
    async with traced(settings) as (proxy, upstream, _):
        upstream.always(status(500))

        await call(proxy.addresses[""], "/up/x")

    assert [span.attributes["octollm.upstream"] for span in spans.attempts] == ["up", "other"]
    assert events(spans.request) == [
        ("fallback.taken", {"octollm.target": "other", "octollm.reason": "status_5xx"})
    ]
    assert spans.request.attributes["octollm.answered_by"] == "other"


async def test_an_open_circuit_is_an_event_and_no_attempt(spans):
    settings = "retry: {max_retries: 0}, breaker: {failure_threshold: 1}"
    async with traced(settings) as (proxy, upstream, _):
        upstream.always(status(500))
        await call(proxy.addresses[""], "/up/x")
        spans.clear()

        await call(proxy.addresses[""], "/up/x")

    assert spans.attempts == []
    assert events(spans.request) == [("breaker.rejected", {"octollm.upstream": "up"})]
    assert spans.request.attributes["error.type"] == "CIRCUIT_OPEN"
    assert spans.request.attributes["http.response.status_code"] == 503
    assert spans.request.status.status_code is StatusCode.ERROR
    assert spans.request.status.description is None


async def test_a_shut_gate_is_an_event(spans):
    async with traced("retry: {max_retries: 0}") as (proxy, upstream, _):
        upstream.script(status(429, retry_after=2), ok())
        await call(proxy.addresses[""], "/up/x")
        spans.clear()

        await call(proxy.addresses[""], "/up/x")

    ((name, facts),) = events(spans.request)
    assert name == "throttle.waiting"
    assert 1900 <= facts["octollm.wait_ms"] <= 2400


async def test_the_loser_of_two_hedged_attempts_ends_as_cancelled(spans):
    async with traced("hedge: {delay: 300ms}") as (proxy, upstream, _):
        upstream.script(hang(), ok())

        await call(proxy.addresses[""], "/up/x")

    outcomes = {
        span.attributes.get("http.request.resend_count"): span.attributes["octollm.outcome"]
        for span in spans.attempts
    }
    assert outcomes == {None: "cancelled", 1: "success"}
    assert len({named(span) for span in spans.attempts}) == 2
    assert {span.status.status_code for span in spans.attempts} == {StatusCode.UNSET}


async def test_a_caller_who_leaves_ends_both_spans_and_is_no_error(spans):
    async with traced() as (proxy, upstream, _):
        upstream.always(hang())
        _, writer = await connect(proxy.addresses[""])
        writer.write(request(proxy.addresses[""], "/up/x"))
        seen = await upstream.asked()
        writer.close()
        await seen.over.wait()
    # The proxy has stopped: whatever could end has ended.

    (attempt,) = spans.attempts
    assert attempt.attributes["octollm.outcome"] == "cancelled"
    assert spans.request.attributes["octollm.outcome"] == "left"
    assert "http.response.status_code" not in spans.request.attributes
    assert "error.type" not in spans.request.attributes
    assert spans.request.status.status_code is StatusCode.UNSET


async def test_an_answer_that_is_cut_is_an_error_whatever_its_status(spans):
    async with traced("retry: {max_retries: 0}") as (proxy, upstream, _):
        upstream.always(script.short("hello"))

        told = await call(proxy.addresses[""], "/up/x")

    assert not told.whole
    (attempt,) = spans.attempts
    assert attempt.attributes["octollm.outcome"] == "cut"
    assert spans.request.attributes["http.response.status_code"] == 200
    assert spans.request.attributes["error.type"] == "NETWORK_ERROR"
    assert spans.request.status.status_code is StatusCode.ERROR


async def test_a_callers_own_mistake_is_no_error_of_this_server(spans):
    async with traced() as (proxy, _, __):
        assert (await call(proxy.addresses[""], "/nowhere/x")).status == 404

    assert spans.request.name == "GET -"
    assert spans.request.attributes["error.type"] == "ROUTE_NOT_FOUND"
    assert spans.request.status.status_code is StatusCode.UNSET


async def test_an_error_that_passes_as_it_is_has_its_status_for_a_type(spans):
    async with traced("rewrite_client_errors: false") as (proxy, upstream, _):
        upstream.always(status(404))

        assert (await call(proxy.addresses[""], "/up/x")).status == 404

    (attempt,) = spans.attempts
    assert attempt.attributes["error.type"] == "404"
    assert attempt.status.status_code is StatusCode.ERROR
    assert spans.request.attributes["octollm.outcome"] == "completed"
    assert spans.request.status.status_code is StatusCode.UNSET


async def test_an_attempt_for_which_no_connection_was_free_has_no_outcome(spans):
    settings = "limits: {connections: 1, pending: 0}, retry: {max_retries: 0}"
    async with traced(settings) as (proxy, upstream, _):
        upstream.always(wait(5) + ok())
        first = asyncio.create_task(call(proxy.addresses[""], "/up/x"))
        await upstream.asked()

        assert (await call(proxy.addresses[""], "/up/x")).status == 503
        await first

    refused, served = spans.attempts
    assert refused.attributes["error.type"] == "CAPACITY_EXCEEDED"
    assert "octollm.outcome" not in refused.attributes
    assert served.attributes["octollm.outcome"] == "success"


async def test_the_items_of_a_batch_are_children_of_the_batch(spans):
    items = [
        {"id": "a", "method": "GET", "path": "/up/x"},
        {"id": "b", "method": "GET", "path": "/up/x", "headers": {"traceparent": PARENT}},
    ]
    async with traced() as (proxy, _, __):
        body = json.dumps({"requests": items}).encode()
        json_type = {"Content-Type": "application/json"}
        told = await call(proxy.addresses[""], "/-/batch", "POST", body, json_type)

    assert told.status == 200
    (batch,) = (span for span in spans.requests if span.parent is None)
    items = [span for span in spans.requests if span is not batch]
    assert (batch.name, {item.name for item in items}) == ("POST -", {"GET up"})
    parents = {format_span_id(item.parent.span_id) for item in items}
    assert parents == {format_span_id(batch.context.span_id), "b7ad6b7169203331"}


async def test_what_cannot_be_read_as_a_request_has_a_span_too(spans):
    async with traced() as (proxy, _, __):
        reader, writer = await connect(proxy.addresses[""])
        writer.write(b"nonsense\r\n\r\n")
        assert (await answer(reader)).status == 400
        writer.close()

    assert spans.request.name == "HTTP -"
    assert spans.request.attributes["error.type"] == "VALIDATION_ERROR"


# --- from trace to trace


async def test_the_callers_span_is_the_parent_and_the_attempt_is_the_upstreams(spans):
    async with traced() as (proxy, upstream, _):
        headers = {"traceparent": PARENT, "tracestate": "congo=t61rcWkgMzE,rojo=1"}
        await call(proxy.addresses[""], "/up/x", headers=headers)

    (attempt,) = spans.attempts
    assert format_span_id(spans.request.parent.span_id) == "b7ad6b7169203331"
    assert format_trace_id(spans.request.context.trace_id) == TRACE_ID
    assert upstream.seen[0].values("traceparent") == [named(attempt)]
    assert upstream.seen[0].values("tracestate") == ["congo=t61rcWkgMzE,rojo=1"]


async def test_every_attempt_sends_its_own_span(spans):
    async with traced("retry: {base_delay: 1ms}") as (proxy, upstream, _):
        upstream.script(status(503), status(503), ok())
        await call(proxy.addresses[""], "/up/x", headers={"traceparent": PARENT})

    sent = [seen.header("traceparent") for seen in upstream.seen]
    assert sent == [named(span) for span in spans.attempts]
    assert len(set(sent)) == 3


async def test_an_upstream_that_shall_not_know_is_told_of_no_trace(spans):
    async with traced("forward: {trace: false}") as (proxy, upstream, _):
        headers = {"traceparent": PARENT, "tracestate": "congo=1"}
        await call(proxy.addresses[""], "/up/x", headers=headers)

    assert upstream.seen[0].values("traceparent") == []
    assert upstream.seen[0].values("tracestate") == []
    assert format_trace_id(spans.attempts[0].context.trace_id) == TRACE_ID


async def test_a_trace_that_is_not_sampled_goes_on_and_is_not_recorded(spans, said):
    async with traced() as (proxy, upstream, _):
        await call(proxy.addresses[""], "/up/x", headers={"traceparent": UNSAMPLED})
        accept = {"Accept": "application/openmetrics-text"}
        exposed = await call(proxy.addresses["admin"], "/metrics", headers=accept)

    assert spans.get_finished_spans() == ()
    version, trace_id, span_id, flags = upstream.seen[0].header("traceparent").split("-")
    assert (version, trace_id, flags) == ("00", TRACE_ID, "00")
    assert span_id != "b7ad6b7169203331"
    assert b"trace_id" not in exposed.body
    (line,) = (line for line in said() if line["event"] == "request.completed")
    assert line["trace_id"] == TRACE_ID


@pytest.mark.parametrize(
    "broken",
    [
        f"ff-{TRACE_ID}-b7ad6b7169203331-01",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-{TRACE_ID.upper()}-b7ad6b7169203331-01",
        f"00-{TRACE_ID}-b7ad6b7169203331-01-more",
        "nonsense",
        f"{PARENT}\r\ntraceparent: {PARENT}",
    ],
)
async def test_a_traceparent_that_cannot_be_read_begins_a_new_trace(spans, broken):
    async with traced() as (proxy, upstream, _):
        headers = {"traceparent": broken, "tracestate": "congo=1"}
        await call(proxy.addresses[""], "/up/x", headers=headers)

    assert spans.request.parent is None
    assert upstream.seen[0].values("traceparent") == [named(spans.attempts[0])]
    assert upstream.seen[0].values("tracestate") == []


# --- beside logs and metrics


async def test_every_line_about_a_request_carries_its_trace(spans, said):
    settings = "retry: {max_retries: 1, base_delay: 1ms}, fallback: [{upstream: other}]"
    async with traced(settings) as (proxy, upstream, _):
        upstream.always(status(503))
        await call(proxy.addresses[""], "/up/x", headers={"traceparent": PARENT})

    about = {line["event"]: line for line in said() if "request_id" in line}
    wanted = {"retry.scheduled", "retry.exhausted", "fallback.taken", "request.completed"}
    assert about.keys() == wanted
    assert {line["trace_id"] for line in about.values()} == {TRACE_ID}
    assert not any("unsaid" in line for line in about.values())


async def test_the_histogram_of_durations_points_to_the_last_trace_of_each_bucket(spans):
    async with traced() as (proxy, upstream, _):
        upstream.script(ok(), ok(), wait(2) + ok())
        for _ in range(3):
            await call(proxy.addresses[""], "/up/x")
        accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
        exposed = await call(proxy.addresses["admin"], "/metrics", headers=accept)
        plain = await call(proxy.addresses["admin"], "/metrics")

    found = {
        sample.labels["le"]: sample.exemplar
        for family in text_string_to_metric_families(exposed.body.decode())
        for sample in family.samples
        if sample.exemplar is not None
    }
    ids = [format_trace_id(span.context.trace_id) for span in spans.requests]
    pointed = [exemplar.labels["trace_id"] for exemplar in found.values()]
    assert set(pointed) <= set(ids)
    assert ids[-1] in pointed
    for le, exemplar in found.items():
        assert exemplar.value <= float(le)
        assert abs(time.time() - float(exemplar.timestamp)) < 60
    assert b"trace_id" not in plain.body


CANARY = "sk-canary-5f1e77"


async def test_no_span_holds_what_a_request_says(spans):
    settings = f"{LLM}, auth: {{header: Authorization, value: 'Bearer {CANARY}'}}, retry: {{max_retries: 1, base_delay: 1ms}}, fallback: [{{upstream: other}}]"
    body = json.dumps({"model": CANARY, "messages": [{"content": CANARY}]}).encode()
    headers = {"Authorization": CANARY, "X-Other": CANARY, "User-Agent": CANARY, "Cookie": CANARY, "baggage": f"a={CANARY}", "Accept": CANARY}  # fmt: skip
    async with traced(settings) as (proxy, upstream, other):
        upstream.always(status(500, {"error": {"message": CANARY}}, x_said=CANARY))
        other.script(
            ok(CANARY, x_said=CANARY),
            script.garbage(),
            status(400, {"error": CANARY}),
        )
        for _ in range(3):
            await call(proxy.addresses[""], f"{CHAT}/{CANARY}?key={CANARY}", "POST", body, headers)
        await call(proxy.addresses[""], f"/{CANARY}/x?{CANARY}", f"{CANARY.upper()}", body, headers)

    assert len(spans.attempts) > 6
    assert len(spans.requests) == 4
    for span in spans.get_finished_spans():
        assert CANARY.lower() not in span.to_json().lower()


# --- to a collector


@contextmanager
def collector(answer=200):
    """Receive spans as OTLP over HTTP."""
    received = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            data = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["Content-Encoding"] == "gzip":
                data = gzip.decompress(data)
            received.append((self.path, ExportTraceServiceRequest.FromString(data)))
            self.send_response(answer)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.real_time("asyncio", "uvloop")
async def test_spans_reach_the_collector_that_the_environment_names_before_the_end(monkeypatch):
    with collector() as (url, received):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "checkout-sidecar")
        async with traced() as (proxy, _, __):
            await call(proxy.addresses[""], "/up/x")

    assert {path for path, _ in received} == {"/v1/traces"}
    resources = [spans for _, sent in received for spans in sent.resource_spans]
    names = [
        span.name for spans in resources for scope in spans.scope_spans for span in scope.spans
    ]
    assert sorted(names) == ["GET up", "GET up"]
    facts = {fact.key: fact.value.string_value for fact in resources[0].resource.attributes}
    assert facts["service.name"] == "checkout-sidecar"
    assert facts["service.version"]


@pytest.mark.real_time
async def test_a_collector_that_is_not_there_costs_a_line_now_and_then(monkeypatch, said):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv(
            "OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{nobody.getsockname()[1]}"
        )
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
        monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "4")
        monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")
        async with traced() as (proxy, _, __):
            for _ in range(20):
                assert (await call(proxy.addresses[""], "/up/x")).status == 200

    lines = said()
    assert len([line for line in lines if line["event"] == "tracing.failing"]) == 1
    assert [line for line in lines if line.get("logger", "").startswith("opentelemetry")] == []


@pytest.mark.real_time
async def test_tracing_is_switched_on_and_off_by_a_reload(monkeypatch, tmp_path):
    file = tmp_path / "proxy.yaml"
    with collector() as (url, received):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        async with Upstream() as upstream:
            upstream.always(ok())
            text = "version: 1\nwatch: false\nlisten: {port: 0}\nadmin: {port: 0}\nupstreams:\n"
            off = f"{text}  up: {{url: '{upstream.url}'}}\n"
            file.write_text(off)
            proxy = Proxy(load(file), file)
            await proxy.start()
            try:
                await call(proxy.addresses[""], "/up/off")
                file.write_text(f"{off}tracing: {{enabled: true}}\n")
                await proxy.reload()
                await call(proxy.addresses[""], "/up/on")
                file.write_text(off)
                await proxy.reload()
                await call(proxy.addresses[""], "/up/off")
            finally:
                await proxy.stop()
            await asyncio.get_running_loop().shutdown_default_executor()  # the last are sent

    assert [seen.header("traceparent") is not None for seen in upstream.seen] == [
        False,
        True,
        False,
    ]
    sent = [spans for _, sent in received for spans in sent.resource_spans]
    assert sum(len(scope.spans) for spans in sent for scope in spans.scope_spans) == 2


# --- off


def run(code):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip


SERVE = """
import asyncio, sys
from proxy.app import Proxy
from proxy.config.load import parse
async def main():
    proxy = Proxy(parse("version: 1\\nlisten: {port: 0}\\nadmin: {port: 0}\\nupstreams: {up: {url: 'http://127.0.0.1:9'}}", "x", {}))
    await proxy.start()
    host, port = proxy.addresses[""].removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /nowhere HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
    await reader.read()
    writer.close()
    await proxy.stop()
asyncio.run(main())
# Its metrics are looked for by redis-py, wherever both are installed.
ours = ("proxy.observe.tracing", "opentelemetry.sdk.trace", "opentelemetry.exporter")
print([name for name in sys.modules if name.startswith(ours)])
"""


def test_who_does_not_trace_loads_nothing_of_it():
    done = run(SERVE)

    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_without_the_extra_the_start_says_what_to_install(tmp_path):
    file = tmp_path / "proxy.yaml"
    file.write_text(
        "version: 1\nlisten: {port: 0}\nadmin: {port: 0}\ntracing: {enabled: true}\nupstreams: {up: {url: 'http://127.0.0.1:9'}}"
    )
    code = f"import sys; sys.modules['opentelemetry'] = None; from proxy.cli import main; main(['serve', '-c', {str(file)!r}])"

    done = run(code)

    assert done.returncode == 1
    assert "pip install 'octollm-proxy[tracing]'" in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_variable_that_cannot_be_used_ends_the_start(monkeypatch):
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")

    with pytest.raises(OSError, match="OpenTelemetry's environment variables"):
        async with traced():
            pass
