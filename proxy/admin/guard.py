"""Who may change something through the admin listener.

Rule 1: reading is free, changing is guarded: against pages of another origin everywhere, and by
the token wherever others than this machine can reach us.
Rule 2: nothing here knows a socket; a request is its method and four header fields.
"""

import hmac
from dataclasses import dataclass

from proxy import errors
from proxy.errors import OctoLLMError
from proxy.wire.browser import crosses_origins

READS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class Ask:
    """What the guard looks at; a field is None where the request does not have it."""

    method: str
    host: str | None = None
    origin: str | None = None
    fetch_site: str | None = None
    authorization: str | None = None


def refusal(ask: Ask, *, loopback: bool, token: str | None) -> OctoLLMError | None:
    """Give the reason why *ask* may not be served, or None where it may."""
    if ask.method in READS:
        return None
    if crosses_origins(
        host=ask.host, origin=ask.origin, fetch_site=ask.fetch_site, loopback=loopback
    ):
        return errors.AuthorizationError("a page of another origin may not change anything here")
    if loopback:
        return None
    if not token:
        return errors.AuthorizationError("without admin.token this listener serves reads only")
    if not bears(ask.authorization, token):
        return errors.AuthenticationError("Authorization: Bearer <admin.token> is wanted here")
    return None


def bears(authorization: str | None, token: str) -> bool:
    """Tell whether this is the token, in a time that does not depend on how much of it is."""
    scheme, _, given = (authorization or "").partition(" ")
    same = hmac.compare_digest(_bytes(given.strip()), _bytes(token))
    return same and scheme.lower() == "bearer"


def _bytes(text: str) -> bytes:
    # A header's bytes beyond ASCII arrive as halves of surrogate pairs.
    return text.encode("utf-8", "surrogateescape")
