"""Which layer a value of the settings came from, and in which line of the file it stands.

For people who ask; nothing that runs depends on it. Knows no values, and so no secrets.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from proxy.config import document, layers
from proxy.config.document import Block, Items, Mark, Node, Steps


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from; *line* is None for what no file says."""

    layer: Literal["built in", "defaults", "upstream", "route"]
    line: int | None = None


BUILT_IN = Origin("built in")


class Origins:
    """Where the values of a config file, which can be loaded, came from."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        file = os.fspath(path)
        text = document.decode(Path(path).read_bytes(), file)
        self._tree, _ = layers.effective(document.read(text, file), _nobody)

    def of(self, steps: Steps) -> Origin:
        """Give the origin of what the `Config` has at *steps*, within an upstream."""
        mark: Mark | None = None
        node: Node = self._tree
        for step in steps:
            if isinstance(node, Block) and step in node:
                mark, node = node.mark(step), node[str(step)]
            elif isinstance(node, Items):
                mark, node = node.mark(step), node[int(step)]
            else:
                return BUILT_IN
        if mark is None:
            return BUILT_IN
        if mark.path[0] == "defaults":
            return Origin("defaults", mark.line)
        return Origin("route" if "routes" in mark.path[2:3] else "upstream", mark.line)


def _nobody(_mark: Mark, _message: str) -> None:
    """Hear of problems that the loader has told already."""
