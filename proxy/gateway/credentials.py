"""Whose key goes out, and who may ask at all.

Pure. A credential is compared, removed or replaced here, and shown to nobody: no error made in
this file holds a header's value.
"""

import hmac
from collections.abc import Mapping

from proxy import errors
from proxy.wire.message import Headers

CALLERS_OWN = frozenset((b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key", b"cookie"))
"""The fields by which a caller may bring a credential of its own."""

_SAME_ORIGIN = frozenset((b"same-origin", b"none"))


def replace(headers: Headers, name: bytes, value: bytes) -> list[tuple[bytes, bytes]]:
    """Remove every credential the caller brought, and add ours."""
    kept = [pair for pair in headers if pair[0].lower() not in CALLERS_OWN]
    kept.append((name, value))
    return kept


def without_key(target: str) -> str:
    """Remove `?key=…` (Google's way) from a target, and leave every other byte of it alone."""
    path, question_mark, query = target.partition("?")
    if "key=" not in query:
        return target
    kept = "&".join(part for part in query.split("&") if part.partition("=")[0] != "key")
    return path + question_mark + kept if kept else path


def require_token(fields: Mapping[bytes, bytes], token: str) -> None:
    """Let only a caller pass who brings the listener's token where clients put an API key.

    `Proxy-Authorization` serves where the upstream wants the caller's own key: it ends here.
    Raises AuthenticationError.
    """
    wanted = token.encode()
    for name in (b"proxy-authorization", b"authorization", b"x-api-key", b"api-key"):
        brought = fields.get(name, b"")
        if brought[:7].lower() == b"bearer ":
            brought = brought[7:].lstrip()
        if hmac.compare_digest(brought, wanted):
            return
    raise errors.AuthenticationError("this proxy asks for its listen.token")


def refuse_other_origins(fields: Mapping[bytes, bytes]) -> None:
    """Refuse what a browser says was begun by a page of another origin: it would use our key.

    Raises AuthorizationError. (Fetch Metadata; Origin for browsers that have only that.)
    """
    site = fields.get(b"sec-fetch-site")
    origin = fields.get(b"origin")
    if site is not None:
        foreign = site not in _SAME_ORIGIN
    else:
        foreign = origin is not None and origin.partition(b"://")[2] != fields.get(b"host")
    if foreign:
        raise errors.AuthorizationError("a page of another origin may not use this upstream")
