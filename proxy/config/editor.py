"""JSON Schema (draft 2020-12) of the file, for editors that complete and check while one writes.

It is a little more lenient than the loader (`check` has the last word) and never stricter, but for
numbers and `true` in quotes.
"""

from typing import Any

import yaml

from proxy.config.forms import JsonSchema, matching
from proxy.config.reference import NAME, Block, Key, Listing, Scalar, Shape, Table, blocks, file

_REFERENCE = {"$ref": "#/$defs/reference"}


def json_schema() -> JsonSchema:
    """Give the schema of the config file."""
    root = file()
    inner = {block.name: _block(block, nullable=True) for block in blocks(root) if block != root}
    reference = {
        "type": "string",
        "pattern": r"\$\{",
        "description": "${VAR}, ${VAR:-default} or ${file:/path}, replaced when the file is read.",
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "octollm-proxy",
        **_block(root, nullable=False),
        "$defs": {"reference": reference, **inner},
    }


def built_in(key: Key) -> str:
    """Say what holds where no file says otherwise: one value, or one for each kind."""
    values = set(key.built_in.values())
    if len(values) < 2:
        return "".join(values)
    return ", ".join(f"{text} ({kind})" for kind, text in key.built_in.items())


def _block(block: Block, *, nullable: bool) -> JsonSchema:
    required = [key.name for key in block.keys if key.required]
    return {
        "type": ["object", "null"] if nullable and not required else "object",
        "description": block.about,
        "properties": {key.name: _key(key) for key in block.keys},
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }


def _key(key: Key) -> JsonSchema:
    about = key.about
    if said := built_in(key):
        about += f" Built in: {said}."
    examples = {} if key.example is None else {"examples": [yaml.safe_load(key.example)]}
    return {"description": about, **_value(key.shape, nullable=not key.required), **examples}


def _value(shape: Shape, *, nullable: bool) -> JsonSchema:
    null = ["null"] if nullable else []
    match shape:
        case Scalar():
            choices = [_bounded(choice, shape.bounds) for choice in shape.form.schemas]
            if nullable:
                choices.append({"type": "null"})
            return {"anyOf": [*choices, _REFERENCE]}
        case Listing():
            least = {"minItems": shape.least} if shape.least else {}
            items = _value(shape.item, nullable=False)
            return {"type": ["array", *null], "items": items, **least}
        case Table():
            names: dict[str, Any] = {}
            if isinstance(shape.value, Block):
                names["propertyNames"] = matching(NAME)
            values = _value(shape.value, nullable=True)
            return {"type": ["object", *null], "additionalProperties": values, **names}
        case Block():
            return {"$ref": f"#/$defs/{shape.name}"}


def _bounded(choice: JsonSchema, bounds: JsonSchema) -> JsonSchema:
    return choice | bounds if choice.get("type") in ("integer", "number") else choice
