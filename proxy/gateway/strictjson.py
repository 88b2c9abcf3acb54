"""JSON as RFC 8259 has it; Python's own reads and writes more, which others then cannot read.

NaN, infinities, UTF-16 and what nests deeper than Python goes raise ValueError.
"""

import json
from typing import Any, NoReturn


def parse(text: bytes | bytearray) -> Any:
    """Read one value."""
    try:
        return json.loads(text.decode(), parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it nests too deeply") from None


def write(value: object) -> bytes:
    """Write one value, on one line."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except RecursionError:
        raise ValueError("it nests too deeply") from None
    # A lone surrogate cannot be UTF-8; what replaces it here is how JSON writes it.
    return text.encode("utf-8", "backslashreplace")


def _refuse(_: str) -> NoReturn:
    raise ValueError("a number in JSON is finite")
