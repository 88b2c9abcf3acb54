"""Where a request goes: which upstream, which path there.

Pure. The upstream is chosen by the first path segment (or by the listener) and by nothing else in
the request: an authority in the target, a Host field or a trick in the path never changes it.
"""

import re
from urllib.parse import unquote_to_bytes

from proxy import errors
from proxy.config import fields

_ABSOLUTE_FORM = re.compile(r"https?://[^/?#]*", re.IGNORECASE)
_ORDINARY_PATH = re.compile(r"(?:/[\w\-~!$&'()*+,=:@][\w\-.~!$&'()*+,=:@]*)*/?", re.ASCII)
_DOT_SEGMENTS = frozenset((b".", b".."))


def locate(target: str) -> tuple[str, str]:
    """Split a request target into the name asked for and the rest: `/openai/v1?x` → openai, /v1?x.

    Raises ValidationError for a target that is no path.
    """
    origin_form = to_origin_form(target)
    path, question_mark, query = origin_form.partition("?")
    name, slash, rest = path[1:].partition("/")
    return name, slash + rest + question_mark + query


def to_origin_form(target: str) -> str:
    """Give path and query of a target; the authority of an absolute-form is dropped unread.

    RFC 9112 3.2.2 wants absolute-form accepted; which upstream is called, the config alone says.
    """
    if target.startswith("/"):
        return target
    absolute = _ABSOLUTE_FORM.match(target)
    if absolute is None:
        raise errors.ValidationError("the request target is not a path", field="target")
    rest = target[absolute.end() :]
    return rest if rest.startswith("/") else f"/{rest}"


def join(base_path: str, rest: str) -> str:
    """Put *rest* (path and query as they came) under an upstream's base path, bytes untouched.

    Raises ValidationError where a server that normalises the path would leave the base path.
    """
    path = rest.partition("?")[0]
    # Most paths show at a glance that nothing in them needs a closer look.
    if not _ORDINARY_PATH.fullmatch(path) and is_ambiguous(path):
        raise errors.ValidationError(
            "the path holds dot segments, backslashes or NUL; servers disagree what they mean",
            field="target",
        )
    target = base_path + rest
    return target if target.startswith("/") else f"/{target}"


def is_ambiguous(path: str) -> bool:
    """Tell whether servers could disagree about where *path* leads, decoded once or not at all."""
    decoded = unquote_to_bytes(path.encode("utf-8", "surrogateescape"))
    if b"\0" in decoded or b"\\" in decoded:
        return True
    # Tomcat and its kin cut `;parameters` off a segment before they look at its dots.
    return any(
        segment.partition(b";")[0] in _DOT_SEGMENTS for segment in decoded.split(b"/") if segment
    )


def path_of(rest: str) -> str:
    """Give the path without its query: what routes are matched against."""
    return rest.partition("?")[0]


def capabilities(asked: bytes) -> tuple[str, ...]:
    """Read `X-Required-Capabilities: chat,vision`. Raises ValidationError where a word is none."""
    words = [word.strip() for word in asked.decode("latin-1").split(",")]
    try:
        return tuple(fields.capability(word) for word in words if word)
    except ValueError:
        raise errors.ValidationError(
            "X-Required-Capabilities is not a list of capabilities, such as chat,vision",
            field="X-Required-Capabilities",
        ) from None
