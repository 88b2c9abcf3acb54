"""What a browser says about the page that began a request, and whether that page is ours.

Pure. Programs that are no browsers send none of these fields and are never refused by them.
Sources: Fetch Metadata (`Sec-Fetch-Site`); RFC 6454 (`Origin`), for browsers that have only that.
"""

from proxy.config.url import is_loopback

_OUR_PAGES = frozenset((None, "same-origin", "none"))


def crosses_origins(
    *, host: str | None, origin: str | None, fetch_site: str | None, loopback: bool
) -> bool:
    """Tell whether a browser sent this for a page that is not ours; None is a field not there.

    *loopback* says that only this machine reaches the listener.
    """
    if fetch_site not in _OUR_PAGES:
        return True
    host = (host or "").lower()
    if origin is not None and origin.lower().partition("://")[2] != host:
        return True
    from_browser = origin is not None or fetch_site is not None
    # A name that its owner points at 127.0.0.1 makes his page one of "our" origin (DNS rebinding).
    return from_browser and loopback and not is_loopback(_without_port(host))


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
