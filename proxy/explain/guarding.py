"""What a call is held to before it is made: limits, answers that are kept, and the guard.

What is off is None, and not told.
"""

from dataclasses import dataclass

from proxy.config import schema
from proxy.config.fields import PATTERNS


@dataclass(frozen=True, slots=True)
class Rate:
    """How often the upstream is called; times are seconds."""

    by: str
    window: float
    most: int
    """Calls in any window at most."""
    at_once: int
    """Calls at once after a time of quiet."""
    every: float
    """From then on the time between two."""


@dataclass(frozen=True, slots=True)
class Line:
    """Who waits for a place among those in flight."""

    size: int
    timeout: float
    served: float
    """Seconds that an attempt may take, so that the last of a full line gets its place in time."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of an upstream is used."""

    rate: Rate | None
    concurrency: int | None
    line: Line | None
    throttled: float | None
    """Seconds for which calls leave it alone at most, once it says so; None: they do not."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Answers that are kept; times are seconds, sizes bytes."""

    requests: tuple[str, ...]
    ttl: float
    stale: float
    shared: bool
    size: int
    redis_timeout: float | None
    """None: there is no Redis."""


@dataclass(frozen=True, slots=True)
class Screened:
    """What bodies are held to."""

    pii: str
    patterns: tuple[str, ...]
    fields: tuple[str, ...]
    max_prompt_chars: int | None
    inspect_limit: int
    oversize: str


def limits(upstream: schema.Upstream) -> Limits:
    """Tell how much of an upstream is used at most."""
    settings, queue = upstream.limits, upstream.limits.queue
    line = None
    if queue is not None and settings.concurrency is not None:
        served = queue.timeout * settings.concurrency / queue.size
        line = Line(queue.size, queue.timeout, served)
    throttled = upstream.policy.retry.max_retry_after if settings.throttle else None
    return Limits(_rate(settings.rate), settings.concurrency, line, throttled)


def _rate(settings: schema.RateLimit | None) -> Rate | None:
    if settings is None:
        return None
    limit, window = settings.limit, settings.window
    burst = limit if settings.burst is None else settings.burst
    return Rate(settings.by, window, limit + burst, burst, window / limit)


def kept(settings: schema.Cache) -> Kept | None:
    """Tell which answers are kept, and for how long."""
    if settings.ttl is None:
        return None
    return Kept(
        tuple(_requests(match, settings.methods) for match in settings.match or (_ALL,)),
        settings.ttl,
        settings.stale_if_error,
        settings.shared,
        settings.size,
        None if settings.redis is None else settings.redis_timeout,
    )


_ALL = schema.RouteMatch()


def _requests(match: schema.RouteMatch, methods: frozenset[str]) -> str:
    return f"{', '.join(sorted(match.methods or methods))} {match.path or 'every path'}"


def screened(settings: schema.Guard) -> Screened | None:
    """Tell what bodies are held to."""
    if not settings.wanted:
        return None
    looked_for = () if settings.pii == "none" else settings.patterns
    return Screened(
        settings.pii,
        tuple(pattern for pattern in PATTERNS if pattern in looked_for),
        settings.fields,
        settings.max_prompt_chars,
        settings.inspect_limit,
        settings.oversize,
    )
