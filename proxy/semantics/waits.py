"""How long an upstream asks to be left alone: the forms the field uses, as seconds.

Pure. The clock on the wall comes as a parameter, because two of the forms are dates.
Sources: RFC 9110 10.2.3; openai-python `_calculate_retry_timeout`; Azure's `x-ms-retry-after-ms`;
OpenAI's `x-ratelimit-reset-*` (Go durations) and Anthropic's `anthropic-ratelimit-*-reset` (dates).
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_GO_DURATION = re.compile(rb"(?:\d+(?:\.\d+)?(?:h|ms|m|s|us|\xc2\xb5s|ns))+")
_GO_PART = re.compile(rb"(\d+(?:\.\d+)?)(h|ms|m|s|us|\xc2\xb5s|ns)")
_GO_UNIT = {
    b"h": 3600.0,
    b"m": 60.0,
    b"s": 1.0,
    b"ms": 1e-3,
    b"us": 1e-6,
    b"\xc2\xb5s": 1e-6,
    b"ns": 1e-9,
}
_OPENAI_REMAINING = b"x-ratelimit-remaining-"
_OPENAI_RESET = b"x-ratelimit-reset-"
_ANTHROPIC_LIMIT = b"anthropic-ratelimit-"


def asked(status: int, fields: Mapping[bytes, bytes], now: float) -> float | None:
    """Give the seconds an answer asks us to wait, or None; *fields* by lower-case name.

    *now* is Unix time. A date that has passed is 0; what is no number, or negative, is not there.
    """
    wait = _milliseconds(fields.get(b"retry-after-ms"))
    if wait is None:
        wait = _milliseconds(fields.get(b"x-ms-retry-after-ms"))
    if wait is None:
        wait = _seconds_or_date(fields.get(b"retry-after"), now)
    if wait is None and status == 429:
        wait = _exhausted_limits(fields, now)
    return wait


def should_retry(fields: Mapping[bytes, bytes]) -> bool | None:
    """Read the upstream's own word on whether asking again makes sense; None where it has none."""
    return {b"true": True, b"false": False}.get(fields.get(b"x-should-retry", b"").lower())


def _number(text: bytes | None) -> float | None:
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if number >= 0 and math.isfinite(number) else None


def _milliseconds(text: bytes | None) -> float | None:
    number = _number(text)
    return None if number is None else number / 1000


def _seconds_or_date(text: bytes | None, now: float) -> float | None:
    number = _number(text)
    if number is not None or text is None:
        return number
    try:
        date = parsedate_to_datetime(text.decode("latin-1"))
    except (ValueError, OverflowError):
        return None
    return _until(date, now)


def _until(date: datetime, now: float) -> float:
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, date.timestamp() - now)


def _exhausted_limits(fields: Mapping[bytes, bytes], now: float) -> float | None:
    """Give the longest reset among the limits of which nothing remains."""
    waits = []
    for name, value in fields.items():
        if value.strip() != b"0":
            continue
        if name.startswith(_OPENAI_REMAINING):
            limit = name[len(_OPENAI_REMAINING) :]
            waits.append(_go_duration(fields.get(_OPENAI_RESET + limit)))
        elif name.startswith(_ANTHROPIC_LIMIT) and name.endswith(b"-remaining"):
            reset = name[: -len(b"remaining")] + b"reset"
            waits.append(_rfc3339(fields.get(reset), now))
    return max((wait for wait in waits if wait is not None), default=None)


def _go_duration(text: bytes | None) -> float | None:
    if text is None:
        return None
    text = text.strip()
    if not _GO_DURATION.fullmatch(text):
        return _number(text)
    seconds = sum(float(number) * _GO_UNIT[unit] for number, unit in _GO_PART.findall(text))
    return seconds if math.isfinite(seconds) else None


def _rfc3339(text: bytes | None, now: float) -> float | None:
    if text is None:
        return None
    try:
        return _until(datetime.fromisoformat(text.decode("latin-1").strip()), now)
    except ValueError:
        return None
