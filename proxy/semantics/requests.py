"""What method and path of a request decide: the route it is of, and whether it may be sent twice.

Pure: settings and words in, a yes or no out.
"""

import re

from proxy.config import schema

IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE"))
"""Methods that may be repeated without asking (RFC 9110 9.2.2); TRACE is never forwarded."""

SAFE = frozenset(("GET", "HEAD", "OPTIONS"))
"""Methods that only read (RFC 9110 9.2.1)."""


def serves(match: schema.RouteMatch, method: str, path: str) -> bool:
    """Tell whether a request is of this route: its method, and whole segments of its path."""
    prefix, methods = match.path, match.methods
    if methods is not None and method not in methods:
        return False
    return prefix is None or path == prefix or path.startswith(prefix.rstrip("/") + "/")


def only_reads(method: str, path: str, reads: re.Pattern[str]) -> bool:
    """Tell whether a request changes nothing: by its method, or as the provider's API says."""
    return method in SAFE or (method == "POST" and reads.fullmatch(path) is not None)


def may_repeat(
    method: str, path: str, reads: re.Pattern[str], unsafe: str, *, idempotency_key: bool = False
) -> bool:
    """Tell whether sending this again does no harm that the operator has not accepted.

    *unsafe* is `retry.unsafe_methods`.
    """
    if method in IDEMPOTENT or unsafe == "always":
        return True
    if unsafe == "never":
        return False
    return idempotency_key or only_reads(method, path, reads)
