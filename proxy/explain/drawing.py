"""A report as text, for a terminal 80 columns wide and for a pull request.

Nothing here decides anything.
"""

import textwrap
from collections.abc import Iterable, Iterator

from proxy.config import forms, units
from proxy.config.origin import Origin
from proxy.explain.guarding import Kept, Limits, Rate, Screened
from proxy.explain.outage import MOST, PER_SECOND
from proxy.explain.report import Report, Route, Upstream, Warned
from proxy.explain.retrying import Attempt, Retrying, Span
from proxy.explain.succession import Handover, Pool, Target
from proxy.explain.values import Value

WIDTH = 80

_KEY, _VALUE = 25, 33
"""Columns of a key and of its value; the origin has the rest."""

_AXIS = 28
_SHOWN = 8
"""Attempts that are drawn one by one; of more the last one only."""

_POLICIES = ("timeouts", "retry", "stream", "breaker", "limits", "rewrite_client_errors")
_REPEATED = {
    "always": "repeated like any other",
    "auto": "repeated on read paths, with an Idempotency-Key, or if nothing was sent",
    "never": "never repeated, but if nothing was sent",
}


def draw(report: Report) -> str:
    """Give the report as lines of text."""
    lines: list[str] = []
    for upstream in report.upstreams:
        lines += [*_upstream(upstream), ""]
    for pool in report.pools:
        lines += [*_pool(pool), ""]
    lines += _warnings(report)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _upstream(upstream: Upstream) -> Iterator[str]:
    url = next(value.written for value in upstream.values if value.key == "url")
    yield from _folded(f"{upstream.name} ({upstream.kind}) {url}", "")
    yield "─" * WIDTH
    yield from _values([value for value in upstream.values if _is_told(value)], upstream.kind)
    yield ""
    yield from _call(upstream.retrying, upstream.values)
    share, reserve = f"{1 + upstream.retry_share:g}", f"{upstream.retry_reserve:g}"
    yield from _fact("", f"over many calls {share} for each, and {reserve} a second (budget)")
    yield ""
    before = [*_limits(upstream.limits), *_kept(upstream.cache), *_screened(upstream.guard)]
    yield from ("  Before it is asked", *before, "")
    if upstream.handover is not None:
        yield from _succession(upstream)
        yield from _handover(upstream.handover, upstream.values)
        yield ""
    yield from _circuit(upstream)
    for number, route in enumerate(upstream.routes, 1):
        yield ""
        yield from _route(number, route, upstream.kind)


def _route(number: int, route: Route, kind: str) -> Iterator[str]:
    methods = "" if route.methods is None else f"{', '.join(route.methods)} "
    yield from _folded(f"route {number}: {methods}{route.path or 'every path'}", "  ")
    own = [value for value in route.values if value.origin.layer == "route"]
    yield from _values(own, kind)
    yield "    (everything else as above)"
    yield ""
    yield from _call(route.retrying, route.values)
    yield from _kept(route.cache)
    yield from _screened(route.guard)
    if route.handover is not None:
        yield from _handover(route.handover, route.values)


def _pool(pool: Pool) -> Iterator[str]:
    ramp = f", ramp {units.written(pool.ramp)}" if pool.ramp else ""
    yield from _folded(f"pool {pool.name} ({pool.strategy}{ramp})", "")
    yield "─" * WIDTH
    for member in pool.members:
        weight = [] if pool.strategy == "priority" else [f"weight {member.weight:g}"]
        can = ", ".join(member.capabilities)
        said = [*weight, *([can] if can else []), _credential(member.credential)]
        yield from _fact(member.upstream, "; ".join(said))


def _is_told(value: Value) -> bool:
    return value.key.split(".")[0] in _POLICIES or value.origin.layer != "built in"


def _values(values: Iterable[Value], kind: str) -> Iterator[str]:
    group = ""
    for value in values:
        head, _, key = value.key.partition(".")
        if key and head != group:
            yield f"  {head}"
        group = head if key else ""
        name = f"    {key}" if key else f"  {head}"
        origin = _origin(value.origin, kind if value.by_kind else None)
        said = textwrap.wrap(value.written, _VALUE - 1) or [""]
        yield f"{name:<{_KEY}} {said[0]:<{_VALUE}}{origin}"
        for more in said[1:]:
            yield f"{'':<{_KEY}} {more}"


def _origin(origin: Origin, kind: str | None) -> str:
    if origin.line is not None:
        return f"{origin.layer}, line {origin.line}"
    return origin.layer if kind is None else f"{origin.layer} for {kind}"


