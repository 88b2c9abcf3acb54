"""Spans: one for each request, and one under it for each attempt. The one door to OpenTelemetry.

Rule 1: a span says what a line of the log may say, and where an upstream is: never a path, a query,
a header value, a body or a message.
Rule 2: a span that has ended waits in a queue, and a thread sends it. A collector that is slow or
dead costs spans, and never a request.

Nobody imports this file who has not switched tracing on, and what OpenTelemetry holds for a whole
process (provider, propagator, context) is never touched. Names of attributes are those of its
semantic conventions: HTTP, stable; GenAI, in development.
"""

import logging
import re
import threading
import time
from collections.abc import Callable
from os import environ

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    Span,
    SpanKind,
    StatusCode,
    Tracer,
    format_trace_id,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from proxy import __version__
from proxy.config import schema
from proxy.errors import OctoLLMError
from proxy.observe import logs
from proxy.observe.catalogue import METHODS, Outcome
from proxy.observe.counting import Example
from proxy.wire.headers import Pair
from proxy.wire.message import Request

NAME = "octollm-proxy"

CLOSING_SECONDS = 3.0
"""What the last spans are given to reach the collector; a shutdown waits no longer for them."""

COMPLAINT_INTERVAL = 60.0
"""Seconds between two lines about a collector that takes no spans."""

_W3C = TraceContextTextMapPropagator()
_CONTEXT_FIELDS = frozenset((b"traceparent", b"tracestate"))

_OPERATIONS = (
    (re.compile(r"/(?:chat/completions|v1/messages|responses|(?:v[12]|api)/chat)\Z"), "chat"),
    (re.compile(r"/(?:completions|api/generate)\Z"), "text_completion"),
    (re.compile(r"(?:/embeddings|/embed|:embedContent|:batchEmbedContents)\Z"), "embeddings"),
    (re.compile(r":(?:generate|streamGenerate)Content\Z"), "generate_content"),
)
"""How the paths of the APIs that many speak end, and what the GenAI conventions call that."""


def start() -> "Tracing | None":
    """Begin to trace, as OpenTelemetry's own environment variables say.

    None where OTEL_SDK_DISABLED says so. Raises ValueError where one of them cannot be used.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    said = OTELResourceDetector().detect().attributes
    resource = Resource.create({"service.name": NAME, "service.version": __version__, **said})
    # Its own way to end would hold up the end of the process for half a minute.
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider)


class Tracing:
    """Makes the spans of requests and hands them to *provider*, from now until `close`."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer(NAME, __version__)
        self._complaints = _Complaints(time.monotonic)
        self._complaints.listen()

    def request(self, request: Request) -> "RequestSpan":
        """Open the span of a request; what its `traceparent` names is the parent."""
        return RequestSpan(self._tracer, request)

    def close(self, patience: float = CLOSING_SECONDS) -> None:
        """Send what is waiting; blocks for at most *patience* seconds."""
        # A thread of the loop's pool would be waited for at the end of the process.
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(patience)
        self._complaints.stop_listening()


class RequestSpan:
    """The span of one request; to be ended once, in whichever way that ends."""

    __slots__ = ("_context", "_method", "_span", "_tracer", "trace_id")

    def __init__(self, tracer: Tracer, request: Request) -> None:
        self._tracer = tracer
        self._method = request.method if request.method in METHODS else "_OTHER"
        version = ".".join(map(str, request.version))
        self._span: Span = tracer.start_span(
            _verb(self._method),
            _callers_context(request),
            SpanKind.SERVER,
            {
                "http.request.method": self._method,
                "url.scheme": "https" if request.secure else "http",
                "network.protocol.version": version,
            },
        )
        self._context = set_span_in_context(self._span, Context())
        self.trace_id = format_trace_id(self._span.get_span_context().trace_id)

    def attempt(self, upstream: schema.Upstream, path: str, resends: int) -> "AttemptSpan":
        """Open the span of an attempt at *upstream*, after *resends* others."""
        url = upstream.url
        facts: dict[str, str | int] = {
            "http.request.method": self._method,
            "server.address": url.host,
            "octollm.upstream": upstream.name,
        }
        name = _verb(self._method)
        if url.scheme != "unix":
            facts["server.port"] = url.port
        if resends:
            facts["http.request.resend_count"] = resends
        if upstream.kind == "llm" and (operation := _operation(path)):
            name = operation
            facts["gen_ai.operation.name"] = operation
            facts["gen_ai.provider.name"] = upstream.provider
        span = self._tracer.start_span(
            f"{name} {upstream.name}", self._context, SpanKind.CLIENT, facts
        )
        return AttemptSpan(span)

    def note(self, event: str, **facts: str | float) -> None:
        """Note something that happened between attempts."""
        # A request that is kept going for the cache can outlive its caller, and so this span.
        if self._span.is_recording():
            self._span.add_event(event, {f"octollm.{key}": fact for key, fact in facts.items()})

    def onto(self, headers: list[Pair]) -> list[Pair]:
        """Give *headers* with this span as the parent of whatever they lead to."""
        return _onto(headers, self._context)

    def end(
        self,
        *,
        request_id: str,
        upstream: str,
        answered_by: str,
        attempts: int,
        status: int | None,
        code: str,
        outcome: str,
    ) -> Example | None:
        """End it: *status* None says that nobody was there to be answered.

        Gives what a metric can point to, if this trace is one that is kept.
        """
        span = self._span
        if not span.is_recording():
            return None
        span.update_name(f"{_verb(self._method)} {upstream}")
        span.set_attributes(
            {
                "octollm.request_id": request_id,
                "octollm.upstream": upstream,
                "octollm.attempts": attempts,
                "octollm.outcome": outcome,
            }
        )
        if answered_by != upstream:
            span.set_attribute("octollm.answered_by", answered_by)
        if status:
            span.set_attribute("http.response.status_code", status)
        if code:
            span.set_attribute("error.type", code)
            if status is None or not 400 <= status < 500:  # those are the caller's own
                span.set_status(StatusCode.ERROR)
        span.end()
        return Example(self.trace_id, time.time()) if _is_sampled(span) else None


