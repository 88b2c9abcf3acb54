"""Who is asked when an upstream cannot answer, how soon, and what is changed for it.

Who is asked first of a pool is drawn anew for each call, and not told here.
"""

from dataclasses import dataclass

from proxy.config import schema
from proxy.explain.retrying import attempt_limit, waits_within


@dataclass(frozen=True, slots=True)
class Target:
    """Another upstream to be asked, and what is changed in a request that goes there."""

    upstream: str
    credential: str
    """Whose it gets: `ours`, `the caller's` or `none`."""
    set: tuple[str, ...]
    """The JSON fields that are replaced."""
    path: str | None
    when: tuple[str, ...]
    """Callers' faults for which it is asked too."""


@dataclass(frozen=True, slots=True)
class Handover:
    """How long the first of several is asked, before the next one is."""

    attempts: int
    """At most, where they fail at once."""
    waits: float
    """Seconds between these attempts, in all and at most."""
    asked: float
    """The same, where the upstream says how long to wait."""
    longest: float | None
    """Seconds until the next one is asked, however slowly the first one fails; None: `total` may
    be over before, and then nobody else is asked."""
    silent: float | None
    """Seconds until one that says nothing is given up for the next one; None: as above."""


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a pool."""

    upstream: str
    weight: float
    credential: str
    capabilities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pool:
    """What is told of a pool; *ramp* is in seconds."""

    name: str
    strategy: schema.Strategy
    ramp: float
    members: tuple[Member, ...]


def targets(upstream: schema.Upstream, config: schema.Config) -> tuple[Target, ...]:
    """Give the fallbacks of an upstream, in the order in which they are asked."""
    return tuple(
        Target(
            fallback.upstream,
            credential(config.upstreams[fallback.upstream], callers=fallback.forward_credentials),
            tuple(fallback.set),
            fallback.path,
            tuple(f"{status}:{code}" if code else str(status) for status, code in fallback.when),
        )
        for fallback in upstream.fallback
    )


def handover(policy: schema.Policy) -> Handover:
    """Say how long a call stays with the first, where there is another to be asked."""
    retry, total = policy.retry, policy.timeouts.total
    waits = waits_within(retry, retry.fallback_wait)
    attempts = 1 + len(waits)
    asked = retry.fallback_wait if waits else 0.0
    silent = attempt_limit(policy.timeouts)
    longest = None if silent is None else attempts * silent + asked
    return Handover(
        attempts,
        min(sum(waits), retry.fallback_wait),
        asked,
        _before(longest, total),
        _before(silent, total),
    )


def pool(name: str, settings: schema.Pool, config: schema.Config) -> Pool:
    """Give what is told of a pool."""
    members = (config.upstreams[member] for member in settings.members)
    return Pool(
        name,
        settings.strategy,
        settings.ramp,
        tuple(
            Member(
                member.name,
                settings.weights.get(member.name, 1.0),
                credential(member, callers=settings.forward_credentials),
                member.capabilities,
            )
            for member in members
        ),
    )


def credential(upstream: schema.Upstream, *, callers: bool) -> str:
    """Say whose credential a request has that goes there in another's place."""
    if upstream.auth is not None:
        return "ours"
    return "the caller's" if callers else "none"


def _before(seconds: float | None, total: float | None) -> float | None:
    return None if seconds is None or (total is not None and seconds >= total) else seconds
