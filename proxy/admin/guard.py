"""Who may change something through the admin listener.

Rule 1: reading is free, changing is guarded: against pages of another origin everywhere, and by
the token wherever others than this machine can reach us.
Rule 2: nothing here knows a socket; a request is its method and four header fields.
"""

import hmac
from dataclasses import dataclass
from ipaddress import ip_address

from proxy import errors
from proxy.errors import OctoLLMError

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
    if crosses_origins(ask, loopback=loopback):
        return errors.AuthorizationError("a page of another origin may not change anything here")
    if loopback:
        return None
    if not token:
        return errors.AuthorizationError("without admin.token this listener serves reads only")
    if not bears(ask.authorization, token):
        return errors.AuthenticationError("Authorization: Bearer <admin.token> is wanted here")
    return None


def crosses_origins(ask: Ask, *, loopback: bool) -> bool:
    """Tell whether a browser sent this for a page that is not ours."""
    if ask.fetch_site not in {None, "same-origin", "none"}:
        return True
    host = (ask.host or "").lower()
    if ask.origin is not None and ask.origin.lower().partition("://")[2] != host:
        return True
    from_browser = ask.origin is not None or ask.fetch_site is not None
    # A name that its owner points at 127.0.0.1 makes his page one of "our" origin (DNS rebinding).
    return from_browser and loopback and not is_loopback(_hostname(host))


def bears(authorization: str | None, token: str) -> bool:
    """Tell whether this is the token, in a time that does not depend on how much of it is."""
    scheme, _, given = (authorization or "").partition(" ")
    same = hmac.compare_digest(_bytes(given.strip()), _bytes(token))
    return same and scheme.lower() == "bearer"


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches *host*; a name but localhost may be anything."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _hostname(authority: str) -> str:
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    return authority.partition(":")[0]


def _bytes(text: str) -> bytes:
    # A header's bytes beyond ASCII arrive as halves of surrogate pairs.
    return text.encode("utf-8", "surrogateescape")
