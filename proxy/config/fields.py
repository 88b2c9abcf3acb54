"""How the file's words are read: names, headers, conditions, paths and other text with rules.

Like `units.py`, each function takes a value and gives what was meant, or raises. `Unreadable` lets
the author's text be quoted; a plain ValueError does not, because the text may be a secret.
"""

import difflib
import json
import re
from collections.abc import Iterable
from typing import NamedTuple

from pydantic import JsonValue

from proxy.config import url
from proxy.config.units import Unreadable, flag, whole

WORDS = ("connect", "reset", "timeout", "protocol", "cut")
"""The conditions that are not a status."""

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", re.ASCII)
# RFC 9110 5.5, without obs-text: a byte above 127 means something else to each server.
_FIELD_VALUE = re.compile(r"[!-~](?:[ \t!-~]*[!-~])?", re.ASCII)
_CAPABILITY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*", re.ASCII)
_CODE = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_OTHER_YAML = {"no", "off", "n", "yes", "on", "y"}

# RFC 9110 7.6.1 and 8.6, RFC 9112 6: what frames a message or concerns one connection is the wire's
# to write; Host is the upstream's url, and Expect is between the caller and us.
_OURS = {
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}


class Plain(str):
    """A scalar without quotes: where any JSON value may stand, it may be other than text."""

    __slots__ = ()


class Unknown(str):
    """A value that is not to be had, or wrong and already told: the rest is judged without it."""

    __slots__ = ()


PATTERNS = ("email", "phone", "credit_card", "iban", "us_ssn", "ip", "api_key")
"""What the guard can look for."""

_REGION = re.compile("[A-Z]{2}", re.ASCII)


class When(NamedTuple):
    """A caller's fault that another target might not see: a status, or only one code of it."""

    status: int
    code: str | None


