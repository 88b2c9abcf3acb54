"""What several keys mean together: names, fallbacks, pools, listeners and who may reach our keys.

Each check takes a complete `Config` and gives faults: the way to a key, and what is wrong there. A
warning is a fault one can run with. Nothing here knows where in a file a key stood.
"""

import re
from collections.abc import Iterator

from proxy.config.fields import meant
from proxy.config.schema import Config, Listener
from proxy.config.units import Unreadable
from proxy.config.url import is_loopback

Fault = tuple[tuple[str | int, ...], str | Unreadable]

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*", re.ASCII)
_EVERYWHERE = {"0.0.0.0", "::"}  # noqa: S104 -- to be recognised, not listened on


def errors(config: Config) -> Iterator[Fault]:
    """Give everything that keeps *config* from being used."""
    yield from _names(config)
    yield from _fallbacks(config)
    yield from _pools(config)
    yield from _listeners(config)
    yield from _open_doors(config)


def warnings(config: Config) -> Iterator[Fault]:
    """Give what works otherwise than somebody might think."""
    for name, upstream in config.upstreams.items():
        if upstream.fallback:
            message = "is checked, but in this version a fallback is not taken yet"
            yield ("upstreams", name, "fallback"), message
    for name in config.pools:
        yield ("pools", name), "is checked, but in this version a pool answers ARM_UNAVAILABLE"
    if config.admin.token is None and not is_loopback(config.admin.host):
        message = "listens beyond loopback without a token: it will only serve reads"
        yield ("admin", "host"), message


def _names(config: Config) -> Iterator[Fault]:
    for place, names in (("upstreams", config.upstreams), ("pools", config.pools)):
        for name in names:
            if name.startswith("-"):
                yield (place, name), "begins with a hyphen (paths under /-/ are the proxy's)"
            elif not _NAME.fullmatch(name):
                message = "is not a name (lower-case letters, digits, _ and -, beginning with one"
                yield (place, name), f"{message} of the first two)"
    for name in config.pools.keys() & config.upstreams.keys():
        yield ("pools", name), "is the name of an upstream too (both are served at /<name>/…)"


def _fallbacks(config: Config) -> Iterator[Fault]:
    for name, upstream in config.upstreams.items():
        for number, fallback in enumerate(upstream.fallback):
            where = ("upstreams", name, "fallback", number, "upstream")
            if fallback.upstream == name:
                yield where, "is the upstream itself, which has just failed"
            elif fallback.upstream not in config.upstreams:
                yield where, _nobody(fallback.upstream, config)
    yield from _circles(config)


def _circles(config: Config) -> Iterator[Fault]:
    """Find each way from an upstream over fallbacks back to itself, told once, where it begins."""
    told: set[str] = set()
    for start in config.upstreams:
        way = _way_back(config, start)
        if not told.intersection(way):
            told.update(way)
            if way:
                message = f"goes round in a circle: {' → '.join((*way, start))}"
                yield ("upstreams", start, "fallback"), message


def _way_back(config: Config, start: str) -> tuple[str, ...]:
    ways: list[tuple[str, ...]] = [(start,)]
    seen = {start}
    while ways:
        way = ways.pop()
        for fallback in config.upstreams[way[-1]].fallback:
            target = fallback.upstream
            if target == start and len(way) > 1:
                return way
            if target in config.upstreams and target not in seen:
                seen.add(target)
                ways.append((*way, target))
    return ()


def _pools(config: Config) -> Iterator[Fault]:
    for name, pool in config.pools.items():
        where = ("pools", name, "members")
        for number, member in enumerate(pool.members):
            if member not in config.upstreams:
                yield (*where, number), _nobody(member, config)
            elif member in pool.members[:number]:
                yield (*where, number), Unreadable("is named a second time")


def _listeners(config: Config) -> Iterator[Fault]:
    taken: list[tuple[str, str, int]] = []
    for where, listener in _addresses(config):
        host = "127.0.0.1" if listener.host.lower() == "localhost" else listener.host
        for name, other, port in taken:
            # Port 0 is another one each time.
            if listener.port == port != 0 and (host == other or {host, other} & _EVERYWHERE):
                yield (*where, "port"), f"{port} is taken by {name} already"
                break
        taken.append((".".join(where), host, listener.port))


def _addresses(config: Config) -> Iterator[tuple[tuple[str, ...], Listener]]:
    yield ("listen",), config.listen
    yield ("admin",), config.admin
    for name, upstream in config.upstreams.items():
        if upstream.listen is not None:
            yield ("upstreams", name, "listen"), upstream.listen


def _open_doors(config: Config) -> Iterator[Fault]:
    if config.listen.token is not None or config.listen.open:
        return
    lending = [name for name, upstream in config.upstreams.items() if upstream.auth is not None]
    if lending and not is_loopback(config.listen.host):
        yield ("listen", "host"), _lends(lending)
    for name in lending:
        own = config.upstreams[name].listen
        if own is not None and not is_loopback(own.host):
            yield ("upstreams", name, "listen", "host"), _lends([name])


def _lends(names: list[str]) -> str:
    return (
        f"is reachable beyond loopback, where auth of {', '.join(names)} lends our key to every"
        " caller (set listen.token, or listen.open: true if that is meant)"
    )


def _nobody(name: str, config: Config) -> Unreadable:
    return Unreadable(f"is not an upstream{meant(name, config.upstreams)}")
