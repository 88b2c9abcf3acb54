"""What is known of one request while it is served, and what is told of it when it is over.

Every request ends in exactly one of three ways: `completed`, `failed` or `left`. Nothing here
decides anything.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from proxy.errors import (
    CapacityExceededError,
    CircuitOpenError,
    OctoLLMError,
    RateLimitError,
    Severity,
)
from proxy.observe import logs
from proxy.observe.catalogue import AbortPhase, LeavePhase
from proxy.observe.counting import UpstreamMetrics
from proxy.observe.history import History
from proxy.observe.metrics import Metrics
from proxy.wire.message import Exchange, Request

if TYPE_CHECKING:  # who does not trace does not load it
    from proxy.observe.tracing import RequestSpan

UNROUTED = "-"
"""The `upstream` of a request that named none; no configured name can be this."""

CALLER_LEFT = 499
"""The status a caller who left is counted under; nginx's, and widely understood."""

_UPSTREAM_ID_FIELDS = frozenset((b"x-request-id", b"request-id", b"x-amzn-requestid"))


def _is_quiet(error: OctoLLMError) -> bool:
    """Tell whether we only turned a call away, and nobody was asked in another's place.

    An outage makes thousands of these a second; `breaker.rejecting` and `limits.rejecting` tell of
    them all in one line.
    """
    match error:
        case CircuitOpenError():
            ours = True
        case CapacityExceededError():
            ours = not error.sent  # else it was under way, and we have ended it
        case RateLimitError():
            ours = error.condition is None
        case _:
            ours = False
    return ours and "tried" not in error.details


class Call:
    """One request: whose it is, what was tried for it, and where its time went.

    *stopwatch* is finer than the loop's clock, which uvloop keeps in milliseconds. `elsewhere` are
    the seconds spent waiting for the upstream, the caller, or a retry: not our own doing.
    """

    __slots__ = (
        "answering",
        "attempts",
        "began",
        "declined",
        "elsewhere",
        "exchange",
        "fields",
        "log",
        "metrics",
        "phase",
        "request",
        "request_id",
        "span",
        "stopwatch",
        "token_fields",
        "told",
        "upstream",
        "upstream_seconds",
        "verbatim",
    )

    def __init__(
        self,
        request: Request,
        fields: Mapping[bytes, bytes],
        request_id: str,
        stopwatch: Callable[[], float],
        span: "RequestSpan | None" = None,
    ) -> None:
        self.request = request
        self.fields = fields
        """The request's header fields by lower-case name; of a repeated one the last."""
        self.request_id = request_id
        self.stopwatch = stopwatch
        self.span = span
        """The request's own; None where nobody traces."""
        self.began = stopwatch()
        self.token_fields: frozenset[bytes] = frozenset()
        """The fields that brought our own listener's token: for us, and nobody after us."""
        self.attempts = 0
        self.declined = False
        """The upstream asked for a longer wait than we give; the caller may have the patience."""
        self.exchange: Exchange | None = None
        """The latest attempt's answer, if there was one; read for its head, even when closed."""
        self.verbatim: bytes | None = None
        """The body of an error that goes to the caller as the upstream said it."""
        self.phase: LeavePhase = "request"
        self.told: AbortPhase = "head"
        self.elsewhere = 0.0
        self.upstream_seconds = 0.0

    @property
    def identity(self) -> dict[str, object]:
        """What its lines of log can be found by."""
        if self.span is None:
            return {"request_id": self.request_id}
        return {"request_id": self.request_id, "trace_id": self.span.trace_id}

    def concerns(self, upstream: str, metrics: UpstreamMetrics, log: logs.Log) -> None:
        """Note which upstream or pool was asked for: what it is counted and logged under."""
        self.upstream = self.answering = upstream
        self.metrics = metrics
        self.log = log

    def tries(self, upstream: str) -> None:
        """Note that another attempt begins, at *upstream*."""
        self.attempts += 1
        self.answering = upstream
        self.exchange = self.verbatim = None
        self.phase = "waiting"

    def answered(self, upstream: str, exchange: Exchange) -> None:
        """Note whose answer it is that counts, of several that were asked at once."""
        self.answering = upstream
        self.exchange = exchange
        self.verbatim = None

    async def pause(self, seconds: float) -> None:
        """Wait because a policy says so; the time is nobody's doing."""
        began = self.stopwatch()
        try:
            await asyncio.sleep(seconds)
        finally:
            self.elsewhere += self.stopwatch() - began

    def waited(self, began: float) -> None:
        """Account for a wait, since *began*, that was the upstream's."""
        seconds = self.stopwatch() - began
        self.upstream_seconds += seconds
        self.elsewhere += seconds

    def completed(self, status: int) -> None:
        """Tell of an answer that went out whole."""
        duration = self._count(status, "", "completed")
        if logs.enabled(Severity.INFO):
            self.log.info("request.completed", **self._facts(status, "", "completed", duration))

    def failed(self, status: int, error: OctoLLMError, metrics: Metrics, history: History) -> None:
        """Tell of an envelope that was sent, or of an answer that had to be cut."""
        duration = self._count(status, error.error_code, "failed")
        metrics.error(error.error_code, duration)
        history.failed(
            self.upstream,
            error,
            request_id=self.request_id,
            method=self.request.method,
            status=status,
            attempts=self.attempts,
            seconds=duration,
        )
        level = Severity.DEBUG if _is_quiet(error) else error.severity
        if logs.enabled(level):
            facts = self._facts(status, error.error_code, "failed", duration)
            facts |= {
                "error": error.message,
                "reason": None if error.condition is None else str(error.condition),
            }
            if level is Severity.CRITICAL:
                facts["exc_info"] = error.__cause__
            getattr(self.log, level)("request.failed", **facts)

    def left(self) -> None:
        """Tell of a caller who did not stay for the answer; nobody's failure."""
        self.metrics.client_disconnect(self.phase)
        duration = self._count(CALLER_LEFT, "", "left")
        if logs.enabled(Severity.INFO):
            self.log.info("request.completed", **self._facts(CALLER_LEFT, "", "left", duration))

    def _count(self, status: int, code: str, outcome: str) -> float:
        duration = self.stopwatch() - self.began
        overhead = max(0.0, duration - self.elsewhere)
        example = None
        if self.span is not None:
            example = self.span.end(
                request_id=self.request_id,
                upstream=self.upstream,
                answered_by=self.answering,
                attempts=self.attempts,
                status=None if outcome == "left" else status,
                code=code,
                outcome=outcome,
            )
        self.metrics.completed(
            self.request.method,
            status,
            code,
            duration,
            overhead,
            attempts=self.attempts,
            example=example,
        )
        return duration

    def _facts(self, status: int, code: str, outcome: str, duration: float) -> dict[str, object]:
        facts: dict[str, object] = {
            **self.identity,
            "method": self.request.method,
            "status": status,
            "code": code,
            "attempts": self.attempts,
            "duration_ms": round(duration * 1000, 3),
            "upstream_ms": round(self.upstream_seconds * 1000, 3),
            "outcome": outcome,
            "upstream_request_id": self._upstream_request_id(),
        }
        if self.answering != self.upstream:
            facts["answered_by"] = self.answering
        return facts

    def _upstream_request_id(self) -> str | None:
        if self.exchange is None:
            return None
        for name, value in self.exchange.headers:
            if name.lower() in _UPSTREAM_ID_FIELDS:
                return value[:128].decode("ascii", "replace")
        return None
