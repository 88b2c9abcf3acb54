"""What several keys mean together: names, fallbacks, pools, listeners and who may reach our keys.

Each check takes a complete `Config` and gives faults: the way to a key, and what is wrong there. A
warning is a fault one can run with (`doubts.py` has those about policies). Nothing here knows where
in a file a key stood.
"""

import re
import ssl
from collections.abc import Iterator
from pathlib import Path

from proxy.config import doubts, tls
from proxy.config.fields import meant
from proxy.config.listening import AdminListener, Listener
from proxy.config.schema import Config, Rules
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
    yield from _ways(config)


def files(config: Config) -> Iterator[Fault]:
    """Give every file that *config* names and that cannot be used as it says."""
    for where, listener in _data_listeners(config):
        if listener.tls is not None:
            served = listener.tls
            yield from _usable(where, served.certificate, served.key, client_ca=served.client_ca)
    for name, upstream in config.upstreams.items():
        if upstream.tls is not None:
            shown = upstream.tls
            yield from _usable(("upstreams", name), shown.certificate, shown.key, ca=shown.ca)


def named_files(config: Config) -> Iterator[str]:
    """Name the certificates, keys and authorities of *config*."""
    for _, listener in _data_listeners(config):
        yield from tls.files(listener.tls)
    for upstream in config.upstreams.values():
        yield from tls.files(upstream.tls)


def warnings(config: Config, defaults: Rules) -> Iterator[Fault]:
    """Give what works otherwise than somebody might think; *defaults* as they are by themselves."""
    if config.admin.token is None and not is_loopback(config.admin.host):
        message = "listens beyond loopback without a token: it will only serve reads"
        yield ("admin", "host"), message
    yield from doubts.idle(config, defaults)
    yield from doubts.leaks(config)


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


def _pools(config: Config) -> Iterator[Fault]:
    for name, pool in config.pools.items():
        where = ("pools", name)
        for number, member in enumerate(pool.members):
            if member not in config.upstreams:
                yield (*where, "members", number), _nobody(member, config)
            elif member in pool.members[:number]:
                yield (*where, "members", number), Unreadable("is named a second time")
        if pool.weights and pool.strategy == "priority":
            message = "is priority, to which weights mean nothing (write weighted or"
            yield (*where, "strategy"), f"{message} least_in_flight, or leave weights out)"
        # A member that is told already may be the one that is meant here.
        if config.upstreams.keys() >= set(pool.members):
            for stranger in pool.weights.keys() - set(pool.members):
                message = f"is not a member of the pool{meant(stranger, pool.members)}"
                yield (*where, "weights", stranger), message


def _listeners(config: Config) -> Iterator[Fault]:
    taken: list[tuple[str, str, int]] = []
    for where, listener in _addresses(config):
        if listener.host.startswith("unix:"):
            yield from _sockets(where, listener, taken)
            continue
        if where[0] == "upstreams" and "port" not in listener.model_fields_set:
            yield (*where, "port"), "is missing"
        host = "127.0.0.1" if listener.host.lower() == "localhost" else listener.host
        for name, other, port in taken:
            # Port 0 is another one each time.
            if listener.port == port != 0 and (host == other or {host, other} & _EVERYWHERE):
                yield (*where, "port"), f"{port} is taken by {name} already"
                break
        taken.append((".".join(where), host, listener.port))


def _sockets(
    where: tuple[str, ...], listener: Listener | AdminListener, taken: list[tuple[str, str, int]]
) -> Iterator[Fault]:
    if listener.port and "port" in listener.model_fields_set:
        yield (*where, "port"), "is given beside a Unix socket, which has none"
    for name, other, _ in taken:
        if listener.host == other:
            yield (*where, "host"), f"is taken by {name} already"
            break
    taken.append((".".join(where), listener.host, 0))


def _addresses(config: Config) -> Iterator[tuple[tuple[str, ...], Listener | AdminListener]]:
    # In the order of the file that most people write: the later one is told to give way.
    yield ("listen",), config.listen
    yield ("admin",), config.admin
    yield from _own_listeners(config)


def _data_listeners(config: Config) -> Iterator[tuple[tuple[str, ...], Listener]]:
    yield ("listen",), config.listen
    yield from _own_listeners(config)


def _own_listeners(config: Config) -> Iterator[tuple[tuple[str, ...], Listener]]:
    for name, upstream in config.upstreams.items():
        if upstream.listen is not None:
            yield ("upstreams", name, "listen"), upstream.listen


def _open_doors(config: Config) -> Iterator[Fault]:
    if config.listen.token is not None or config.listen.open:
        return
    lending = [name for name, upstream in config.upstreams.items() if upstream.auth is not None]
    if lending and not is_loopback(config.listen.host):
        yield ("listen", "host"), _lends(lending)
    for name, upstream in config.upstreams.items():
        own = upstream.listen
        asked = (name, *(fallback.upstream for fallback in upstream.fallback))
        lent = [one for one in asked if one in lending]
        if lent and own is not None and not is_loopback(own.host):
            yield ("upstreams", name, "listen", "host"), _lends(lent)


def _lends(names: list[str]) -> str:
    return (
        f"is reachable beyond loopback, where auth of {', '.join(names)} lends our key to every"
        " caller (set listen.token, or listen.open: true if that is meant)"
    )


def _ways(config: Config) -> Iterator[Fault]:
    """Find what contradicts the way to an upstream: TLS without https, a way through to a file."""
    for name, upstream in config.upstreams.items():
        where = ("upstreams", name)
        if upstream.tls is not None:
            if upstream.url.scheme != "https":
                yield (*where, "tls"), "is for https, which url is not"
            if (upstream.tls.key is None) != (upstream.tls.certificate is None):
                given, missing = ("certificate", "key")[:: 1 if upstream.tls.key is None else -1]
                yield (*where, "tls", given), f"is given without its {missing}"
        if upstream.egress is not None:
            if upstream.egress.scheme == "unix":
                yield (*where, "egress"), "is not an http:// URL"
            elif upstream.url.scheme == "unix":
                yield (*where, "egress"), "leads to no Unix socket, which is on this machine"


def _usable(
    where: tuple[str, ...], certificate: str | None, key: str | None, **authorities: str | None
) -> Iterator[Fault]:
    """Try the files of a tls block as they will be used."""
    pair = {"certificate": certificate, "key": key}
    unread = dict[str, str]()
    for name, file in {**pair, **authorities}.items():
        if file is not None:
            try:
                Path(file).open("rb").close()
            except (OSError, ValueError) as error:
                unread[name] = getattr(error, "strerror", None) or "no file can have such a name"
    for name, reason in unread.items():
        yield (*where, "tls", name), f"cannot be read: {reason}"
    if certificate is not None and key is not None and not pair.keys() & unread.keys():
        try:
            tls.show(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), certificate, key)
        except (ssl.SSLError, ValueError):
            yield (*where, "tls", "certificate"), "is no PEM certificate that goes with key"
    for name, file in authorities.items():
        if file is not None and name not in unread:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
            except ssl.SSLError:
                yield (*where, "tls", name), "holds no PEM certificate"


def _nobody(name: str, config: Config) -> Unreadable:
    if name in config.pools:
        return Unreadable("is a pool; name its members")
    return Unreadable(f"is not an upstream{meant(name, config.upstreams)}")
