"""What can be run with, and works otherwise than somebody might think.

Each caution is about one upstream's own settings, or one route's, and has the way to the key that
one would change. What contradicts itself is an error already, and not told here.
"""

from collections.abc import Iterator

from proxy.config import forms, schema
from proxy.config.document import Steps
from proxy.config.units import written
from proxy.explain.retrying import Retrying, retrying
from proxy.explain.succession import credential

Caution = tuple[Steps, str]

SDKS = 600.0
"""The SDKs of OpenAI and Anthropic give up by themselves after these seconds."""

FASTEST = 20_000
"""Calls a second that one process of ours does not reach."""


def cautions(upstream: schema.Upstream) -> Iterator[Caution]:
    """Give what one should know about an upstream; of routes what they do not share with it."""
    at: Steps = ("upstreams", upstream.name)
    own = list(_policy(upstream.kind, upstream.policy))
    yield from (((*at, *steps), message) for steps, message in own)
    for number, route in enumerate(upstream.routes):
        for caution in _policy(upstream.kind, route.policy):
            if caution not in own:
                yield (*at, "routes", number, *caution[0]), caution[1]
    for steps, message in _guarding(upstream):
        yield (*at, *steps), message
    for key, message in _breaker(upstream):
        yield (*at, "breaker", key), message


def target_cautions(upstream: schema.Upstream, config: schema.Config) -> Iterator[Caution]:
    """Give the fallbacks of an upstream that are likely to want a key, and get none."""
    if upstream.auth is None:
        return
    for number, fallback in enumerate(upstream.fallback):
        target = config.upstreams.get(fallback.upstream)
        if target is None:
            # A variable names it, and is not to be had.
            continue
        # Plain HTTP is a server of one's own, which as often as not wants no key.
        if credential(target, callers=fallback.forward_credentials) == "none" and (
            target.url.scheme == "https" and not target.headers.set
        ):
            message = "gets no credential: it has no auth of its own, and the caller's stays here"
            yield ("upstreams", upstream.name, "fallback", number), message


def _policy(kind: str, policy: schema.Policy) -> Iterator[Caution]:
    found = retrying(policy)
    yield from _attempts(policy, found)
    yield from _hedge(policy)
    total = policy.timeouts.total
    if kind == "llm" and (total is None or total >= SDKS):
        message = "is not below 10m, after which the SDKs of OpenAI and Anthropic give up: their"
        yield ("policy", "timeouts", "total"), f"{message} users get a timeout, not our answer"
    if kind == "http" and policy.retry.unsafe_methods == "always" and len(found.attempts) > 1:
        message = "repeats every POST and PATCH: what was asked once may be done twice (auto"
        yield ("policy", "retry", "unsafe_methods"), f"{message} repeats only what is safe)"


def _attempts(policy: schema.Policy, found: Retrying) -> Iterator[Caution]:
    """Find what does not fit into `total`."""
    timeouts, retry = policy.timeouts, policy.retry
    total, connect, first_byte = timeouts.total, timeouts.connect, timeouts.first_byte
    if total is None:
        return
    if connect is not None and connect >= total:
        message = f"({written(total)}) is not longer than one attempt: connect alone may take"
        yield ("policy", "timeouts", "total"), f"{message} {written(connect)}"
    if first_byte is not None and first_byte >= total:
        message = f"({written(first_byte)}) never ends a call: total ({written(total)}) is over"
        yield ("policy", "timeouts", "first_byte"), f"{message} by then"
    elif found.longest_attempt is not None and found.longest_attempt > total:
        message = f"({written(total)}) is shorter than one attempt: connect and first_byte may take"
        yield ("policy", "timeouts", "total"), f"{message} {written(found.longest_attempt)}"
    elif first_byte is not None and "timeout" in retry.retry_on and len(found.attempts) > 1:
        soonest = first_byte + found.attempts[1].wait.least
        if soonest >= total:
            message = "has timeout, after which a retry can never fit: first_byte and the wait take"
            where = ("policy", "retry", "retry_on")
            yield where, f"{message} {written(soonest)} of total ({written(total)})"
    if found.too_late:
        first = len(found.attempts)
        message = f"({retry.max_retries}) allows retries that can never fit: of total"
        where = ("policy", "retry", "max_retries")
        yield where, f"{message} ({written(total)}) the waits before retry {first} leave nothing"


def _hedge(policy: schema.Policy) -> Iterator[Caution]:
    """Find what is over before a second attempt begins."""
    delay = policy.hedge.delay
    for name in ("first_byte", "total"):
        limit = getattr(policy.timeouts, name)
        if delay is not None and limit is not None and delay >= limit:
            message = f"({written(delay)}) never comes: {name} ({written(limit)}) is over by then"
            yield ("policy", "hedge", "delay"), message
            return


def _guarding(upstream: schema.Upstream) -> Iterator[Caution]:
    """Find a line whose end nobody reaches, and bodies that the guard never gets to see."""
    queue, total = upstream.limits.queue, upstream.policy.timeouts.total
    if queue is not None and total is not None and queue.timeout >= total:
        message = f"({written(queue.timeout)}) never ends a wait: total ({written(total)}) is over"
        yield ("limits", "queue", "timeout"), f"{message} by then"
    room, said = upstream.replay_limit, forms.SIZE.say
    for steps, policy in _policies(upstream):
        guard = policy.guard
        if guard.wanted and guard.inspect_limit > room:
            message = f"({said(guard.inspect_limit)}) is above replay_limit ({said(room)}): what is"
            where = (*steps, "policy", "guard", "inspect_limit")
            yield where, f"{message} between cannot be looked into"


def _policies(upstream: schema.Upstream) -> Iterator[tuple[Steps, schema.Policy]]:
    """Give each policy of an upstream, and the way there; of routes those with another guard."""
    yield (), upstream.policy
    for number, route in enumerate(upstream.routes):
        if route.policy.guard != upstream.policy.guard:
            yield ("routes", number), route.policy


def _breaker(upstream: schema.Upstream) -> Iterator[tuple[str, str]]:
    breaker = upstream.breaker
    if breaker.mode == "disabled":
        return
    if not breaker.failure_on:
        yield "failure_on", "is empty: the circuit never opens"
        return
    rate = breaker.min_requests / breaker.window
    only = "so failure_rate never opens the circuit"
    if rate > FASTEST:
        yield "min_requests", f"can never be reached: it takes {rate:,.0f} calls a second, {only}"
        return
    longest = upstream.policy.timeouts.first_byte or upstream.policy.timeouts.total
    if longest is None:
        return
    # Each connection is held until its call has failed.
    reached = upstream.limits.connections * max(1, int(breaker.window / longest))
    if reached < breaker.min_requests:
        message = f"can never be reached while the upstream hangs: at most {reached} calls end"
        yield "min_requests", f"{message} within window, {only} then"
