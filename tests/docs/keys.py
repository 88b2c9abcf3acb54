"""The keys of the config, by the block they stand in, as config/schema.json has them."""

import json
from pathlib import Path

SCHEMA = json.loads((Path(__file__).parents[2] / "config" / "schema.json").read_text())


def keys():
    """Give each key of a block as `block.key`, wherever the block stands."""
    places = (SCHEMA, SCHEMA["$defs"]["upstream"])
    blocks = [block for place in places for block in place["properties"].items()]
    return {key for name, schema in blocks for key in _walk(schema, name)}


def _walk(schema, name):
    if "$ref" in schema:
        yield from _walk(SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]], name)
    for one in schema.get("anyOf", []):
        yield from _walk(one, name)
    for key, value in schema.get("properties", {}).items():
        yield f"{name}.{key}"
        yield from _walk(value, key)
