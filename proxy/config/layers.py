"""Precedence, key by key: built-in (by kind) < `defaults` < upstream < route.

Works on trees, before any value is read, and keeps each value's place: a value whose mark begins
with `defaults` came from there, and one without a mark is built in. Lists replace; null takes a key
back to its built-in value.

This file alone knows that keys stand elsewhere in a file than in the settings they become:
`timeouts`, `retry` and `rewrite_client_errors` make up a `policy`, and `retry.budget` goes to the
upstream, because a route cannot have one.
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from pydantic import BaseModel

from proxy.config.document import Block, Items, Mark, Report, Steps
from proxy.config.schema import Config, Policy, Route, Rules, Upstream, UpstreamLimits
from proxy.config.settings import ByKind, Settings, stranger

POLICY_KEYS = Policy.model_fields.keys()
RULE_KEYS = POLICY_KEYS | {"breaker", "limits"}
ROUTE_KEYS = POLICY_KEYS | {"match"}
UPSTREAM_KEYS = RULE_KEYS | (Upstream.model_fields.keys() - Rules.model_fields.keys() - {"name"})
FILE_KEYS = (Config.model_fields.keys() - {"warnings", "files"}) | {"defaults"}


def effective(file: Block, report: Report) -> tuple[Block, Block]:
    """Give what a `Config` is built from, and the `Rules` that `defaults` alone would make.

    *report* hears of keys that may not stand where they do.
    """
    config = _only(file, FILE_KEYS, report)
    mark = config.mark("defaults")
    said = config.pop("defaults", None)
    defaults = _only(said, RULE_KEYS, report) if isinstance(said, Block) else Block()
    if said is not None and not isinstance(said, Block):
        report(mark or Mark(), "is not a block of keys (timeouts, retry, breaker …)")
    limits = config.get("limits")
    if isinstance(limits, Block):
        strays = limits.keys() & UpstreamLimits.model_fields.keys()
        for key in strays:
            report(limits.marks[key], "belongs to an upstream's limits, or to those of defaults")
        config.put("limits", _picked(limits, limits.keys() - strays), config.mark("limits"))
    upstreams = config.get("upstreams")
    if isinstance(upstreams, Block):
        built = Block()
        for name, upstream in upstreams.items():
            # `openai:` with nothing after it lacks a url; it is not an upstream taken back.
            own = Block() if upstream is None else upstream
            if isinstance(own, Block):
                own = _upstream(name, own, upstreams.marks[name], defaults, report)
            built.put(name, own, upstreams.marks[name])
        config.put("upstreams", built, config.mark("upstreams"))
    return _without_nulls(config), _without_nulls(_rules(defaults, mark))


def inside(steps: Steps) -> Steps:
    """Give where the settings have what an upstream's or route's block has at *steps*."""
    if steps[:2] == ("retry", "budget"):
        return steps[1:]
    return ("policy", *steps) if steps[0] in POLICY_KEYS else steps


def overlay(below: Block, above: Block) -> Block:
    """Lay one block over another, key by key; what is not two blocks is replaced."""
    result = Block()
    for key, value in below.items():
        result.put(key, value, below.mark(key))
    for key, value in above.items():
        under = below.get(key)
        if isinstance(under, Block) and isinstance(value, Block):
            result.put(key, overlay(under, value), above.mark(key))
        else:
            result.put(key, value, above.mark(key))
    return result


def built_in(settings: type[BaseModel], kind: str) -> Block:
    """Give the built-in values that differ for *kind* from the fields' own defaults."""
    block = Block()
    for name, field in settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Settings):
            inner = built_in(field.annotation, kind)
            if inner:
                block.put(name, inner, None)
        for note in field.metadata:
            if isinstance(note, ByKind) and getattr(note, kind, None) is not None:
                block.put(name, getattr(note, kind), None)
    return block


def _upstream(name: str, own: Block, mark: Mark, defaults: Block, report: Report) -> Block:
    own = _only(own, UPSTREAM_KEYS, report)
    kind = str(own.get("kind"))
    layers = overlay(defaults, _picked(own, RULE_KEYS))
    result = _rules(layers, mark)
    for key, value in own.items():
        if key not in RULE_KEYS:
            result.put(key, value, own.mark(key))
    result.put("name", name, mark)
    routes = own.get("routes")
    if isinstance(routes, Items):
        built = Items()
        for route, place in zip(routes, routes.marks, strict=True):
            if isinstance(route, Block):
                built.put(_route(route, place, layers, kind, report), place)
            else:
                built.put(route, place)
        result.put("routes", built, own.mark("routes"))
    return overlay(built_in(Upstream, kind), _without_nulls(result))


def _route(own: Block, mark: Mark, layers: Block, kind: str, report: Report) -> Block:
    if "breaker" in own:
        report(own.marks["breaker"], "belongs to the upstream; a route shares its circuit")
    own = _only(own, ROUTE_KEYS, report, told={"breaker"})
    retry = own.get("retry")
    if isinstance(retry, Block) and "budget" in retry:
        report(retry.marks["budget"], "belongs to the upstream; a route shares its budget")
    result = Block()
    policy = _rules(overlay(layers, _picked(own, POLICY_KEYS)), mark)["policy"]
    result.put("policy", policy, mark)
    if "match" in own:
        result.put("match", own["match"], own.mark("match"))
    return overlay(built_in(Route, kind), _without_nulls(result))


def _rules(layers: Block, mark: Mark | None) -> Block:
    """Move the keys of a file's policy blocks to where the settings have them."""
    rules, policy = Block(), Block()
    for key, value in layers.items():
        if key in ("breaker", "limits"):
            rules.put(key, value, layers.mark(key))
        elif key == "retry" and isinstance(value, Block):
            policy.put(key, _picked(value, value.keys() - {"budget"}), layers.mark(key))
            if "budget" in value:
                rules.put("budget", value["budget"], value.mark("budget"))
        else:
            policy.put(key, value, layers.mark(key))
    rules.put("policy", policy, mark)
    return rules


def _only(block: Block, known: AbstractSet[str], report: Report, told: Iterable[str] = ()) -> Block:
    """Give the keys that may stand here; *report* hears of the others, but for those *told*."""
    for key in block.keys() - known - set(told):
        report(block.marks[key], stranger(key, known))
    return _picked(block, known)


def _picked(block: Block, keys: AbstractSet[str]) -> Block:
    result = Block()
    for key, value in block.items():
        if key in keys:
            result.put(key, value, block.mark(key))
    return result


def _without_nulls(block: Block) -> Block:
    """Leave out what is null; under `set` a null is a value, for a JSON body."""
    result = Block()
    for key, value in block.items():
        mark = block.mark(key)
        if isinstance(value, Block) and key != "set":
            result.put(key, _without_nulls(value), mark)
        elif isinstance(value, Items):
            result.put(key, _items_without_nulls(value), mark)
        elif value is not None:
            result.put(key, value, mark)
    return result


def _items_without_nulls(items: Items) -> Items:
    result = Items()
    for item, mark in zip(items, items.marks, strict=True):
        result.put(_without_nulls(item) if isinstance(item, Block) else item, mark)
    return result
