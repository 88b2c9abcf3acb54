"""A whole config, alive. A reload builds another one beside it and swaps it by one assignment.

Clocks and chance come in here and nowhere else: *clock* is the loop's, *wall* is Unix time,
*stopwatch* is fine enough to time ourselves with.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from proxy import errors
from proxy.config import schema
from proxy.config.url import is_loopback
from proxy.gateway.call import UNROUTED, Call
from proxy.gateway.upstream import Upstream
from proxy.observe import logs
from proxy.observe.metrics import BreakerReading, Metrics, UpstreamMetrics
from proxy.policy.breaker import State
from proxy.wire.body import Memory
from proxy.wire.headers import via
from proxy.wire.message import Client


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the process gives every runtime: time, chance, metrics, and a way to connect."""

    clock: Callable[[], float]
    wall: Callable[[], float]
    stopwatch: Callable[[], float]
    random: Random
    metrics: Metrics
    connect: Callable[[schema.Upstream], Client]


class Runtime:
    """Every upstream of one config, found by name."""

    def __init__(self, config: schema.Config, around: Surroundings) -> None:
        self.config = config
        self.around = around
        self.memory = Memory(config.limits.replay_memory)
        self.via = via(f"{around.random.getrandbits(32):08x}")
        self.token = config.listen.token.get_secret_value() if config.listen.token else ""
        self.log = logs.get(upstream=UNROUTED)
        self.unrouted = around.metrics.upstream(UNROUTED)
        self.upstreams = {
            name: Upstream(
                settings,
                around.connect(settings),
                around.metrics.upstream(name),
                around.clock,
                around.random,
            )
            for name, settings in config.upstreams.items()
        }
        self.pools: dict[str, UpstreamMetrics] = {
            name: around.metrics.upstream(name) for name in config.pools
        }

    def breakers(self) -> Iterator[BreakerReading]:
        """Read every breaker, its time turned from the loop's clock into the wall's."""
        to_wall = self.around.wall() - self.around.clock()
        for upstream in self.upstreams.values():
            breaker = upstream.breaker
            until = breaker.open_until
            state: State = breaker.state
            yield BreakerReading(
                upstream.name, state, breaker.failure_ratio, until + to_wall if until else 0.0
            )

    def is_loopback(self, upstream: Upstream, only: str | None) -> bool:
        """Tell whether only this machine reaches the listener that a request came in by."""
        own = upstream.settings.listen
        return is_loopback(self.config.listen.host if only is None or own is None else own.host)

    def in_flight(self) -> int:
        return sum(upstream.metrics.in_flight.count for upstream in self.upstreams.values())

    def request_id(self) -> str:
        return f"{self.around.random.getrandbits(128):032x}"

    def find(self, name: str, call: Call) -> Upstream:
        """Give the upstream of this name, and note in *call* whom it concerns.

        Raises ArmUnavailableError for a pool, whose members are not chosen among in this version,
        and RouteNotFoundError.
        """
        upstream = self.upstreams.get(name)
        if upstream is not None:
            call.concerns(name, upstream.metrics, upstream.log)
            return upstream
        pool = self.pools.get(name)
        if pool is not None:
            call.concerns(name, pool, self.log)
            raise errors.ArmUnavailableError
        raise errors.RouteNotFoundError("no upstream is served at this path")

    async def close(self) -> None:
        for upstream in self.upstreams.values():
            await upstream.client.close()
