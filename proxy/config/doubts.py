"""Policies that are good by themselves, and together do less than somebody might think.

Two doubts: a block that says how, and not the one key that switches it on; and personal data that
one upstream's guard keeps back, and another, asked in its place, would be sent. Each is a way to a
key in the settings, and what is to be said there. Nothing here knows files, or how calls are made.
"""

from collections.abc import Iterator

from proxy.config.guarding import Guard, RouteMatch
from proxy.config.schema import Config, Policy, Rules, Upstream

Doubt = tuple[tuple[str | int, ...], str]

_SWITCHES = {
    "cache": ({"ttl"}, "ttl", "is not given, so no answer is kept (ttl: none, if that is meant)"),
    "guard": (
        {"pii", "max_prompt_chars"},
        "pii",
        "is not given, nor max_prompt_chars, so nothing is guarded (pii: none, if that is meant)",
    ),
    "hedge": (
        {"delay"},
        "delay",
        "is not given, so no second attempt is made (delay: none, if that is meant)",
    ),
}
"""Of each block the keys that switch it on, where to tell of it, and what."""

_EVERYTHING = RouteMatch()


def idle(config: Config, defaults: Rules) -> Iterator[Doubt]:
    """Give the blocks that are written and do nothing, neither there nor in a nearer layer."""
    for where, policy, below, above in _layers(config, defaults):
        for name, (keys, key, message) in _SWITCHES.items():
            switched = any(keys & getattr(it, name).model_fields_set for it in (policy, *above))
            if not switched and _said(name, policy, below):
                yield (*where, "policy", name, key), message


def leaks(config: Config) -> Iterator[Doubt]:
    """Give the upstreams that are asked in a guarded one's place, and sent what it keeps back."""
    for name, upstream in config.upstreams.items():
        for number, fallback in enumerate(upstream.fallback):
            target = config.upstreams.get(fallback.upstream)
            reason = None if target is None else _leak(upstream, target, fallback.path)
            if reason is not None:
                where = ("upstreams", name, "fallback", number, "upstream")
                yield where, _goes_out(name, fallback.upstream, reason)
    for name, pool in config.pools.items():
        members = [config.upstreams[one] for one in pool.members if one in config.upstreams]
        for number, member in enumerate(members):
            found = ((one.name, _leak(one, member)) for one in members if one != member)
            guarded, reason = next((it for it in found if it[1]), ("", None))
            if reason is not None:
                yield (
                    ("pools", name, "members", number),
                    _goes_out(guarded, member.name, reason),
                )


def _layers(
    config: Config, defaults: Rules
) -> Iterator[tuple[tuple[str | int, ...], Policy, Policy, list[Policy]]]:
    """Give each layer's policy, the way there, the policy it is laid over, and those over it."""
    upstreams = config.upstreams.values()
    routes = {one.name: [route.policy for route in one.routes] for one in upstreams}
    above = [policy for one in upstreams for policy in (one.policy, *routes[one.name])]
    yield ("defaults",), defaults.policy, Policy(), above
    for one in upstreams:
        at = ("upstreams", one.name)
        yield at, one.policy, defaults.policy, routes[one.name]
        for number, policy in enumerate(routes[one.name]):
            yield (*at, "routes", number), policy, one.policy, []


def _said(name: str, policy: Policy, below: Policy) -> bool:
    """Tell whether this layer itself writes the block."""
    if name not in policy.model_fields_set:
        return False
    here, there = getattr(policy, name), getattr(below, name)
    new = here.model_fields_set - there.model_fields_set
    return bool(new) or here != there or name not in below.model_fields_set


def _leak(guarded: Upstream, other: Upstream, path: str | None = None) -> str | None:
    """Say why *other* is sent what *guarded* keeps back; *path* is what is asked of it instead."""
    matches = [_EVERYTHING, *(route.match for route in (*guarded.routes, *other.routes))]
    for match in matches:
        there = match if path is None else RouteMatch(path=path, methods=match.methods)
        reason = _weaker(_guard(guarded, match), _guard(other, there))
        if reason is not None:
            return reason
    return None


def _guard(upstream: Upstream, asked: RouteMatch) -> Guard:
    """Give the guard that all requests of *asked* meet."""
    for route in upstream.routes:
        if _covers(route.match, asked):
            return route.policy.guard
    return upstream.policy.guard


def _covers(match: RouteMatch, asked: RouteMatch) -> bool:
    methods, path = match.methods, match.path
    if methods is not None and (asked.methods is None or not asked.methods <= methods):
        return False
    return not path or asked.path == path or (asked.path or "").startswith(f"{path}/")


def _weaker(guard: Guard, other: Guard) -> str | None:
    """Say what *other* lets out of what *guard* keeps back; what is said to be none is meant."""
    if guard.pii not in {"redact", "block"} or (
        other.pii == "none" and "pii" in other.model_fields_set
    ):
        return None
    if other.pii in {"none", "report"}:
        return f"has pii: {other.pii}"
    regions = ["phone_regions"] if "phone" in guard.patterns else []
    for name in ("patterns", "fields", *regions):
        if missing := sorted(set(getattr(guard, name)) - set(getattr(other, name))):
            return f"lacks {', '.join(missing)} in {name}"
    if guard.oversize == "refuse" and other.oversize == "pass":
        return "passes what is too large to look into"
    return None


def _goes_out(guarded: str, other: str, reason: str) -> str:
    return (
        f"PII that {guarded} keeps back goes out through {other}, whose guard {reason}: give it the"
        " same guard, or say pii: none there if that is meant"
    )
