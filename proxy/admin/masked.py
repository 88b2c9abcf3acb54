"""The config in force, as it may be shown: complete, as JSON, and without a secret.

Every key is there, in the file's order and form, built-in values included; times are seconds,
sizes bytes. What a key's form hides in documents is hidden here too. So is text in tables, such as
headers put in: what their author put there nobody knows.
"""

from typing import Any

from proxy.config import layers, reference, schema
from proxy.config.document import Steps
from proxy.config.reference import Block, Listing, Scalar, Shape, Table
from proxy.config.settings import Settings
from proxy.observe import scrub

HIDDEN = "********"


def masked(config: schema.Config) -> dict[str, Any]:
    """Give the whole effective config."""
    written = (key for key in reference.file().keys if key.name != "defaults")
    return {key.name: _plain(key.shape, getattr(config, key.name)) for key in written}


def _plain(shape: Shape, value: Any) -> Any:
    if _unless_text(value) is not HIDDEN:
        return value
    match shape:
        case Scalar():
            return _text(shape, value)
        case Listing():
            return [_plain(shape.item, item) for item in reference.in_order(value)]
        case Table(value=Block()):
            return {name: _plain(shape.value, item) for name, item in value.items()}
        case Table():
            return {name: _unless_text(item) for name, item in value.items()}
        case Block():
            return _block(shape, value, ())


def _block(block: Block, settings: Settings, within: Steps) -> dict[str, Any]:
    """Give a block of the file, whose keys the *settings* may have elsewhere: see `layers`."""
    found: dict[str, Any] = {}
    for key in block.keys:
        steps = (*within, key.name)
        value: Any = settings
        for step in layers.inside(steps):
            value = getattr(value, str(step))
        if isinstance(key.shape, Block) and value is not None:
            found[key.name] = _block(key.shape, settings, steps)
        else:
            found[key.name] = _plain(key.shape, value)
    return found


def _unless_text(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float) else HIDDEN


def _text(shape: Scalar, value: Any) -> str:
    if isinstance(value, schema.Secret):
        return HIDDEN
    # Credentials do not belong anywhere else; those that look like some are hidden all the same.
    return scrub.redact(shape.form.say(value))
