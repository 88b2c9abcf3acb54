"""The metrics as data: what each is called, what it tells, and which labels it may carry.

Rule 1: a label's value comes from the config or from a closed set in this file, never from a
request, so that no caller can make series, or break a scrape with a name that is not text.
Rule 2: nothing here counts; `metrics` does. docs/metrics.md is drawn from this file.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from proxy import errors
from proxy.config.fields import PATTERNS
from proxy.errors import OctoLLMError
from proxy.policy.transitions import TABLE, Reason, State

Fault = Literal[
    "connect", "reset", "timeout", "protocol", "cut", "status_429", "status_4xx", "status_5xx"
]
"""What went wrong at the upstream: the words of `retry_on` and `failure_on`, statuses by class."""

Outcome = Literal["success", "cancelled", "deadline"] | Fault
"""How an attempt ended. *cancelled*: by the caller or by us, for a reason not the upstream's;
*deadline*: the call's own time was over before the attempt's."""

Suppression = Literal["budget", "deadline", "breaker", "body", "method"]
"""Why a failure that could be retried was not."""

Reroute = Literal["breaker", "throttled", "capacity"] | Fault
"""Why another upstream was asked: what the first one did, or why it was not asked at all."""

HedgeResult = Literal["won", "lost"]
"""Which answer came first where two attempts ran: the hedge's, or the first attempt's."""

Limited = Literal["rate", "concurrency", "queue_timeout", "throttle"]
"""Which limit of ours turned a call away; *throttle* is the upstream's own word, passed on."""

CacheResult = Literal["hit", "stale", "miss", "coalesced", "bypass"]
"""What the cache did for a request that it is for; *coalesced* is the answer to another's call, and
*bypass* was not asked of it, for what the request says."""

GuardAction = Literal["report", "redact", "block"]
"""What became of personal data that was found in a request."""

AbortPhase = Literal["head", "body", "events"]
"""What the caller already had of an answer we had to cut: its head only, a part of its body, or
some events of its stream."""

LeavePhase = Literal["request", "waiting", "response"]
"""What a caller who left was doing: sending, waiting for the head, or reading the answer."""

ReloadResult = Literal["reloaded", "rejected"]

FAULTS: tuple[Fault, ...] = get_args(Fault)
OUTCOMES: tuple[Outcome, ...] = ("success", *FAULTS, "cancelled", "deadline")
REROUTES: tuple[Reroute, ...] = ("breaker", "throttled", "capacity", *FAULTS)
HEDGE_RESULTS: tuple[HedgeResult, ...] = get_args(HedgeResult)
LIMITED: tuple[Limited, ...] = get_args(Limited)
CACHE_RESULTS: tuple[CacheResult, ...] = get_args(CacheResult)
GUARD_ACTIONS: tuple[GuardAction, ...] = get_args(GuardAction)
SUPPRESSIONS: tuple[Suppression, ...] = get_args(Suppression)
ABORT_PHASES: tuple[AbortPhase, ...] = get_args(AbortPhase)
LEAVE_PHASES: tuple[LeavePhase, ...] = get_args(LeavePhase)
RELOAD_RESULTS: tuple[ReloadResult, ...] = get_args(ReloadResult)

CODES = tuple(dict.fromkeys(cls.error_code for cls in errors.taxonomy()))

METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}
)
"""RFC 9110 9 and PATCH; every other method is told as "other"."""

# Moves an upstream makes by itself. Told as 0 from the start: `increase()` does not see a series
# that is born with the value 1, so an alert would miss the first opening of all.
TRANSITIONS = tuple(
    (source, target, reason)
    for (source, _), grounds in TABLE.items()
    for reason, target in grounds
    if reason not in {Reason.FORCED, Reason.RELEASED} and source is not target
)

_FAULT_OF: dict[str, Fault] = {word: word for word in FAULTS}


def fault(condition: str | int) -> Fault:
    """Name the fault behind a condition of errors.py; a status that is no 4xx counts as 5xx."""
    if isinstance(condition, int):
        if condition == 429:
            return "status_429"
        return "status_4xx" if 400 <= condition < 500 else "status_5xx"
    return _FAULT_OF[condition]


def outcome(end: OctoLLMError | int) -> Outcome:
    """Name how an attempt ended: by the status the upstream answered with, or by an error."""
    if isinstance(end, int):
        return "success" if end < 400 else fault(end)
    if end.condition is not None:
        return fault(end.condition)
    return "deadline" if isinstance(end, errors.TimeoutError) else "cancelled"


