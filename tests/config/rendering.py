"""docs/configuration.md, drawn from the schema.

`python tests/config/rendering.py > docs/configuration.md` writes it anew when a key has changed, as
`octollm-proxy schema > config/schema.json` does for editors. Nothing is told here but how values
are written; what a key is for stands in `proxy/config/schema.py`.
"""

import sys

from proxy.config.editor import built_in
from proxy.config.reference import Block, Listing, Scalar, Table, blocks, file

# A route's retry is the same block, less its budget.
SAME = {"route_retry": "retry"}

OPENING = """\
# Configuration

<!-- Written by tests/config/rendering.py; see there. -->

One YAML file, read by `octollm-proxy serve -c FILE`. `octollm-proxy check FILE` tells every problem
at once; `octollm-proxy explain FILE` shows what results, value by value with the line it came from,
and what it means for a call; `octollm-proxy schema` prints the JSON Schema that
[config/schema.json](../config/schema.json) is. Editors that speak to `yaml-language-server` complete
and check the file if it begins with

    # yaml-language-server: $schema=schema.json

- **Durations** are `250ms`, `2s`, `1m30s`, `1h` or a number of seconds, up to a year. Where a limit
  may be missing, `none` says so, and 0 is refused.
- **Sizes** are `64KiB`, `8MiB`, `1GiB` or a number of bytes.
- **References**: `${VAR}`, `${VAR:-default}` and `${file:/run/secrets/x}` in a scalar are replaced
  after parsing, and the result is read as the key wants it. Inside `{…}` and `[…]` they must be
  quoted. `$${` is a literal `${`.
- **Layers**: a policy block (`timeouts`, `retry`, …) can stand in `defaults`, in an upstream and in
  an upstream's route. Nearest wins, key by key: built-in (by kind) < `defaults` < upstream < route.
  Lists replace; `null` takes a key back to its built-in value.
- **Names** of upstreams and pools are lower-case letters, digits, `_` and `-`, and share one
  namespace.
- A key that is not known is an error that names the nearest known one.
"""


def page():
    """Draw the whole page."""
    root = file()
    places = {}
    collect(root, "", places)
    sections = [section(block, places) for block in blocks(root) if block.name not in SAME]
    return "\n".join([OPENING, *sections])


def collect(block, where, places):
    """Find every place where each block may stand."""
    if where:
        places.setdefault(SAME.get(block.name, block.name), []).append(where)
    for key in block.keys:
        here, shape = f"{where}.{key.name}".lstrip("."), key.shape
        while isinstance(shape, Listing | Table):
            here += "[]" if isinstance(shape, Listing) else ".<name>"
            shape = shape.item if isinstance(shape, Listing) else shape.value
        if isinstance(shape, Block):
            collect(shape, here, places)


def section(block, places):
    where = sorted(places.get(block.name, ()), key=len)
    lines = [f"## {title(where)}", "", block.about]
    if len(where) > 1:
        lines += ["", f"At {', '.join(f'`{place}`' for place in where)}."]
    lines += [
        "",
        "| key | what it is for | written as | built in | example |",
        "|---|---|---|---|---|",
        *map(row, block.keys),
    ]
    return "\n".join([*lines, ""])


def title(where):
    match where:
        case []:
            return "The file"
        case [place]:
            return f"`{place}`"
        case [place, *_]:
            return f"`{place.rpartition('.')[2]}`"


def row(key):
    said = "must be given" if key.required else code(built_in(key))
    example = "" if key.example is None else code(f"{key.name}: {key.example}")
    cells = [f"`{key.name}`", key.about, written_as(key.shape), said, example]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def code(text):
    return f"`{text}`" if text else "—"


def written_as(shape):
    match shape:
        case Scalar(form=form, bounds=bounds):
            return f"{form.name}{bounded(bounds)}"
        case Listing(item=Block()):
            return "list of blocks, below"
        case Listing(item=item, least=least):
            return f"list of: {written_as(item)}{', at least one' if least else ''}"
        case Table(value=Block()):
            return "blocks by name, below"
        case Table(value=value):
            return f"by name: {written_as(value)}"
        case Block():
            return "block, below"


def bounded(bounds):
    least, above, most = (bounds.get(at) for at in ("minimum", "exclusiveMinimum", "maximum"))
    said = [
        "" if least is None else f"at least {least}",
        "" if above is None else f"above {above}",
        "" if most is None else f"at most {most}",
    ]
    return "".join(f", {part}" for part in said if part)


if __name__ == "__main__":
    sys.stdout.write(page())
