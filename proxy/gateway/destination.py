"""What a name in a path leads to: an upstream and its fallbacks, or the members of a pool.

Here is said who may be asked, and in which order; whether the next one is asked after a failure is
said in `policy/fallback.py`, and done in `turns.py`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from proxy import errors
from proxy.config import schema
from proxy.config.fields import When
from proxy.gateway.call import Call
from proxy.gateway.upstream import Upstream
from proxy.observe import logs
from proxy.observe.counting import UpstreamMetrics
from proxy.policy import balance


@dataclass(frozen=True, slots=True)
class Target:
    """An upstream, and what is changed in a request that goes there."""

    upstream: Upstream
    callers_key: bool = True
    """The caller's own credential goes there too."""
    when: tuple[When, ...] = ()
    path: str | None = None
    set: dict[str, Any] = field(default_factory=dict)

    def unavailable_for(self, call: Call) -> float:
        """Give the seconds until it can be asked for *call*; 0: now."""
        key = self.upstream.key(call, callers_key=self.callers_key)
        return self.upstream.unavailable_for(key)


class Named:
    """An upstream that is asked for by its name; behind it those who stand in for it."""

    interchangeable = False

    def __init__(self, upstream: Upstream, upstreams: Mapping[str, Upstream]) -> None:
        self.name = upstream.name
        self.metrics = upstream.metrics
        self.log = upstream.log
        self.own_listener = upstream.settings.listen
        self._targets = [
            Target(upstream),
            *(
                Target(
                    upstreams[settings.upstream],
                    settings.forward_credentials,
                    settings.when,
                    settings.path,
                    settings.set,
                )
                for settings in upstream.settings.fallback
            ),
        ]
        self.lends_key = _any_lends_key(self._targets)
        self.metrics.may_move_to(target.upstream.name for target in self._targets[1:])
        self.scope = upstream.scope
        """What tells its answers from others'; those of a fallback are not kept."""

    def speaks_by(self, upstream: Upstream) -> bool:
        """Tell whether what *upstream* answers is this one's own answer."""
        return upstream.name == self.name

    def targets(self, needed: Sequence[str], call: Call, path: str) -> Sequence[Target]:
        """Give who is asked, in order; at least one. Raises ArmUnavailableError."""
        targets = _that_may(self._targets, call, path)
        if not needed:
            return targets
        able = [target for target in targets if target.upstream.can(needed)]
        if not able:
            raise errors.ArmUnavailableError(needed)
        return able


class Pool:
    """Several upstreams under one name, each as good as the others."""

    interchangeable = True

    def __init__(
        self,
        name: str,
        settings: schema.Pool,
        upstreams: Mapping[str, Upstream],
        metrics: UpstreamMetrics,
        random: Random,
    ) -> None:
        self.name = name
        self.metrics = metrics
        self.log = logs.get(upstream=name)
        self.own_listener = None
        self._settings = settings
        self._random = random
        self._members = [
            Target(upstreams[member], settings.forward_credentials) for member in settings.members
        ]
        self.lends_key = _any_lends_key(self._members)
        self.metrics.may_move_to(settings.members)
        self.scope = b"".join(target.upstream.scope for target in self._members)

    def speaks_by(self, upstream: Upstream) -> bool:  # noqa: ARG002 -- they are all members
        """Tell whether what *upstream* answers is this one's own answer."""
        return True

    def targets(self, needed: Sequence[str], call: Call, path: str) -> Sequence[Target]:
        """Give who is asked, in order; at least one. Raises ArmUnavailableError.

        Where none of them can be asked now, it gives them all: what is kept may still be told.
        """
        able = [target for target in self._members if target.upstream.can(needed)]
        if not able:
            raise errors.ArmUnavailableError(needed)
        ready = [target for target in able if not target.unavailable_for(call)]
        if len(ready) < 2:
            return ready or able
        settings = self._settings
        members = [
            balance.Member(
                target,
                weight=settings.weights.get(target.upstream.name, 1.0),
                in_flight=target.upstream.load.count,
                recovered=target.upstream.recovered_for,
            )
            for target in ready
        ]
        ordered = balance.order(members, settings.strategy, settings.ramp, self._random)
        return _that_may(ordered, call, path)


Destination = Named | Pool


def _that_may(targets: Sequence[Target], call: Call, path: str) -> Sequence[Target]:
    """Give those who may be asked: the first alone, where what it is asked must not move."""
    if len(targets) == 1 or targets[0].upstream.may_move(call.request.method, path):
        return targets
    return targets[:1]


def _any_lends_key(targets: Iterable[Target]) -> bool:
    """Tell whether our own key may go out with a request."""
    return any(target.upstream.origin.our_credential for target in targets)
