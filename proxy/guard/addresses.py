"""Addresses: of mail (`email`) and of machines (`ip`). Nothing here knows where a text comes from.

An IP address counts where it can be somebody's: in public, routed space. Loopback, private
networks, netmasks and the ranges kept for documentation are nobody's.
"""

import ipaddress
import re
from collections.abc import Iterator

from proxy.guard.hit import WORD, Hit, begins

_LOCAL = 64
"""Characters before the `@`, by RFC 5321."""

_DOMAIN = re.compile(r"@(?:[^\W_]|-){1,63}+(?:\.(?:[^\W_]|-){1,63}+){1,10}+")
_TOP = re.compile(r"[^\W\d_]{2,63}|xn--[a-z0-9-]{1,59}", re.IGNORECASE)
_BACKWARDS = re.compile(r"[\w.+-]++")
# `logo@2x.png` is a picture for screens of twice the density.
_FILES = frozenset(("png", "jpg", "jpeg", "gif", "webp", "svg", "avif", "pdf", "css", "js"))

# A browser calls itself Chrome/120.0.0.0, which is a version.
_DOTTED = begins(f"{WORD}.") + r"(?<![A-Za-z]/.)"
_FOUR = re.compile(
    rf"[0-9]{_DOTTED}[0-9]{{0,2}}+\.[0-9]{{1,3}}+\.[0-9]{{1,3}}+\.[0-9]{{1,3}}+(?![{WORD}]|\.[0-9])"
)
_COLONED = begins(f"{WORD}:.")
_SIX = re.compile(rf"[0-9a-fA-F]{_COLONED}[0-9a-fA-F]{{0,3}}+:[0-9a-fA-F:.]{{1,44}}+(?![{WORD}])")
_UNICAST = ipaddress.IPv6Network("2000::/3")


def emails(text: str) -> Iterator[Hit]:
    """Find addresses that mail could be sent to: a local part and a domain with a top level."""
    for found in _DOMAIN.finditer(text):
        at, end = found.span()
        domain = found[0][1:].lower()
        top = domain.rpartition(".")[2]
        if top in _FILES or not _TOP.fullmatch(top) or "-." in domain or ".-" in domain:
            continue
        # What stands before the `@` is read backwards: nothing is looked at in a text without one.
        local = _BACKWARDS.match(text[max(0, at - _LOCAL - 1) : at][::-1])
        if local is None or len(local[0]) > _LOCAL:
            continue
        start = at - len(local[0])
        if re.match(r"\\[nrtbf]", text[max(0, start - 1) : start + 1]):
            start += 1
        name = text[start:at].lstrip(".-")
        if name and name != "git":
            yield Hit(at - len(name), end, f"{name.casefold()}@{domain}")


def machines(text: str) -> Iterator[Hit]:
    """Find public addresses of both versions."""
    for found in _FOUR.finditer(text):
        four = _four(found[0])
        if four is not None and four.is_global and not four.is_multicast:
            yield Hit(*found.span(), str(four))
    for found in _SIX.finditer(text):
        written = found[0].rstrip(".")
        if written.endswith(":") and not written.endswith("::"):
            written = written[:-1]
        six = _six(written)
        if six is not None and six.is_global and six in _UNICAST:
            yield Hit(found.start(), found.start() + len(written), str(six))


def _four(written: str) -> ipaddress.IPv4Address | None:
    try:
        return ipaddress.IPv4Address(written)
    except ValueError:
        return None


def _six(written: str) -> ipaddress.IPv6Address | None:
    try:
        return ipaddress.IPv6Address(written)
    except ValueError:
        return None
