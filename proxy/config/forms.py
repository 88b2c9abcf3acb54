"""How each sort of value is written: a word for people, JSON Schema for their editors.

What is read and what is refused is the business of `units.py` and `fields.py`; a form promises that
an editor does not call wrong what they accept in its usual spelling. Nothing here is a key.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from proxy.config.fields import PATTERNS, WORDS, When
from proxy.config.providers import PROVIDERS
from proxy.config.units import YEAR, written

JsonSchema = dict[str, Any]

HIDDEN = "(hidden)"

_PARTS = "".join(rf"([0-9]+(\.[0-9]+)?{unit})?" for unit in ("d", "h", "m", "s", "ms"))
_LENGTH = rf"[0-9]+(\.[0-9]+)?|(?=[0-9]){_PARTS}"
_SECONDS: JsonSchema = {"type": "number", "minimum": 0, "maximum": YEAR}
_STATUS: JsonSchema = {"type": "integer", "minimum": 400, "maximum": 599}
# A number without quotes is text to us, where text is wanted.
_TEXT: JsonSchema = {"type": ["string", "number", "boolean"]}


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """How a value is written: *name* for people, *schemas* of which one must hold.

    *say* writes a value as the file would, and a secret not at all.
    """

    name: str
    schemas: tuple[JsonSchema, ...]
    example: str
    say: Callable[[Any], str] = str


def matching(pattern: str) -> JsonSchema:
    """Give the schema of a text that *pattern* matches from end to end."""
    return {"type": "string", "pattern": f"^({pattern})$"}


def words(*known: str) -> Form:
    """Give the form of one word of a closed set."""
    return Form(f"one of {', '.join(known)}", ({"enum": list(known)},), known[-1])


def _size(count: int) -> str:
    for unit, length in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count and count % length == 0:
            return f"{count // length}{unit}"
    return str(count)


def _flag(value: object) -> str:
    return str(value).lower()


def _rewriting(value: bool | frozenset[int]) -> str:
    return _flag(value) if isinstance(value, bool) else f"[{', '.join(map(str, sorted(value)))}]"


def _when(value: When) -> str:
    return f"{value.status}:{value.code}" if value.code else str(value.status)


def _hidden(value: object) -> str:
    return "none" if value is None else HIDDEN


DURATION = Form("duration", (_SECONDS, matching(_LENGTH)), "30s", written)
LIMIT = Form(
    "duration or none",
    ({"type": "number", "exclusiveMinimum": 0, "maximum": YEAR}, matching(f"none|{_LENGTH}")),
    "20s",
    lambda value: "none" if value is None else written(value),
)
SIZE = Form("size", ({"type": "integer"}, matching("[0-9]+ ?([KMG]iB|B|)")), "4MiB", _size)
COUNT = Form("whole number", ({"type": "integer"},), "10")
NUMBER = Form("number", ({"type": "number"},), "0.5", "{:g}".format)
FLAG = Form("true or false", ({"type": "boolean"},), "true", _flag)
TEXT = Form("text", (_TEXT,), "local")
FILE = Form("path of a file", ({"type": "string"},), "/etc/octollm/ca.crt")
HOST = Form("host name or IP address", ({"type": "string"},), "127.0.0.1")
PLACE = Form("host name, IP address or unix:/path", ({"type": "string"},), "127.0.0.1")
PATH = Form("path", (matching(r"/[^?#\s]*"),), "/v1/embeddings")
URL = Form("URL", (matching(r"(https?://|unix:/|HTTPS?://)[^?#\s@]+"),), "http://127.0.0.1:8000")
HEADER_NAME = Form("header name", (matching(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"),), "X-Team")
# Keys travel in headers other than the one that `auth` names.
HEADER_VALUE = Form("text", (_TEXT,), "search", _hidden)
SECRET = Form("secret", (_TEXT,), "${TOKEN}", _hidden)
METHOD = Form("method", (matching(r"[A-Z!#$%&'*+.^_`|~0-9-]+"),), "POST")
CAPABILITY = Form("word", (_TEXT,), "chat")
PATTERN = words(*PATTERNS)
REGION = Form("country code", (matching("[A-Z]{2}"),), "DE")
ANY_JSON = Form("any JSON", ({},), "1")
RETRYABLE = Form(
    f"{', '.join(WORDS[:-1])} or a status",
    ({"enum": [word for word in WORDS if word != "cut"]}, _STATUS),
    "503",
)
BLAMING = Form(
    f"{', '.join(WORDS)}, 408 or a 5xx",
    ({"enum": [*WORDS, 408]}, _STATUS | {"minimum": 500}),
    "503",
)
WHEN = Form(
    "status or status:code",
    (_STATUS, matching("[45][0-9][0-9](:[A-Za-z0-9._-]+)?")),
    "400:context_length_exceeded",
    _when,
)
REWRITING = Form(
    "true, false or a list of statuses",
    ({"type": "boolean"}, {"type": "array", "items": _STATUS | {"maximum": 499}}),
    "[401, 429]",
    _rewriting,
)
PROVIDER = words(*PROVIDERS)
VERSION = Form("1", ({"const": 1},), "1")
