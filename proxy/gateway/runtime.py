"""A whole config, alive. A reload builds another one beside it and swaps it by one assignment.

Clocks and chance come in here and nowhere else: *clock* is the loop's, *wall* is Unix time,
*stopwatch* is fine enough to time ourselves with.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from proxy import errors
from proxy.cache.cache import Cache
from proxy.cache.caches import Caches, Place
from proxy.config import schema, tls
from proxy.config.providers import PROVIDERS
from proxy.config.url import is_loopback
from proxy.gateway.call import UNROUTED, Call
from proxy.gateway.destination import Destination, Named, Pool
from proxy.gateway.upstream import Upstream
from proxy.observe import logs
from proxy.observe.history import History
from proxy.observe.metrics import BreakerReading, Metrics
from proxy.policy.breaker import State, Transition
from proxy.wire.body import Memory
from proxy.wire.headers import via
from proxy.wire.message import Client, Exchange

if TYPE_CHECKING:  # who does not trace does not load it
    from proxy.observe.tracing import Tracing


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the process gives every runtime: time, chance, metrics, and a way to connect."""

    clock: Callable[[], float]
    wall: Callable[[], float]
    stopwatch: Callable[[], float]
    random: Random
    metrics: Metrics
    history: History
    connect: Callable[[schema.Upstream], Client]
    caches: Caches
    streams: set[Exchange] = field(default_factory=set)
    """The event streams that are open, to be told of our end."""
    tracing: "Tracing | None" = None
    moved: Callable[[Transition], None] = lambda _: None
    """Told of every move of a circuit, once it has been logged and counted."""


class Runtime:
    """Every upstream of one config, found by name.

    It is built beside a *previous* one, which serves on untouched, and keeps of it what the new
    config leaves as it was. Raises OSError where a certificate cannot be used.
    """

    def __init__(
        self, config: schema.Config, around: Surroundings, previous: "Runtime | None" = None
    ) -> None:
        self.config = config
        self.around = around
        # What can fail comes first: nobody shall see anything of a runtime that is not to be.
        clients = {
            name: _kept_client(settings, config, previous) or around.connect(settings)
            for name, settings in config.upstreams.items()
        }
        for place in self.caches():
            around.caches.at(place)
        limit = config.limits.replay_memory
        same = previous is not None and previous.config.limits.replay_memory == limit
        self.memory: Memory = previous.memory if previous and same else Memory(limit)
        self.via: bytes = previous.via if previous else via(f"{around.random.getrandbits(32):08x}")
        self.token = config.listen.token.get_secret_value() if config.listen.token else ""
        self.log = logs.get(upstream=UNROUTED)
        self.unrouted = around.metrics.upstream(UNROUTED)
        self.upstreams: dict[str, Upstream] = {
            name: Upstream(
                settings,
                clients[name],
                around.metrics.upstream(name),
                around.clock,
                around.random,
                history=around.history,
                moved=around.moved,
                previous=previous.upstreams.get(name) if previous else None,
            )
            for name, settings in config.upstreams.items()
        }
        self.destinations: dict[str, Destination] = {
            name: Named(upstream, self.upstreams) for name, upstream in self.upstreams.items()
        }
        for name, pool in config.pools.items():
            self.destinations[name] = Pool(
                name, pool, self.upstreams, around.metrics.upstream(name), around.random
            )
        if previous is None:
            self.take_over()

    def take_over(self) -> None:
        """Let the breakers follow this config; to be done with the swap, in one step."""
        for upstream in self.upstreams.values():
            upstream.take_over()

    def let_go(self, successor: "Runtime") -> None:
        """Give up what *successor* has not kept; calls in flight end with what they began with."""
        kept = {upstream.client for upstream in successor.upstreams.values()}
        for name, upstream in self.upstreams.items():
            if upstream.client not in kept:
                upstream.client.retire()
            heir = successor.upstreams.get(name)
            if upstream.places is not None and (heir is None or heir.places is not upstream.places):
                upstream.places.abolish()
        for name in self.destinations.keys() - successor.destinations.keys():
            self.around.metrics.remove(name)

    def cache(self, settings: schema.Cache) -> Cache:
        """Give where such answers are kept."""
        return self.around.caches.at(_place(settings))

    def caches(self) -> Iterator[Place]:
        """Give every place where this config keeps answers."""
        for settings in self.config.upstreams.values():
            for policy in (settings.policy, *(route.policy for route in settings.routes)):
                if policy.cache.ttl is not None:
                    yield _place(policy.cache)

    def breakers(self) -> Iterator[BreakerReading]:
        """Read every breaker, its time turned from the loop's clock into the wall's."""
        to_wall = self.around.wall() - self.around.clock()
        for upstream in self.upstreams.values():
            breaker = upstream.breaker
            until = breaker.open_until
            state: State = breaker.state
            yield BreakerReading(
                upstream.name,
                state,
                breaker.failure_ratio,
                until + to_wall if until else 0.0,
                enforcing=breaker.mode == "enforce",
            )

    def is_loopback(self, destination: Destination, only: str | None) -> bool:
        """Tell whether only this machine reaches the listener that a request came in by."""
        own = destination.own_listener
        return is_loopback(self.config.listen.host if only is None or own is None else own.host)

    def in_flight(self) -> int:
        return sum(named.metrics.in_flight.count for named in self.destinations.values())

    def request_id(self) -> str:
        return self.around.random.randbytes(16).hex()

    def find(self, name: str, call: Call) -> Destination:
        """Give what this name leads to, and note in *call* whom it concerns.

        Raises RouteNotFoundError.
        """
        destination = self.destinations.get(name)
        if destination is None:
            raise errors.RouteNotFoundError(
                "no upstream is served at this path; it begins with the name of one, such as"
                " /openai"
            )
        call.concerns(name, destination.metrics, destination.log)
        return destination

    async def close(self) -> None:
        for upstream in self.upstreams.values():
            await upstream.close()


def _place(settings: schema.Cache) -> Place:
    redis = None if settings.redis is None else settings.redis.get_secret_value()
    return Place(settings.size, redis, settings.redis_timeout)


def _kept_client(
    settings: schema.Upstream, config: schema.Config, previous: Runtime | None
) -> Client | None:
    """Give the connections there are already, where they would be made in the same way again."""
    upstream = previous.upstreams.get(settings.name) if previous else None
    if previous is None or upstream is None:
        return None
    now, before = _way(settings, config), _way(upstream.settings, previous.config)
    return upstream.client if now == before else None


def _way(settings: schema.Upstream, config: schema.Config) -> tuple[object, ...]:
    """Give all that decides how a connection to an upstream is made, and how long it is kept."""
    files = [config.files.get(name) for name in tls.files(settings.tls)]
    keepalive = PROVIDERS[settings.provider].keepalive
    limits = settings.limits
    places = limits.connections, limits.pending
    return settings.url, settings.tls, files, settings.egress, places, keepalive
