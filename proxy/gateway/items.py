"""What a batch asks for: its bytes in, items fit to be sent out, or all that is wrong with them.

Rule 1: pure. Nothing here sends, waits, or knows which upstreams there are: that an item names none
is found out like any request's, and costs no other item.
Rule 2: an item says nothing that a request on a connection of its own could not say, and nothing of
what its batch's caller is known by.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from proxy import errors
from proxy.config import schema, units
from proxy.config.units import Unreadable
from proxy.gateway import routing, strictjson
from proxy.wire.headers import HOP_BY_HOP, Pair

BATCHS_OWN = frozenset((b"host", b"origin", b"sec-fetch-site", b"via"))
"""What shows where a request comes from. Each item has its batch's: a page of another origin could
otherwise say in an item that it is none."""

CONCURRENCY = 8
"""Items under way at a time, where the batch does not say."""

_REFUSED = BATCHS_OWN | {b"expect"} | HOP_BY_HOP - {b"proxy-authorization"}
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_ORDER_KEYS = ("requests", "concurrency", "deadline")
_ITEM_KEYS = ("id", "method", "path", "headers", "body")
_PATH = re.compile(r"/[!-~]*")
# As on a connection: no underscore, which CGI and WSGI take for a dash, and no controls but a tab.
_NAME = re.compile(r"[!#$%&'*+.^`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t -~\x80-\xff]*")
_NOT_JSON = object()

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Item:
    """One request of a batch."""

    id: str
    method: str
    path: str
    headers: list[Pair]
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Asked:
    """A whole batch, as it was asked for. *deadline* is in seconds; None is no limit."""

    items: list[Item]
    concurrency: int
    deadline: float | None


def read(
    text: bytes | bytearray, query: str, bounds: schema.Batch, heads: schema.Limits, *, lines: bool
) -> Asked:
    """Read a batch: one JSON object, or *lines* of items; *query* may say what lines cannot.

    Raises ValidationError where it is no JSON object, and ValidationErrors with all faults in it.
    """
    content: dict[str, Any] = dict(parse_qsl(query, keep_blank_values=True))
    if lines:
        content["requests"] = [_parse(line) for line in text.splitlines() if line.strip()]
    else:
        content |= _object(text)
    faults = _Faults()
    faults.add_unknown("", content, _ORDER_KEYS)
    wish = faults.read("concurrency", _concurrency, content.get("concurrency", CONCURRENCY))
    deadline = faults.read("deadline", units.limit, content.get("deadline"))
    items = []
    raw = faults.read("requests", lambda it: _list(it, bounds.items), content.get("requests"))
    for n, found in enumerate(raw or ()):
        item = _item(found, f"requests[{n}]", heads, faults)
        if item is not None:
            items.append(item)
    faults.tell()
    return Asked(items, min(wish or CONCURRENCY, bounds.concurrency), deadline)


class _Faults:
    """All that is wrong, by field. No text of the caller's is repeated in it."""

    def __init__(self) -> None:
        self._found: list[Mapping[str, str]] = []
        self._ids: set[str] = set()

    def add(self, field: str, message: str) -> None:
        self._found.append({"field": field, "message": message})

    def add_unknown(self, at: str, content: Mapping[str, object], known: tuple[str, ...]) -> None:
        if content.keys() - set(known):
            self.add(at, f"has a key that is not known; known are {', '.join(known)}")

    def read(self, field: str, reads: Callable[[Any], Value], value: object) -> Value | None:
        """Give *value* as *reads* understands it; where it does not, note why, and give None."""
        try:
            return reads(value)
        except Unreadable as unreadable:
            self.add(field, str(unreadable))
            return None

    def compare(self, field: str, id: str) -> None:
        if id in self._ids:
            self.add(field, "is the id of an item before it, too")
        self._ids.add(id)

    def tell(self) -> None:
        if self._found:
            raise errors.ValidationErrors(self._found)


