"""How a value is written in the file: durations, sizes, numbers, yes and no.

Every scalar comes here as the text its author wrote, because YAML 1.1 reads `010` as 8, `1:30` as
90 and `no` as false; only the type of the key says what was meant. What is already a number stays
one, so that settings can also be built from Python.
Nothing here knows which key it reads, and no message holds the text itself: it may be a secret.
"""

import re

YEAR = 365 * 24 * 3600.0

# Milliseconds, because 0.001 has no exact float, and 1m1ms would come back as 60.00100…1.
_LENGTHS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_BYTES = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[dhms]))+", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[dhms])", re.ASCII)
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"-?(?:0|[1-9]\d*)", re.ASCII)
_SIZE = re.compile(r"(\d+) ?([KMG]iB|B|)", re.ASCII)


class Unreadable(ValueError):  # noqa: N818 -- a fact, not a fault of ours
    """A text is not what its key wants; the message continues a sentence that begins with it."""


def duration(value: object) -> float:
    """Read seconds from `250ms`, `2s`, `1m30s`, `1h` or a number of seconds, up to a year."""
    if isinstance(value, str) and _DURATION.fullmatch(value):
        parts = _PART.findall(value)
        units = [list(_LENGTHS).index(unit) for _, unit in parts]
        if units != sorted(set(units)):
            raise Unreadable("is not a duration (each unit once, the largest first: 1h30m)")
        seconds = sum(float(count) * _LENGTHS[unit] for count, unit in parts) / 1000
    else:
        try:
            seconds = number(value)
        except Unreadable:
            raise Unreadable(
                "is not a duration (write 250ms, 2s, 1m30s, 1h or a number of seconds)"
            ) from None
    if seconds < 0:
        raise Unreadable("is negative (a duration is 0 or more)")
    if seconds > YEAR:
        raise Unreadable("is longer than a year")
    return seconds


def limit(value: object) -> float | None:
    """Read a duration that ends something; `none` is no limit, and 0 is nothing anybody means."""
    return _some_or_none(value, "would leave no time at all (for no limit write none)")


def switch(value: object) -> float | None:
    """Read a duration that switches something on; `none` leaves it off."""
    return _some_or_none(value, "is no time at all (to switch it off write none)")


def _some_or_none(value: object, zero: str) -> float | None:
    if value is None or value == "none":
        return None
    seconds = duration(value)
    if seconds == 0:
        raise Unreadable(zero)
    return seconds


def size(value: object) -> int:
    """Read bytes from `64KiB`, `8MiB`, `1GiB` or a number of bytes."""
    if isinstance(value, str):
        found = _SIZE.fullmatch(value)
        if found is None or len(found[1]) > 18:
            raise Unreadable("is not a size (write 64KiB, 8MiB, 1GiB or a number of bytes)")
        return int(found[1]) * _BYTES[found[2]]
    return whole(value)


def whole(value: object) -> int:
    """Read a whole number, in decimal: a leading zero means 8 to YAML and 10 to people."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        if _WHOLE.fullmatch(value) and len(value) < 20:
            return int(value)
        if value.isdecimal() and value.startswith("0"):
            raise Unreadable("begins with a zero, which YAML takes for octal (write it without)")
    raise Unreadable("is not a whole number (write digits only, such as 10)")


def number(value: object) -> float:
    """Read a number, never infinite nor nan."""
    known = isinstance(value, int | float) and not isinstance(value, bool)
    if not known and not (isinstance(value, str) and _NUMBER.fullmatch(value)):
        raise Unreadable("is not a number (write 3 or 0.5)")
    found = float(value)  # type: ignore[arg-type]  # a number, or text that reads as one
    if not abs(found) < float("inf"):
        raise Unreadable("is too large a number")
    return found


def flag(value: object) -> bool:
    """Read `true` or `false`; other words are not guessed at."""
    if isinstance(value, bool):
        return value
    word = value.lower() if isinstance(value, str) else ""
    if word in {"true", "false"}:
        return word == "true"
    if word in {"no", "off", "n", "0"}:
        raise Unreadable("is not true or false (write false)")
    if word in {"yes", "on", "y", "1"}:
        raise Unreadable("is not true or false (write true)")
    raise Unreadable("is not true or false")


def written(seconds: float) -> str:
    """Write a duration as a person would: 90 is `1m30s`, 0.25 is `250ms`."""
    left = round(seconds * 1000)
    parts = []
    for unit, length in _LENGTHS.items():
        count, left = divmod(left, length)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