def meant(word: str, known: Iterable[str]) -> str:
    """Give ` (did you mean …?)` where something known is near, else nothing."""
    near = difflib.get_close_matches(word.lower(), list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def text(value: object) -> str:
    """Read one piece of text."""
    if not isinstance(value, str):
        raise Unreadable("is not one piece of text")
    return value


def one_of(value: object, known: Iterable[str]) -> str:
    """Read a word of a closed set."""
    known = tuple(known)
    if value in known:
        return str(value)
    raise Unreadable(f"is not one of {', '.join(known)}{meant(text(value), known)}")


def condition(value: object, words: tuple[str, ...] = WORDS) -> str | int:
    """Read one entry of retry_on or failure_on: a word, or a status of 400 to 599."""
    if value in words:
        return str(value)
    if isinstance(value, str) and not value.lstrip("-").isdecimal():
        raise Unreadable(
            f"is not a status or one of {', '.join(words)}{meant(value, words)}",
        )
    status = whole(value)
    if not 400 <= status <= 599:
        raise Unreadable("is not a status of 400 to 599")
    return status


def retryable(value: object) -> str | int:
    """Read an entry of retry_on: a cut body has reached the caller already."""
    if value == "cut":
        raise Unreadable("is not retried: part of the answer has reached the caller by then")
    return condition(value, WORDS[:-1])


def blaming(value: object) -> str | int:
    """Read an entry of failure_on: what says that the upstream is down, and not who asked badly."""
    found = condition(value)
    if found == 429:
        raise Unreadable("belongs to a key, not to the upstream, and never opens a circuit")
    if isinstance(found, int) and found < 500 and found != 408:
        raise Unreadable("is the caller's fault and says nothing about the upstream")
    return found


def when(value: object) -> When:
    """Read `404` or `400:context_length_exceeded`."""
    status, colon, code = str(value).partition(":")
    if not status.isdecimal() or (colon and not _CODE.fullmatch(code)):
        message = "is not a status or status:code, such as 404 or 400:context_length_exceeded"
        raise Unreadable(message)
    found = condition(whole(Plain(status)))
    assert isinstance(found, int)
    return When(found, code or None)


def rewriting(value: object) -> bool | frozenset[int]:
    """Read `true`, `false`, or the statuses of 400 to 499 that are rewritten."""
    if isinstance(value, list | tuple | set | frozenset):
        statuses = frozenset(whole(item) for item in value if not isinstance(item, Unknown))
        if not all(400 <= status <= 499 for status in statuses):
            raise ValueError("names a status that is not a client error, 400 to 499")
        return statuses
    try:
        return flag(value)
    except Unreadable:
        message = "is not true, false or a list of statuses, such as [401, 429]"
        raise Unreadable(message) from None


def header_name(value: object) -> str:
    """Read a header's name; not one of those that are ours or the wire's to write."""
    name = text(value)
    if not _TOKEN.fullmatch(name):
        raise ValueError("is not a header name (letters, digits and hyphens)")
    if name.lower() in _OURS:
        raise ValueError("is a header that the proxy writes itself")
    return name


def header_value(value: str) -> str:
    """Read a header's value: visible ASCII, as nothing else means the same to every server."""
    if not value:
        raise ValueError("is empty (is its variable set?)")
    if value != value.strip():
        raise ValueError("begins or ends with white space (is its variable empty?)")
    if not _FIELD_VALUE.fullmatch(value):
        raise ValueError("holds a control character or one that is not ASCII")
    return value


def method(value: object) -> str:
    """Read a method; methods are case-sensitive, and everyone's are upper-case."""
    name = text(value)
    if not _TOKEN.fullmatch(name) or name != name.upper():
        raise Unreadable("is not a method (write GET, POST … in capitals)")
    return name


def pattern(value: object) -> str:
    """Read the name of something that the guard looks for."""
    return one_of(value, PATTERNS)


def region(value: object) -> str:
    """Read a country's two letters (ISO 3166)."""
    name = text(value)
    if not _REGION.fullmatch(name):
        raise Unreadable("is not a country's code (two capitals, such as US)")
    return name


def path(value: object) -> str:
    """Read a path to match or to put in place: it begins with a slash and holds no query."""
    found = text(value)
    if not found.startswith("/") or not url.is_path(found):
        raise Unreadable("is not a path (begin with /, without query, special ones as %XX)")
    return found


def host(value: object) -> str:
    """Read an address to listen on; IPv6 may stand in brackets."""
    found = text(value)
    if found.startswith("[") and found.endswith("]"):
        found = found[1:-1]
    if not url.is_host(found):
        raise Unreadable("is not a host name or an IP address")
    return found


def place(value: object) -> str:
    """Read an address to listen on, or `unix:/path`."""
    found = text(value)
    if not found.startswith("unix:"):
        return host(found)
    if not url.is_socket(found):
        raise Unreadable("is not the path of a Unix socket (write unix:/run/name.sock)")
    return found


def capability(value: object) -> str:
    """Read a capability: it is compared with words of a comma-separated header."""
    found = text(value)
    if not _CAPABILITY.fullmatch(found):
        raise Unreadable("is not a capability (letters, digits and . _ : -)")
    return found


def json_value(value: object) -> JsonValue:
    """Read what is put into a JSON body: unquoted numbers, true, false and null are what they say.

    What YAML 1.1 and people read differently is refused rather than guessed.
    """
    if isinstance(value, dict):
        return {str(key): json_value(item) for key, item in value.items()}
    if isinstance(value, list):
        return [json_value(item) for item in value]
    if isinstance(value, Plain):
        if value in {"true", "false"} or _JSON_NUMBER.fullmatch(value):
            found: JsonValue = json.loads(value)
            return found
        if value.lower() in _OTHER_YAML:
            raise Unreadable('is read as true or false by YAML (write true, false or "quoted")')
        if value.replace(":", "").isdecimal():
            raise Unreadable('is read as another number by YAML (write it plainly or "quoted")')
        return str(value)
    return value  # type: ignore[return-value]  # text, or already JSON, from Python
