"""A line of news about one circuit, as replicas send it to each other.

Replicas have clocks of their own. So no time is ever told, but only how many seconds are left, and
how many have passed. Nothing here knows who carries it, or what is made of it.
"""

import hashlib
import json
from dataclasses import asdict, dataclass

from proxy.config import schema

_LONGEST = 1e9
"""Seconds; whoever says more does not mean them."""


@dataclass(frozen=True, slots=True)
class News:
    """The circuit of the replica *by* stays open for *left* seconds more, or is closed: 0.

    *since* is the seconds since it was closed, or ceased to be.
    """

    by: str
    circuit: str
    left: float
    since: float


def circuit(upstream: schema.Upstream) -> str:
    """Name a circuit, alike in all replicas whose upstream of this name has this address."""
    return f"{upstream.name}:{hashlib.sha256(str(upstream.url).encode()).hexdigest()[:16]}"


def pack(news: News) -> bytes:
    return json.dumps(asdict(news)).encode()


def unpack(data: bytes) -> News | None:
    """Read what a replica has packed; None where it is anything else."""
    try:
        news = News(**json.loads(data))
        names = isinstance(news.by, str) and isinstance(news.circuit, str)
        sane = 0 <= news.left <= _LONGEST and 0 <= news.since <= _LONGEST
    except (ValueError, TypeError, RecursionError):
        return None
    return news if names and sane else None
