"""What is known of one request while it is served, and what is told of it when it is over.

Every request ends in exactly one of three ways: `completed`, `failed` or `left`. Nothing here
decides anything.
"""

from collections.abc import Callable, Mapping

from proxy.errors import CapacityExceededError, CircuitOpenError, OctoLLMError, Severity
from proxy.observe import logs
from proxy.observe.catalogue import AbortPhase, LeavePhase
from proxy.observe.metrics import Metrics, UpstreamMetrics
from proxy.wire.message import Exchange, Request

UNROUTED = "-"
"""The `upstream` of a request that named none; no configured name can be this."""

CALLER_LEFT = 499
"""The status a caller who left is counted under; nginx's, and widely understood."""

_UPSTREAM_ID_FIELDS = frozenset((b"x-request-id", b"request-id", b"x-amzn-requestid"))

# An outage makes thousands of these a second; `breaker.rejecting` tells of them all in one line.
_QUIET = (CircuitOpenError, CapacityExceededError)


class Call:
    """One request: whose it is, what was tried for it, and where its time went.

    *stopwatch* is finer than the loop's clock, which uvloop keeps in milliseconds. `elsewhere` are
    the seconds spent waiting for the upstream, the caller, or a retry: not our own doing.
    """

    __slots__ = (
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
    ) -> None:
        self.request = request
        self.fields = fields
        """The request's header fields by lower-case name; of a repeated one the last."""
        self.request_id = request_id
        self.stopwatch = stopwatch
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

    def concerns(self, upstream: str, metrics: UpstreamMetrics, log: logs.Log) -> None:
        """Note which upstream or pool was asked for: what it is counted and logged under."""
        self.upstream = upstream
        self.metrics = metrics
        self.log = log

    def tries(self) -> None:
        """Note that another attempt begins."""
        self.attempts += 1
        self.exchange = self.verbatim = None
        self.phase = "waiting"

    def waited(self, began: float) -> None:
        """Account for a wait, since *began*, that was the upstream's."""
        seconds = self.stopwatch() - began
        self.upstream_seconds += seconds
        self.elsewhere += seconds

    def completed(self, status: int) -> None:
        """Tell of an answer that went out whole."""
        duration = self._count(status, "")
        if logs.enabled(Severity.INFO):
            self.log.info("request.completed", **self._facts(status, "", "completed", duration))

    def failed(self, status: int, error: OctoLLMError, metrics: Metrics) -> None:
        """Tell of an envelope that was sent, or of an answer that had to be cut."""
        duration = self._count(status, error.error_code)
        metrics.error(error.error_code, duration)
        level = Severity.DEBUG if isinstance(error, _QUIET) else error.severity
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
        duration = self._count(CALLER_LEFT, "")
        if logs.enabled(Severity.INFO):
            self.log.info("request.completed", **self._facts(CALLER_LEFT, "", "left", duration))

    def _count(self, status: int, code: str) -> float:
        duration = self.stopwatch() - self.began
        overhead = max(0.0, duration - self.elsewhere)
        self.metrics.completed(self.request.method, status, code, duration, overhead)
        return duration

    def _facts(self, status: int, code: str, outcome: str, duration: float) -> dict[str, object]:
        return {
            "request_id": self.request_id,
            "method": self.request.method,
            "status": status,
            "code": code,
            "attempts": self.attempts,
            "duration_ms": round(duration * 1000, 3),
            "upstream_ms": round(self.upstream_seconds * 1000, 3),
            "outcome": outcome,
            "upstream_request_id": self._upstream_request_id(),
        }

    def _upstream_request_id(self) -> str | None:
        if self.exchange is None:
            return None
        for name, value in self.exchange.headers:
            if name.lower() in _UPSTREAM_ID_FIELDS:
                return value[:128].decode("ascii", "replace")
        return None