def _call(retrying: Retrying, values: Iterable[Value]) -> Iterator[str]:
    said = {value.key: value.written for value in values}
    yield "  A call whose attempts fail at once"
    end = retrying.attempts[-1].begins.most
    if end:
        yield f"{'':<{_KEY}} {f'0s {units.written(end):─>{_AXIS - 3}}':<{_AXIS}} wait"
    shown = retrying.attempts[:_SHOWN]
    for attempt in shown:
        yield _attempt(attempt, end)
    if len(retrying.attempts) > _SHOWN:
        yield f"      … {len(retrying.attempts) - _SHOWN - 1} more"
        yield _attempt(retrying.attempts[-1], end)
    yield ""
    yield from _fact("longest wait", _longest(retrying, said))
    yield from _fact(
        "Retry-After",
        f"takes the place of a shorter wait; over"
        f" {said['retry.max_retry_after']} it is left to the caller",
    )
    yield from _fact("POST, PATCH", _REPEATED[said["retry.unsafe_methods"]])
    most = f"at most {len(retrying.attempts)} for one call"
    if said["hedge.delay"] != "none":
        beside = int(said["hedge.max"])
        yield from _fact(
            "hedge",
            f"what only reads: {said['hedge.delay']} of silence, and another attempt runs"
            f" beside it, at most {beside}; the first good head wins",
        )
        most += f", {len(retrying.attempts) * (1 + beside)} where all are hedged"
    yield from _fact("requests upstream", most)


def _attempt(attempt: Attempt, end: float) -> str:
    first, last = (round(at / end * (_AXIS - 1)) if end else 0 for at in _both(attempt.begins))
    mark = "●" if first == last else f"├{'─' * (last - first - 1)}┤"
    drawn = " " * first + mark
    wait = f" {_span(attempt.wait)}" if attempt.number > 1 else ""
    return f"{f'    attempt {attempt.number}':<{_KEY}} {drawn:<{_AXIS}}{wait}"


def _longest(retrying: Retrying, said: dict[str, str]) -> str:
    if retrying.longest_wait is None:
        return "without limit: total is none, and an attempt has no limit either"
    wait = units.written(retrying.longest_wait)
    why = "all attempts and waits" if said["timeouts.total"] == "none" else "timeouts.total"
    event = retrying.longest_wait_for_event
    if event == retrying.longest_wait:
        return f"{wait} ({why})"
    first = "without limit" if event is None else units.written(event)
    return f"{wait} ({why}); for the first event of a stream {first}"


def _limits(limits: Limits) -> Iterator[str]:
    if limits.rate is not None:
        yield from _fact("rate", _rate(limits.rate))
    if limits.concurrency is not None:
        at_a_time = f"{limits.concurrency} attempts at a time"
        yield from _fact("concurrency", f"{at_a_time}: as many a second, where each takes a second")
        line = limits.line
        told = "none: who finds no place is turned away at once"
        if line is not None:
            told = (
                f"{line.size} more wait, {units.written(line.timeout)} at most; the last of a full"
                f" line is served where an attempt takes {units.written(line.served)} or less"
            )
        yield from _fact("line", told)
    told = "not heeded by other calls (throttle: false)"
    if limits.throttled is not None:
        told = (
            "calls with that credential leave it alone, as long as it says and"
            f" {units.written(limits.throttled)} at most"
        )
    yield from _fact("after a 429", told)


def _rate(rate: Rate) -> str:
    whose = "of each caller" if rate.by == "caller" else "of all callers together"
    return (
        f"at most {rate.most} calls {whose} in any {units.written(rate.window)}: {rate.at_once}"
        f" at once after a quiet time, then one each {units.written(rate.every)}"
    )


def _kept(cache: Kept | None) -> Iterator[str]:
    if cache is None:
        return
    stale = f", and {units.written(cache.stale)} more while it fails" if cache.stale else ""
    whose = "the same for everybody" if cache.shared else "apart for each credential"
    redis = ""
    if cache.redis_timeout is not None:
        redis = f", and in a Redis that is waited for {units.written(cache.redis_timeout)} at most"
    yield from _fact("cache", "; ".join(cache.requests))
    fresh = f"for {units.written(cache.ttl)}, or less where the upstream says so"
    yield from _fact("", f"{fresh}{stale}; {whose}")
    yield from _fact("", f"in {forms.SIZE.say(cache.size)} of memory{redis}")


_FOUND = {
    "report": "are counted and go out",
    "redact": "go out as marks",
    "block": "end the call (PII_DETECTED)",
}