class AttemptSpan:
    """The span of one attempt, from its first byte to the last of its answer."""

    __slots__ = ("_span",)

    def __init__(self, span: Span) -> None:
        self._span = span

    def onto(self, headers: list[Pair]) -> list[Pair]:
        """Give *headers* with this span as the parent of what the upstream does."""
        return _onto(headers, set_span_in_context(self._span, Context()))

    def answered(self, status: int) -> None:
        """Note the status of the answer."""
        self._span.set_attribute("http.response.status_code", status)
        if status >= 400:
            self._span.set_attribute("error.type", str(status))
            self._span.set_status(StatusCode.ERROR)

    def end(self, outcome: Outcome | None, failure: OctoLLMError | None) -> None:
        """End it with the word that the metrics have for how it went, and with *failure*'s code.

        An attempt without an *outcome* never came to be: no connection was free.
        """
        if outcome is not None:
            self._span.set_attribute("octollm.outcome", outcome)
        if failure is not None:
            self._span.set_attribute("error.type", failure.error_code)
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


class _Complaints(logging.Handler):
    """Tells now and then what OpenTelemetry complains of, which is as often as it is called."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(logging.WARNING)
        self._clock = clock
        self._logger = logging.getLogger("opentelemetry")
        self._count = 0
        self._told: float | None = None

    def listen(self) -> None:
        self._logger.addHandler(self)
        self._logger.propagate = False

    def stop_listening(self) -> None:
        self._logger.removeHandler(self)
        # A reload has two of us for a moment.
        others = any(isinstance(handler, _Complaints) for handler in self._logger.handlers)
        self._logger.propagate = not others

    def emit(self, record: logging.LogRecord) -> None:
        self._count += 1
        now = self._clock()
        if self._told is None or now - self._told >= COMPLAINT_INTERVAL:
            self._told = now
            logs.get().warning("tracing.failing", count=self._count, message=record.getMessage())
            self._count = 0


def _callers_context(request: Request) -> Context:
    """Read which span a request says it belongs to; one that cannot be read, or two, are none."""
    carried: dict[str, list[str]] = {}
    for name, value in request.headers:
        if (field := name.lower()) in _CONTEXT_FIELDS:
            carried.setdefault(field.decode(), []).append(value.decode("latin-1"))
    if len(carried.get("traceparent", ())) != 1:
        return Context()
    return _W3C.extract(carried, Context())


def _onto(headers: list[Pair], context: Context) -> list[Pair]:
    carried: dict[str, str] = {}
    _W3C.inject(carried, context)
    kept = [pair for pair in headers if pair[0].lower() not in _CONTEXT_FIELDS]
    return [*kept, *((name.encode(), value.encode("latin-1")) for name, value in carried.items())]


def _verb(method: str) -> str:
    """Give what a span is named by: a method that nobody knows could be anything."""
    return "HTTP" if method == "_OTHER" else method


def _operation(path: str) -> str | None:
    for pattern, operation in _OPERATIONS:
        if pattern.search(path):
            return operation
    return None


def _is_sampled(span: Span) -> bool:
    return span.get_span_context().trace_flags.sampled