def reroute(error: OctoLLMError) -> Reroute:
    """Name why another upstream is asked after *error*."""
    if error.condition is not None:
        return fault(error.condition)
    if isinstance(error, errors.CircuitOpenError):
        return "breaker"
    return "throttled" if isinstance(error, errors.RateLimitError) else "capacity"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric; *buckets* are the upper bounds of a histogram, in seconds."""

    kind: Literal["counter", "gauge", "histogram"]
    name: str
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()


# From a cached answer on the same machine to the longest total an SDK waits for.
SECONDS = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0),
)
# From a request of a few hundred bytes to a proxy that is out of CPU.
OVERHEAD_SECONDS = (
    *(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005),
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
)

# From a burst in one packet to a model that thinks.
GAP_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

ERRORS = Metric(
    "counter",
    "octollm_errors_total",
    ("error_type", "component"),
    "Envelopes sent to callers, and failures of the cache behind good answers, by error code.",
)
ERROR_DURATION = Metric(
    "histogram",
    "octollm_error_duration_seconds",
    ("error_type",),
    "Time from the request to its envelope.",
    SECONDS,
)
BREAKER_STATE = Metric(
    "gauge",
    "octollm_proxy_breaker_state",
    ("upstream", "state"),
    "1 for the state the breaker is in; open past its time is half_open.",
)
BREAKER_TRANSITIONS = Metric(
    "counter",
    "octollm_proxy_breaker_transitions_total",
    ("upstream", "from_state", "to_state", "reason"),
    "Changes of the breaker's state.",
)
BREAKER_REJECTIONS = Metric(
    "counter",
    "octollm_proxy_breaker_rejections_total",
    ("upstream",),
    "Calls an open breaker kept away from the upstream.",
)
BREAKER_FAILURE_RATIO = Metric(
    "gauge",
    "octollm_proxy_breaker_failure_ratio",
    ("upstream",),
    "Failures among the calls in the breaker's window, 0 to 1.",
)
BREAKER_OPEN_UNTIL = Metric(
    "gauge",
    "octollm_proxy_breaker_open_until_timestamp_seconds",
    ("upstream",),
    "When the next probe may go out, as Unix time; 0 where the breaker is not open.",
)
BREAKER_ENFORCING = Metric(
    "gauge",
    "octollm_proxy_breaker_enforcing",
    ("upstream",),
    "1 where the breaker rejects calls while open, 0 in mode observe or disabled.",
)
REQUESTS = Metric(
    "counter",
    "octollm_proxy_requests_total",
    ("upstream", "method", "status", "code"),
    "Requests answered; code is empty on success, status 499 is a caller who left.",
)
REQUEST_DURATION = Metric(
    "histogram",
    "octollm_proxy_request_duration_seconds",
    ("upstream",),
    "Time from a request's head to the end of its answer, waits and retries included.",
    SECONDS,
)
OVERHEAD = Metric(
    "histogram",
    "octollm_proxy_overhead_seconds",
    ("upstream",),
    "Time in the proxy that was neither the upstream's nor a wait.",
    OVERHEAD_SECONDS,
)
FIRST_BYTE = Metric(
    "histogram",
    "octollm_proxy_first_byte_seconds",
    ("upstream",),
    "Time from a request's head to the head of its answer.",
    SECONDS,
)
ATTEMPTS = Metric(
    "counter",
    "octollm_proxy_attempts_total",
    ("upstream", "outcome"),
    "Attempts made at the upstream, by how they ended.",
)
RETRIES = Metric(
    "counter",
    "octollm_proxy_retries_total",
    ("upstream", "reason"),
    "Attempts repeated, by what had gone wrong.",
)
RETRY_SUPPRESSED = Metric(
    "counter",
    "octollm_proxy_retry_suppressed_total",
    ("upstream", "reason"),
    "Retries that were due but not made, by what forbade them.",
)
FALLBACKS = Metric(
    "counter",
    "octollm_proxy_fallbacks_total",
    ("upstream", "target", "reason"),
    "Requests moved on to another upstream, by what was wrong with the one before.",
)
HEDGES = Metric(
    "counter",
    "octollm_proxy_hedges_total",
    ("upstream", "result"),
    "Answers for which two attempts ran, by which of them came first.",
)
LIMIT_REJECTIONS = Metric(
    "counter",
    "octollm_proxy_limit_rejections_total",
    ("upstream", "reason"),
    "Calls our own limits turned away, by which of them.",
)
QUEUED = Metric(
    "gauge",
    "octollm_proxy_queued",
    ("upstream",),
    "Calls in line for a place now.",
)
CACHE = Metric(
    "counter",
    "octollm_proxy_cache_total",
    ("upstream", "result"),
    "Requests the cache is for, by what it did.",
)
CACHE_BYTES = Metric(
    "gauge",
    "octollm_proxy_cache_bytes",
    (),
    "Memory that kept answers take.",
)
GUARD_FINDINGS = Metric(
    "counter",
    "octollm_proxy_guard_findings_total",
    ("upstream", "pattern", "action"),
    "Pieces of personal data found in requests, by what became of them.",
)
GUARD_PASSED = Metric(
    "counter",
    "octollm_proxy_guard_passed_total",
    ("upstream",),
    "Bodies sent on that the guard could not look into.",
)
IN_FLIGHT = Metric(
    "gauge",
    "octollm_proxy_in_flight",
    ("upstream",),
    "Requests being served now.",
)
STREAM_ABORTS = Metric(
    "counter",
    "octollm_proxy_stream_aborts_total",
    ("upstream", "phase"),
    "Answers cut after their head had gone out, by what the caller already had.",
)
CLIENT_DISCONNECTS = Metric(
    "counter",
    "octollm_proxy_client_disconnects_total",
    ("upstream", "phase"),
    "Callers who left before their answer was complete, by what they were doing.",
)
FIRST_EVENT = Metric(
    "histogram",
    "octollm_proxy_first_event_seconds",
    ("upstream",),
    "Time from a request's head to the first event of its stream.",
    SECONDS,
)
EVENTS = Metric(
    "counter",
    "octollm_proxy_events_total",
    ("upstream",),
    "Server-sent events relayed.",
)
EVENT_GAP = Metric(
    "histogram",
    "octollm_proxy_event_gap_seconds",
    ("upstream",),
    "Time between the events of a stream, as they come.",
    GAP_SECONDS,
)
STREAMS_UNVERIFIED = Metric(
    "counter",
    "octollm_proxy_streams_unverified_total",
    ("upstream",),
    "Streams to be verified that were longer than buffer_limit and went on live.",
)
SHARED_CONNECTED = Metric(
    "gauge",
    "octollm_proxy_shared_connected",
    (),
    "1 while the other replicas are heard, 0 while this one is alone; absent without `shared`.",
)
CONFIG_RELOADS = Metric(
    "counter",
    "octollm_proxy_config_reloads_total",
    ("result",),
    "Config files taken over or rejected.",
)
CONFIG_REJECTED_SINCE = Metric(
    "gauge",
    "octollm_proxy_config_rejected_since_timestamp_seconds",
    (),
    "Since when the config file is one that was rejected, as Unix time; 0 where it is in force.",
)
BUILD_INFO = Metric(
    "gauge",
    "octollm_proxy_build_info",
    ("version", "python"),
    "Always 1; its labels say what is running.",
)

BREAKER = (BREAKER_STATE, BREAKER_FAILURE_RATIO, BREAKER_OPEN_UNTIL, BREAKER_ENFORCING)
PER_UPSTREAM = (
    *(REQUESTS, REQUEST_DURATION, FIRST_BYTE, OVERHEAD, IN_FLIGHT),
    *(ATTEMPTS, RETRIES, RETRY_SUPPRESSED, FALLBACKS, HEDGES),
    *(BREAKER_TRANSITIONS, BREAKER_REJECTIONS, LIMIT_REJECTIONS, QUEUED, CACHE),
    *(GUARD_FINDINGS, GUARD_PASSED),
    *(STREAM_ABORTS, CLIENT_DISCONNECTS),
    *(FIRST_EVENT, EVENTS, EVENT_GAP, STREAMS_UNVERIFIED),
)
ALL = (
    *(*PER_UPSTREAM, *BREAKER),
    *(CACHE_BYTES, SHARED_CONNECTED, ERRORS, ERROR_DURATION),
    *(CONFIG_RELOADS, CONFIG_REJECTED_SINCE, BUILD_INFO),
)

_SETS = {
    (ERRORS, "error_type"): "an [error code](errors.md)",
    (ERRORS, "component"): "`proxy`",
    (ERROR_DURATION, "error_type"): "an [error code](errors.md)",
    (BREAKER_STATE, "state"): tuple(State),
    (BREAKER_TRANSITIONS, "from_state"): tuple(State),
    (BREAKER_TRANSITIONS, "to_state"): tuple(State),
    (BREAKER_TRANSITIONS, "reason"): tuple(Reason),
    (REQUESTS, "method"): (*sorted(METHODS), "other"),
    (REQUESTS, "status"): "the status sent to the caller",
    (REQUESTS, "code"): "empty, or an [error code](errors.md)",
    (ATTEMPTS, "outcome"): OUTCOMES,
    (RETRIES, "reason"): FAULTS,
    (RETRY_SUPPRESSED, "reason"): SUPPRESSIONS,
    (FALLBACKS, "target"): "the upstream asked instead",
    (FALLBACKS, "reason"): REROUTES,
    (LIMIT_REJECTIONS, "reason"): LIMITED,
    (CACHE, "result"): CACHE_RESULTS,
    (GUARD_FINDINGS, "pattern"): PATTERNS,
    (GUARD_FINDINGS, "action"): GUARD_ACTIONS,
    (HEDGES, "result"): HEDGE_RESULTS,
    (STREAM_ABORTS, "phase"): ABORT_PHASES,
    (CLIENT_DISCONNECTS, "phase"): LEAVE_PHASES,
    (CONFIG_RELOADS, "result"): RELOAD_RESULTS,
    (BUILD_INFO, "version"): "the proxy's",
    (BUILD_INFO, "python"): "the interpreter's",
}


def table() -> str:
    """Draw the tables of docs/metrics.md: the metrics, then what each label can say."""
    lines = ["| metric | kind | labels | what it tells |", "|---|---|---|---|"]
    for metric in ALL:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |")
    lines += ["", "| metric | label | values |", "|---|---|---|"]
    for (metric, label), values in _SETS.items():
        words = values if isinstance(values, str) else ", ".join(f"`{value}`" for value in values)
        lines.append(f"| `{metric.name}` | `{label}` | {words} |")
    return "\n".join(lines)