def _screened(guard: Screened | None) -> Iterator[str]:
    if guard is None:
        return
    where = ", ".join(guard.fields)
    if guard.patterns:
        told = f"{', '.join(guard.patterns)} in {where} {_FOUND[guard.pii]}"
        yield from _fact("guard", told)
    if guard.max_prompt_chars is not None:
        yield from _fact("prompt", f"at most {guard.max_prompt_chars:,} characters in {where}")
    beyond = "refused" if guard.oversize == "refuse" else "passed unseen"
    limit = forms.SIZE.say(guard.inspect_limit)
    yield from _fact("bodies", f"must be JSON; above {limit}, or compressed, they are {beyond}")


def _succession(upstream: Upstream) -> Iterator[str]:
    yield "  When it cannot answer, others are asked in its place"
    for number, target in enumerate(upstream.targets, 1):
        yield from _fact(f"{number}. {target.upstream}", "; ".join(_changes(target)))
    if not upstream.writes_move:
        yield from _fact("", "for what only reads (fallback_writes: false)")
    for pool in upstream.pools:
        yield from _fact(f"pool {pool}", "its next member")
    yield from _fact(
        "moves on",
        "when its retries are spent or would wait beyond fallback_wait, when its circuit is open,"
        " when it wants to be left alone for longer, and at once after a timeout",
    )


def _changes(target: Target) -> Iterator[str]:
    yield _credential(target.credential)
    if target.set:
        yield f"replaced in the body: {', '.join(target.set)}"
    if target.path is not None:
        yield f"at {target.path}"
    if target.when:
        yield f"also for {', '.join(target.when)}"


def _credential(whose: str) -> str:
    return "no credential" if whose == "none" else f"{whose.replace('ours', 'our')} credential"


def _handover(handover: Handover, values: Iterable[Value]) -> Iterator[str]:
    total = next(value.written for value in values if value.key == "timeouts.total")
    attempts = f"{handover.attempts} attempt{'s' if handover.attempts != 1 else ''}"
    told = f"after {attempts} and {units.written(handover.waits)} of waits at most"
    if handover.asked > handover.waits:
        told += f", {units.written(handover.asked)} where it says how long to wait"
    yield from _fact("the next is asked", told)
    yield from _fact("if it fails late", _until(handover.longest, "may end the call first", total))
    yield from _fact("if it is silent", _until(handover.silent, "ends the call first", total))


def _until(seconds: float | None, otherwise: str, total: str) -> str:
    if seconds is not None:
        return f"after {units.written(seconds)} at most"
    if total == "none":
        return "without limit: no timeout gives it up"
    return f"timeouts.total ({total}) {otherwise}, and nobody else is asked"


def _circuit(upstream: Upstream) -> Iterator[str]:
    said = {value.key: value.written for value in upstream.values}
    yield f"  Its circuit ({upstream.breaker_mode})"
    if upstream.breaker_mode == "disabled":
        return
    found = upstream.outage
    opens = f"not within {MOST:,} attempts"
    if found.attempts is not None:
        opens = f"opens at attempt {found.attempts}, in call {found.calls} (one call at a time)"
    yield from _fact("every attempt fails", opens)
    for brownout in upstream.brownouts:
        at = brownout.attempts
        told = f"not within {MOST:,} attempts" if at is None else f"opens at about attempt {at:,}"
        yield from _fact(f"{brownout.share:.0%} of them fail", told)
    yield from _fact("", f"(medians of seeded runs of the breaker, {PER_SECOND} attempts a second)")
    stays = said["breaker.timeout"]
    if said["breaker.max_timeout"] != stays:
        stays += f", doubled after each failed probe up to {said['breaker.max_timeout']}"
    yield from _fact("stays open", stays)
    probes = said["breaker.success_threshold"]
    yield from _fact("closes after", f"{probes} good probe{'s' if probes != '1' else ''}")
    if upstream.breaker_mode == "observe":
        yield from _fact("", "(observe: all of this is counted and logged, nothing is rejected)")


def _warnings(report: Report) -> Iterator[str]:
    if not report.warnings:
        return
    yield "Worth a second look"
    for warned in report.warnings:
        yield from _folded(f"{_place(report.file, warned)}: {warned.message}", "  ", "    ")


def _place(file: str, warned: Warned) -> str:
    line = "" if warned.line is None else f":{warned.line}"
    return f"{file}{line}: {warned.path}"


def _fact(name: str, text: str) -> Iterator[str]:
    yield from _folded(text, f"{f'    {name}':<{_KEY}} ", " " * (_KEY + 1))


def _folded(text: str, first: str, then: str = "  ") -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=then,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _span(span: Span) -> str:
    least, most = (units.written(at) for at in _both(span))
    return least if least == most else f"{least} to {most}"


def _both(span: Span) -> tuple[float, float]:
    return span.least, span.most
