"""Whose key goes out, and who may ask at all.

Pure. A credential is compared, removed or replaced here, and shown to nobody: no error made in
this file holds a header's value.
"""

import hmac
from collections.abc import Container, Iterable, Mapping
from hashlib import blake2b
from urllib.parse import unquote

from proxy import errors
from proxy.wire.browser import crosses_origins
from proxy.wire.headers import Pair
from proxy.wire.message import Headers

_KEYS = frozenset((b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key"))

CALLERS_OWN = _KEYS | {b"cookie"}
"""The fields by which a caller may bring a credential of its own."""

_SHORTEST = 8
"""Bytes of a key; what is shorter could be a word of any sentence."""

_SUBPROTOCOL_KEY = b"openai-insecure-api-key."


def without_key(target: str) -> str:
    """Remove `?key=…` (Google's way) from a target, and leave every other byte of it alone."""
    path, question_mark, query = target.partition("?")
    if "key=" not in query and "%" not in query:
        return target
    parts = query.split("&")
    kept = "&".join(part for part in parts if unquote(part.partition("=")[0]) != "key")
    return path + question_mark + kept if kept else path


def fingerprint(fields: Mapping[bytes, bytes], target: str) -> bytes:
    """Give what tells one caller's credential from another's, and nothing of the credential."""
    brought = [b"%b:%b" % (name, fields[name]) for name in sorted(_KEYS & fields.keys())]
    query = target.partition("?")[2]
    if "key=" in query or "%" in query:
        parts = (part for part in query.split("&") if unquote(part.partition("=")[0]) == "key")
        brought += [part.encode("utf-8", "surrogateescape") for part in parts]
    if not brought and b"cookie" in fields:
        # Beside a key it is only what some server on the way has set, and changes.
        brought = [fields[b"cookie"]]
    return blake2b(b"\n".join(brought), digest_size=16).digest() if brought else b""


def keys(fields: Iterable[Pair], names: Container[bytes]) -> list[bytes]:
    """Give the keys in the *fields* of these names, without their schemes."""
    brought = (value.rpartition(b" ")[2] for name, value in fields if name.lower() in names)
    return [key for key in brought if len(key) >= _SHORTEST]


def without_subprotocol_key(headers: Headers) -> list[Pair]:
    """Remove a key offered as a subprotocol of a WebSocket, and leave the other subprotocols.

    It is OpenAI's way for browsers, which can set no header there.
    """
    kept: list[Pair] = []
    for name, value in headers:
        if name.lower() == b"sec-websocket-protocol" and _SUBPROTOCOL_KEY in value:
            offers = [offer.strip() for offer in value.split(b",")]
            left = b", ".join(it for it in offers if not it.startswith(_SUBPROTOCOL_KEY))
            if left:
                kept.append((name, left))
        else:
            kept.append((name, value))
    return kept


def require_token(fields: Mapping[bytes, bytes], token: str) -> frozenset[bytes]:
    """Let only a caller pass who brings the listener's token where clients put an API key.

    Gives the names of the fields that brought it, which must not travel on. `Proxy-Authorization`
    serves where the upstream wants the caller's own key. Raises AuthenticationError.
    """
    wanted = token.encode()
    found = set()
    for name in (b"proxy-authorization", b"authorization", b"x-api-key", b"api-key"):
        brought = fields.get(name, b"")
        if brought[:7].lower() == b"bearer ":
            brought = brought[7:].lstrip()
        if hmac.compare_digest(brought, wanted):
            found.add(name)
    if found:
        return frozenset(found)
    raise errors.AuthenticationError("this proxy asks for its listen.token")


def refuse_other_origins(fields: Mapping[bytes, bytes], *, loopback: bool) -> None:
    """Refuse what a browser says was begun by a page of another origin: it would use our key.

    Raises AuthorizationError.
    """
    if crosses_origins(
        host=_text(fields.get(b"host")),
        origin=_text(fields.get(b"origin")),
        fetch_site=_text(fields.get(b"sec-fetch-site")),
        loopback=loopback,
    ):
        raise errors.AuthorizationError("a page of another origin may not use this upstream")


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")
