"""Everything that is told of a config file, as data; `dataclasses.asdict` of it is the JSON."""

from dataclasses import dataclass

from proxy.config import reference, schema
from proxy.config.document import Steps, dotted
from proxy.config.origin import Origins
from proxy.config.reference import Block
from proxy.explain.caution import Caution, cautions, pool_cautions
from proxy.explain.outage import Brownout, Outage, brownouts, outage
from proxy.explain.retrying import Retrying, retrying
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


@dataclass(frozen=True, slots=True)
class Upstream:
    """What is told of one upstream."""

    name: str
    kind: str
    values: tuple[Value, ...]
    retrying: Retrying
    retry_share: float
    """Retries per call that its budget allows, beyond a few a second."""
    retry_reserve: float
    outage: Outage
    brownouts: tuple[Brownout, ...]
    breaker_mode: str
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What is told of a file."""

    file: str
    upstreams: tuple[Upstream, ...]
    pools: dict[str, tuple[str, ...]]
    warnings: tuple[Warned, ...]


def explain(file: str, config: schema.Config, origins: Origins, only: str | None = None) -> Report:
    """Explain a config, or *only* one upstream of it."""
    told = [one for name, one in config.upstreams.items() if only in {None, name}]
    warnings = [_warned(caution, origins) for one in told for caution in cautions(one)]
    if only is None:
        warnings += [_warned(caution, origins) for caution in pool_cautions(config)]
    whose = "" if only is None else f"upstreams.{only}."
    told_already = (problem for problem in config.warnings if problem.path.startswith(whose))
    warnings += [Warned(at.line, at.path, at.message) for at in told_already]
    return Report(
        file=file,
        upstreams=tuple(_upstream(one, origins) for one in told),
        pools={name: pool.members for name, pool in config.pools.items()} if only is None else {},
        warnings=tuple(warnings),
    )


def _upstream(upstream: schema.Upstream, origins: Origins) -> Upstream:
    block = reference.upstream()
    at: Steps = ("upstreams", upstream.name)
    routes = next(reference.inside(key.shape) for key in block.keys if key.name == "routes")
    assert isinstance(routes, Block)
    return Upstream(
        name=upstream.name,
        kind=upstream.kind,
        values=tuple(values(block, upstream, at, origins)),
        retrying=retrying(upstream.policy),
        retry_share=upstream.budget.ratio,
        retry_reserve=upstream.budget.min_per_second,
        outage=outage(upstream),
        brownouts=brownouts(upstream),
        breaker_mode=upstream.breaker.mode,
        routes=tuple(
            _route(route, routes, (*at, "routes", number), origins)
            for number, route in enumerate(upstream.routes)
        ),
    )


def _route(route: schema.Route, block: Block, at: Steps, origins: Origins) -> Route:
    methods = route.match.methods
    return Route(
        path=route.match.path,
        methods=None if methods is None else tuple(sorted(methods)),
        values=tuple(values(block, route, at, origins)),
        retrying=retrying(route.policy),
    )


def _warned(caution: Caution, origins: Origins) -> Warned:
    steps, message = caution
    # A policy is the settings' word, not the file's.
    path = dotted(tuple(step for step in steps if step != "policy"))
    return Warned(origins.of(steps).line, path, message)
