"""Everything that is told of a config file, as data; `dataclasses.asdict` of it is the JSON."""

from dataclasses import dataclass

from proxy.config import reference, schema
from proxy.config.document import Steps, dotted
from proxy.config.origin import Origins
from proxy.config.reference import Block
from proxy.explain.caution import Caution, cautions, target_cautions
from proxy.explain.guarding import Kept, Limits, Screened, kept, limits, screened
from proxy.explain.outage import Brownout, Outage, brownouts, outage
from proxy.explain.retrying import Retrying, retrying
from proxy.explain.succession import Handover, Pool, Target, handover, pool, targets
from proxy.explain.values import Value, values


@dataclass(frozen=True, slots=True)
class Warned:
    """Something to think about; *line* is None where a built-in value is meant."""

    line: int | None
    path: str
    message: str


@dataclass(frozen=True, slots=True)
class Route:
    """A part of an upstream with a policy of its own."""

    path: str | None
    methods: tuple[str, ...] | None
    values: tuple[Value, ...]
    retrying: Retrying
    handover: Handover | None
    cache: Kept | None
    """None: there is none, or that of the upstream."""
    guard: Screened | None
    """The same holds here."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """What is told of one upstream."""

    name: str
    kind: str
    values: tuple[Value, ...]
    retrying: Retrying
    targets: tuple[Target, ...]
    """Who is asked in its place, in this order."""
    writes_move: bool
    """They are asked for what writes, too."""
    pools: tuple[str, ...]
    """Where another member is asked in its place."""
    handover: Handover | None
    """Until somebody else is asked; None where there is nobody."""
    retry_share: float
    """Retries per call that its budget allows, beyond a few a second."""
    retry_reserve: float
    outage: Outage
    brownouts: tuple[Brownout, ...]
    breaker_mode: str
    limits: Limits
    cache: Kept | None
    guard: Screened | None
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What is told of a file."""

    file: str
    upstreams: tuple[Upstream, ...]
    pools: tuple[Pool, ...]
    warnings: tuple[Warned, ...]


def explain(file: str, config: schema.Config, origins: Origins, only: str | None = None) -> Report:
    """Explain a config, or *only* one upstream of it."""
    told = [one for name, one in config.upstreams.items() if only in {None, name}]
    pools = config.pools if only is None else {}
    warnings = [
        _warned(caution, origins)
        for one in told
        for caution in (*cautions(one), *target_cautions(one, config))
    ]
    whose = "" if only is None else f"upstreams.{only}."
    told_already = (problem for problem in config.warnings if problem.path.startswith(whose))
    warnings += [Warned(at.line, at.path, at.message) for at in told_already]
    return Report(
        file=file,
        upstreams=tuple(_upstream(one, config, origins) for one in told),
        pools=tuple(pool(name, settings, config) for name, settings in pools.items()),
        warnings=tuple(warnings),
    )


def _upstream(upstream: schema.Upstream, config: schema.Config, origins: Origins) -> Upstream:
    block = reference.upstream()
    at: Steps = ("upstreams", upstream.name)
    routes = next(reference.inside(key.shape) for key in block.keys if key.name == "routes")
    assert isinstance(routes, Block)
    pools = tuple(
        name
        for name, settings in config.pools.items()
        if upstream.name in settings.members and len(settings.members) > 1
    )
    succeeded = bool(upstream.fallback or pools)
    return Upstream(
        name=upstream.name,
        kind=upstream.kind,
        values=tuple(values(block, upstream, at, origins)),
        retrying=retrying(upstream.policy),
        targets=targets(upstream, config),
        writes_move=upstream.kind != "vectordb" or upstream.fallback_writes,
        pools=pools,
        handover=handover(upstream.policy) if succeeded else None,
        retry_share=upstream.budget.ratio,
        retry_reserve=upstream.budget.min_per_second,
        outage=outage(upstream),
        brownouts=brownouts(upstream),
        breaker_mode=upstream.breaker.mode,
        limits=limits(upstream),
        cache=kept(upstream.policy.cache),
        guard=screened(upstream.policy.guard),
        routes=tuple(
            _route(route, upstream, routes, (*at, "routes", number), origins, succeeded=succeeded)
            for number, route in enumerate(upstream.routes)
        ),
    )


def _route(
    route: schema.Route,
    upstream: schema.Upstream,
    block: Block,
    at: Steps,
    origins: Origins,
    *,
    succeeded: bool,
) -> Route:
    methods, own, whole = route.match.methods, route.policy, upstream.policy
    return Route(
        path=route.match.path,
        methods=None if methods is None else tuple(sorted(methods)),
        values=tuple(values(block, route, at, origins)),
        retrying=retrying(route.policy),
        handover=handover(route.policy) if succeeded else None,
        cache=None if own.cache == whole.cache else kept(own.cache),
        guard=None if own.guard == whole.guard else screened(own.guard),
    )


def _warned(caution: Caution, origins: Origins) -> Warned:
    steps, message = caution
    # A policy is the settings' word, not the file's.
    path = dotted(tuple(step for step in steps if step != "policy"))
    return Warned(origins.of(steps).line, path, message)
