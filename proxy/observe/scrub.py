"""Text that others wrote, made fit to be shown: an upstream's error message, a library's log line.

Rule 1: a credential that looks like one does not come out again. What looks like nothing (a short
password in running text) cannot be known here; that is why bodies and headers are never logged.
Rule 2: time is linear in the text, whatever the text: each pattern starts where a word starts and
gives nothing back (possessive quantifiers), so a hostile upstream buys nothing by repetition.
"""

import re

from proxy.guard.keys import PREFIX

REMOVED = "[removed]"
LIMIT = 500
"""Characters of an upstream's message that are shown."""
_LOOKED_AT = 8 * LIMIT

_URL = re.compile(
    r"\b(?:https?|wss?|rediss?|postgres(?:ql)?|unix)://[^\s\"'<>]*+", re.IGNORECASE | re.ASCII
)

# `Authorization: Bearer x`, `x-api-key: x`, as a header dump or as JSON, to the end of the value.
_HEADER = re.compile(
    r"\b((?:proxy-)?authorization|(?:set-)?cookie|x-api-key|api-key|x-goog-api-key)"
    r"(\"?'?[ \t]{0,3}[:=][ \t]{0,3}[\"']?)[^\r\n\"']++",
    re.IGNORECASE | re.ASCII,
)

# `api_key=x`, `"client_secret": "x"`, `password: x`; `key` and `token` alone only with `=`,
# because "unknown key: temperature" is what a person needs to read.
_ASSIGNMENT = re.compile(
    r"(?<![a-z0-9])("
    r"(?:api[ _-]?key|access[_-]?key|secret[_-]?key|access[_-]?token|refresh[_-]?token|id[_-]?token"
    r"|auth[_-]?token|client[_-]?secret|secret|password|passwd)\"?'?[ \t]{0,3}[:=]"
    r"|(?:key|token|sig|signature)=)"
    r"([ \t]{0,3}[\"']?)[^\s\"'&,;<>(){}\[\]]{3,}+",
    re.IGNORECASE | re.ASCII,
)

# "basic authentication" is a word, "Basic dXNlcjpwYXNz" is not: a capital or a digit is within.
_SCHEME = re.compile(
    r"\b((?i:bearer)[ \t]{1,3}|(?i:basic)[ \t]{1,3}(?=[A-Za-z][a-z]*+[A-Z0-9+/=]))"
    r"[A-Za-z0-9._~+/=*-]{6,}+",
    re.ASCII,
)

# Prefixes under which the vendors we know hand out keys; `*` because some mask the middle.
_VENDOR = re.compile(rf"(?<![A-Za-z0-9]){PREFIX}[A-Za-z0-9_.*-]{{8,}}+")

_JWT = re.compile(r"(?<![\w-])eyJ[\w-]{8,}+\.[\w-]++(?:\.[\w-]*+)?", re.ASCII)

_RUN = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{32,}+={0,2}")
_UNBROKEN = re.compile(r"[A-Za-z0-9]{32,}+")

_SPACES = re.compile(r"[\t\n\v\f\r\x85\u2028\u2029]+")
# Besides C0 and C1: marks that turn the direction of text, and halves of surrogate pairs, which
# are no text at all and make every encoder fail.
_UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ud800-\udfff]"
)


def scrub(text: str) -> str:
    """Give *text* on one line without credentials and control characters, cut at LIMIT."""
    if len(text) > _LOOKED_AT:
        # Up to a space: half a credential might not look like one.
        text = text[:_LOOKED_AT].rpartition(" ")[0] or text[:_LOOKED_AT]
    # Unprintables go first, so that none of them can hide a key by splitting it.
    text = redact(_UNPRINTABLE.sub("", _SPACES.sub(" ", text))).strip()
    return text if len(text) <= LIMIT else text[: LIMIT - 1] + "…"


def redact(text: str) -> str:
    """Give *text*, of any length and number of lines, with its credentials removed."""
    text = _URL.sub(_bare_url, text)
    text = _HEADER.sub(rf"\1\2{REMOVED}", text)
    text = _ASSIGNMENT.sub(rf"\1\2{REMOVED}", text)
    text = _SCHEME.sub(rf"\1{REMOVED}", text)
    text = _VENDOR.sub(REMOVED, text)
    text = _JWT.sub(REMOVED, text)
    return _RUN.sub(_opaque, text)


def _bare_url(found: re.Match[str]) -> str:
    """Leave out user, password, query and fragment."""
    scheme, _, rest = found[0].partition("://")
    rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"


def _opaque(found: re.Match[str]) -> str:
    """Remove a long run if it is drawn at random, not written: model names and paths stay."""
    run = found[0]
    digits = any(c.isdigit() for c in run)
    if digits and _UNBROKEN.search(run):
        return REMOVED
    mixed = any(c.isupper() for c in run) and any(c.islower() for c in run)
    return REMOVED if digits and mixed and len(run) >= 40 else run
