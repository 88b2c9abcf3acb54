"""The log events as data: what each says, and the only keys a line may carry.

Rule 1: a key that is not in KEYS does not reach a log. A new one is added here, with its meaning,
or its value stays unsaid: that is how a header or a body cannot slip in.
Rule 2: nothing here writes; `logs` does. docs/logs.md is drawn from this file.
"""

EVENTS = {
    "request.completed": ("info", "A request was answered, or its caller left."),
    "request.failed": (
        "the error's; debug if rejected",
        "A request was answered with an envelope, or cut.",
    ),
    "retry.scheduled": ("info", "An attempt failed and is made again after a wait."),
    "retry.exhausted": ("warning", "The last retry allowed has failed."),
    "fallback.taken": (
        "info; debug where the first was not even asked",
        "Another upstream, `target`, is asked instead.",
    ),
    "breaker.opened": ("warning", "The upstream is left alone for a while."),
    "breaker.half_opened": ("info", "The while is over; the next call is a probe."),
    "breaker.closed": ("info", "A probe succeeded; calls go through again."),
    "breaker.rejecting": ("warning", "It kept `count` calls back since the last such line."),
    "limits.rejecting": ("warning", "It turned `count` calls away since the last such line."),
    "cache.failing": (
        "warning",
        "The cache's Redis has failed `count` times since the last line, at last by `error`.",
    ),
    "admin.action": ("warning", "An operator has steered the breaker of `upstream`."),
    "tracing.failing": (
        "warning",
        "OpenTelemetry has complained `count` times since the last line, this time of `message`.",
    ),
    "shared.connected": ("info", "The other replicas are heard, and hear of us."),
    "shared.lost": (
        "warning",
        "Redis is gone, by `error`, again if that changes: this replica is alone meanwhile.",
    ),
    "config.warning": ("warning", "The config is valid, and probably not what was meant."),
    "config.reloaded": ("info", "A new config is in force."),
    "config.restored": ("info", "The file is the one in force again, after one that was not."),
    "config.rejected": ("error", "A new config has `problems`; the old one stays in force."),
    "proxy.started": ("info", "The listeners are open."),
    "proxy.draining": ("info", "No new work is taken; what is in flight is finished."),
    "proxy.stopped": ("info", "The last line."),
    "log.lost": ("warning", "The reader of the log was too slow for `count` lines."),
    "library.message": ("as the library says", "Something a library of ours had to say."),
}

KEYS = {
    "event": "what happened",
    "level": "debug, info, warning, error or critical",
    "timestamp": "when, in UTC (ISO 8601)",
    "request_id": "the id in `X-OctoLLM-Request-ID`",
    "trace_id": "the trace that the request is part of, where tracing is on",
    "upstream": "the name asked for on requests; who was tried on attempts",
    "method": "the request's",
    "status": "sent to the caller; 499 if it left",
    "code": "the error code; empty on success",
    "attempts": "attempts made at upstreams",
    "duration_ms": "from the request's head to the end of its answer",
    "upstream_ms": "the part of it that was the upstream's",
    "outcome": "`completed`, `failed` (an envelope, or an answer cut) or `left` (the caller)",
    "upstream_request_id": "the upstream's own id for the call",
    "answered_by": "the upstream asked last, where that is not the one asked for",
    "target": "the upstream that is asked now",
    "attempt": "which attempt this is about, from 1",
    "wait_ms": "until the next attempt",
    "reason": "why",
    "error": "the error's message, scrubbed",
    "exception": "the trace of a fault of our own, credentials removed",
    "from_state": "the breaker's state before",
    "failure_ratio": "failures among the calls in the window",
    "open_ms": "how long the breaker stays open",
    "count": "how many this line stands for",
    "file": "the config file",
    "action": "what an operator did: force-open, force-closed, release, reset or mode",
    "mode": "the breaker's mode that an operator chose",
    "peer": "the address that an operator's order came from",
    "ttl_ms": "how long an operator's order holds; absent: until something else is said",
    "problems": "what is wrong with it, with line and column",
    "version": "the proxy's",
    "addresses": "where all data listeners are; on a reload only if they moved",
    "admin_address": "where the admin listener is; on a reload only if it moved",
    "upstreams": "how many there are, or their names",
    "in_flight": "requests not yet answered",
    "timeout_ms": "how long they may still take",
    "logger": "which library",
    "message": "its message, scrubbed",
    "unsaid": "keys that were left out because this table does not have them",
}


def table() -> str:
    """Draw the tables of docs/logs.md: the events, then the keys."""
    lines = ["| event | level | when |", "|---|---|---|"]
    lines += [f"| `{event}` | {level} | {when} |" for event, (level, when) in EVENTS.items()]
    lines += ["", "| key | meaning |", "|---|---|"]
    lines += [f"| `{key}` | {meaning} |" for key, meaning in KEYS.items()]
    return "\n".join(lines)