def _item(raw: object, at: str, heads: schema.Limits, faults: _Faults) -> Item | None:
    """Give an item, or note what is wrong with it: of each key the first that is."""
    if not isinstance(raw, dict):
        faults.add(at, "is not JSON" if raw is _NOT_JSON else "is not an object")
        return None
    faults.add_unknown(at, raw, _ITEM_KEYS)
    id = faults.read(f"{at}.id", _id, raw.get("id"))
    method = faults.read(f"{at}.method", _method, raw.get("method"))
    path = faults.read(f"{at}.path", _path, raw.get("path"))
    headers = faults.read(f"{at}.headers", lambda it: _headers(it, heads), raw.get("headers", {}))
    body = faults.read(f"{at}.body", _body, raw.get("body"))
    if id is not None:
        faults.compare(f"{at}.id", id)
    if id is None or method is None or path is None or headers is None:
        return None
    if body is not None and not isinstance(raw["body"], str):
        is_named = any(name.lower() == b"content-type" for name, _ in headers)
        headers += [] if is_named else [(b"Content-Type", b"application/json")]
    return Item(id, method, path, headers, body)


def _object(text: bytes | bytearray) -> dict[str, Any]:
    content = _parse(text)
    if not isinstance(content, dict):
        raise errors.ValidationError("the batch is not a JSON object", field="body")
    return content


def _parse(text: bytes | bytearray) -> Any:
    try:
        return strictjson.parse(text)
    except ValueError:
        return _NOT_JSON


def _concurrency(value: object) -> int:
    found = units.whole(value)
    if found < 1:
        raise Unreadable("must be 1 or more")
    return found


def _list(value: object, most: int) -> list[Any]:
    if not isinstance(value, list):
        raise Unreadable("is not a list of items")
    if len(value) > most:
        raise Unreadable(f"has {len(value)} items; batch.items allows {most}")
    return value


def _id(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise Unreadable("is not a text that names the item")
    return value


def _method(value: object) -> str:
    if not isinstance(value, str) or value not in _METHODS:
        raise Unreadable(f"is none of {', '.join(_METHODS)}")
    return value


def _path(value: object) -> str:
    if not isinstance(value, str) or not _PATH.fullmatch(value) or "#" in value:
        raise Unreadable("is not a path in ASCII that begins with /, percent-encoded where needed")
    path = routing.path_of(value)
    if routing.is_ambiguous(path):
        raise Unreadable("holds dot segments, backslashes or NUL; servers disagree what they mean")
    if path == "/-" or path.startswith("/-/"):
        raise Unreadable("is the proxy's own; a batch is for upstreams and pools")
    return value


def _headers(value: object, heads: schema.Limits) -> list[Pair]:
    if not isinstance(value, dict):
        raise Unreadable("is not an object of names and texts")
    if len(value) > heads.header_count:
        raise Unreadable(f"has {len(value)} fields; limits.header_count is {heads.header_count}")
    pairs = [_pair(name, text) for name, text in value.items()]
    if sum(len(name) + len(text) + 4 for name, text in pairs) > heads.header_size:
        raise Unreadable("is larger than limits.header_size")
    return pairs


def _pair(name: str, value: object) -> Pair:
    if not _NAME.fullmatch(name):
        raise Unreadable("has a name that no header field can have")
    field = name.encode()
    if field.lower() in _REFUSED:
        raise Unreadable(f"names {field.lower().decode()}, which is not an item's to say")
    if not isinstance(value, str) or not _VALUE.fullmatch(value):
        raise Unreadable("has a value that is not a text, or no header field can hold")
    return field, value.strip("\t ").encode("latin-1")


def _body(value: object) -> bytes | None:
    """Give the bytes of a body: a text as it is, any other value as JSON, nothing for null."""
    if value is None:
        return None
    try:
        return value.encode() if isinstance(value, str) else strictjson.write(value)
    except ValueError:
        raise Unreadable("holds a number, a character or a depth that cannot be sent") from None
