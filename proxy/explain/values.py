"""Each effective value of an upstream or a route, as the file would write it, and its origin."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from proxy.config import layers, reference
from proxy.config.document import Steps
from proxy.config.origin import Origin, Origins
from proxy.config.reference import Block, Listing, Scalar, Shape, Table
from proxy.config.settings import Settings


@dataclass(frozen=True, slots=True)
class Value:
    """One key, such as `timeouts.total`; *value* is JSON, in seconds or bytes."""

    key: str
    value: Any
    written: str
    origin: Origin
    by_kind: bool
    """Built-in values of this key differ by kind."""


def values(block: Block, settings: Settings, at: Steps, origins: Origins) -> Iterator[Value]:
    """Give what *settings* hold, which stand *at* these steps; but for routes and their match."""
    yield from _values(block, (), settings, at, origins)


def _values(
    block: Block, within: Steps, settings: Settings, at: Steps, origins: Origins
) -> Iterator[Value]:
    for key in block.keys:
        steps = (*within, key.name)
        if key.name in {"routes", "match"}:
            continue
        inside = layers.inside(steps)
        value: Any = settings
        for step in inside:
            value = getattr(value, str(step))
        if not isinstance(key.shape, Block):
            yield Value(
                ".".join(map(str, steps)),
                _plain(key.shape, value),
                reference.say(key.shape, value),
                origins.of((*at, *inside)),
                len(set(key.built_in.values())) > 1,
            )
        elif value is not None:
            yield from _values(key.shape, steps, settings, at, origins)


def _plain(shape: Shape, value: Any) -> Any:
    """Give a value as JSON; what is no number is written as the file would."""
    if value is None or isinstance(value, bool | int | float):
        return value
    match shape:
        case Listing():
            return [_plain(shape.item, item) for item in reference.in_order(value)]
        case Table():
            return list(value)
        case Scalar() | Block():
            return reference.say(shape, value)
