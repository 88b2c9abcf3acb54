"""Which questions are the same, what may be kept, and for how long: RFC 9111 as far as we need it.

Rule 1: pure; the time is a parameter.
Rule 2: in doubt two questions differ, and an answer is not kept.

Every header field of a request counts as part of the question, but for those known to change no
answer. So no credential, however its field is called, is ever answered with what another was told.
"""

import hashlib
import math
from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from proxy.wire import headers
from proxy.wire.headers import HOP_BY_HOP
from proxy.wire.message import Headers

# Who asks, by which way, and under which number: not what is asked.
_CHANGE_NOTHING = HOP_BY_HOP | {
    b"b3",
    b"baggage",
    b"cache-control",
    b"date",
    b"dnt",
    b"elastic-apm-traceparent",
    b"expect",
    b"forwarded",
    b"host",
    b"idempotency-key",
    b"newrelic",
    b"pragma",
    b"priority",
    b"referer",
    b"sentry-trace",
    b"traceparent",
    b"tracestate",
    b"uber-trace-id",
    b"user-agent",
    b"via",
    b"x-amzn-trace-id",
    b"x-client-request-id",
    b"x-cloud-trace-context",
    b"x-correlation-id",
    b"x-real-ip",
    b"x-request-id",
}
_CHANGE_NOTHING_TOO = (
    b"sec-ch-",
    b"sec-fetch-",
    b"x-b3-",
    b"x-datadog-",
    b"x-forwarded-",
    b"x-octollm-",
    b"x-stainless-",
)
"""Beginnings of such names."""

# Each asks for something else than a whole answer; with `Expect` the question is not told yet.
_NOT_PLAIN = frozenset(
    (
        b"expect",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
        b"range",
        b"upgrade",
    )
)

# True of one call, or one caller; told to others it would be a lie.
_OF_ONE_CALL = HOP_BY_HOP | {
    b"age",
    b"alt-svc",
    b"cf-ray",
    b"nel",
    b"openai-processing-ms",
    b"report-to",
    b"request-id",
    b"retry-after",
    b"server-timing",
    b"set-cookie",
    b"x-amzn-requestid",
    b"x-envoy-upstream-service-time",
    b"x-request-id",
}
_OF_ONE_CALL_TOO = (b"anthropic-ratelimit-", b"ratelimit", b"x-octollm-", b"x-ratelimit-")

ANY_AGE = math.inf


class Lifetime(NamedTuple):
    """When an answer was given, and until when it serves; seconds on the wall."""

    born: float
    fresh_until: float
    stale_until: float


def accepted_age(request: Headers) -> float | None:
    """Give below which age this caller takes an answer, in seconds; None: it takes none from here.

    With `no-cache` it takes none that is kept, but lets others have the new one: that is 0.
    """
    if any(name.lower() in _NOT_PLAIN for name, _ in request):
        return None
    said = _directives(request, b"cache-control")
    if b"no-store" in said:
        return None
    if b"no-cache" in said or (not said and b"no-cache" in _directives(request, b"pragma")):
        return 0.0
    return _seconds(said[b"max-age"]) if b"max-age" in said else ANY_AGE


def scope(*facts: str) -> bytes:
    """Give the part of a key that is the upstream's: its name, address, and what we put in.

    Processes which share a store may have other configs, and other credentials, than this one.
    """
    return _digest(fact.encode() for fact in facts)


def key(
    scope: bytes,
    method: str,
    target: str,
    request: Headers,
    *,
    body: bytes,
    without: frozenset[bytes] = frozenset(),
) -> bytes:
    """Give 32 bytes that are the same for the same question, and for no other.

    *without* holds lower-case names that do not count: those that brought our own token, and, where
    answers are shared, the callers' credentials.
    """
    counting = sorted(
        ((name.lower(), value) for name, value in request if _counts(name.lower(), without)),
        key=lambda pair: pair[0],  # of a repeated field the order says something
    )
    return _digest(
        (
            scope,
            method.encode(),
            target.encode(),
            body,
            *(part for pair in counting for part in pair),
        )
    )


def lifetime(
    now: float,
    status: int,
    answer: Headers,
    *,
    ttl: float,
    stale_if_error: float,
    without: frozenset[bytes] = frozenset(),
) -> Lifetime | None:
    """Say how long an answer may be told to others; None where it may not.

    Only a plain 200 is kept. What the upstream says of itself can shorten *ttl*, and never prolong
    it. *without* are the names that did not count in its key.
    """
    fields = headers.by_name(answer)
    said = _directives(answer, b"cache-control")
    kind = fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if (
        status != 200
        or kind == b"text/event-stream"
        or not said.keys().isdisjoint((b"no-store", b"private", b"no-cache"))
        or not all(_counts(name, without) for name in _directives(answer, b"vary"))
        or not headers.check(answer)
    ):
        return None
    born = now - _seconds(fields.get(b"age", b"0"))
    fresh_until = min(now + ttl, born + _allowed(said, fields))
    if fresh_until <= now:
        return None
    strict = not said.keys().isdisjoint((b"must-revalidate", b"proxy-revalidate", b"s-maxage"))
    return Lifetime(born, fresh_until, fresh_until + (0.0 if strict else stale_if_error))


def for_everybody(answer: Headers) -> list[headers.Pair]:
    """Give the fields of an answer that are as true for the next caller."""
    return [
        (name, value)
        for name, value in answer
        if name.lower() not in _OF_ONE_CALL and not name.lower().startswith(_OF_ONE_CALL_TOO)
    ]


def _counts(name: bytes, without: frozenset[bytes]) -> bool:
    """Tell whether a field is part of the question. `Vary: *` names none that could be."""
    return not (
        name == b"*"
        or name in _CHANGE_NOTHING
        or name in without
        or name.startswith(_CHANGE_NOTHING_TOO)
    )


def _allowed(said: dict[bytes, bytes], fields: dict[bytes, bytes]) -> float:
    """Give the seconds for which the upstream calls its answer fresh (RFC 9111 4.2.1)."""
    for directive in (b"s-maxage", b"max-age"):
        if directive in said:
            return _seconds(said[directive])
    if b"expires" not in fields:
        return math.inf
    try:
        date, expires = (
            parsedate_to_datetime(fields[name].decode("latin-1")).timestamp()
            for name in (b"date", b"expires")
        )
    except (KeyError, ValueError, OverflowError):
        return 0.0  # `Expires: 0` and the like mean: already over
    return expires - date


def _directives(fields: Headers, name: bytes) -> dict[bytes, bytes]:
    """Give the members of all lines of a field, in lower case; of a repeated one the first."""
    found: dict[bytes, bytes] = {}
    for line in (value for field, value in fields if field.lower() == name):
        for member in line.lower().split(b","):
            word, _, value = member.strip().partition(b"=")
            if word:
                found.setdefault(word.strip(), value.strip(b' "'))
    return found


def _seconds(text: bytes) -> float:
    """Read a delta of seconds; what is none counts as 0 (RFC 9111 4.2.1)."""
    return float(text[:10]) if text.isdigit() else 0.0


def _digest(parts: Iterable[bytes]) -> bytes:
    """Hash the parts so that no two lists of them are one text."""
    hashed = hashlib.sha256()
    for part in parts:
        hashed.update(b"%d:" % len(part))
        hashed.update(part)
    return hashed.digest()
