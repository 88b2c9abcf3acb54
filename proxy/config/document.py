"""YAML text to a tree of blocks, lists and texts that knows where each of them stood.

Scalars stay the text their author wrote: what they mean is the business of the key that reads them.
Whatever could make one small file large or ambiguous is refused here: aliases, merges, tags,
duplicate keys, deep nesting. Nothing here knows a key.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import yaml

from proxy.config.fields import Plain
from proxy.config.problem import ConfigError, Problem

MAX_SIZE = 1 << 20
MAX_DEPTH = 30

_TOO_LARGE = "is larger than 1 MiB (no config is; is it another file?)"
_NULL = "tag:yaml.org,2002:null"


Steps = tuple[str | int, ...]
"""The way to a value: keys and numbers of items."""


class Mark(NamedTuple):
    """Where a value stands: its path and position in the file, and, of a scalar, how it reads."""

    path: Steps = ()
    line: int = 1
    column: int = 1
    text: str | None = None


class Block(dict[str, "Node"]):
    """A mapping; *marks* are its keys' places, and a value that no file gave has none."""

    __slots__ = ("marks",)

    def __init__(self) -> None:
        super().__init__()
        self.marks: dict[str, Mark] = {}

    def put(self, key: str, value: "Node", mark: Mark | None) -> None:
        """Set a value and its place together."""
        self[key] = value
        if mark is None:
            self.marks.pop(key, None)
        else:
            self.marks[key] = mark

    def mark(self, key: str | int) -> Mark | None:
        """Give the place of *key*."""
        return self.marks.get(str(key))


class Items(list["Node"]):
    """A list; *marks* are its items' places."""

    __slots__ = ("marks",)

    def __init__(self) -> None:
        super().__init__()
        self.marks: list[Mark] = []

    def put(self, value: "Node", mark: Mark) -> None:
        """Add an item and its place together."""
        self.append(value)
        self.marks.append(mark)

    def mark(self, key: str | int) -> Mark | None:
        """Give the place of the item numbered *key*."""
        return self.marks[key] if isinstance(key, int) and key < len(self.marks) else None


Node = Block | Items | str | None
Report = Callable[[Mark, str], None]
"""Hears what is wrong, and where."""


def read(text: str, file: str) -> Block:
    """Read a document whose root is a mapping; ConfigError says what is wrong with it."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise refused(file, "is not UTF-8 text", *_position(text, error.start)) from None
    if size > MAX_SIZE:
        raise refused(file, _TOO_LARGE)
    try:
        _refuse_bombs(text, file)
        root = yaml.compose(text, yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        raise _broken(text, file, error) from None
    except yaml.YAMLError as error:
        before = text.encode()[: getattr(error, "position", 0)].decode(errors="ignore")
        at = _position(before, len(before))
        raise refused(file, "holds a character YAML does not allow", *at) from None
    if root is None:
        raise refused(file, "is empty (it needs at least upstreams)")
    if not isinstance(root, yaml.MappingNode):
        raise refused(file, "is not a mapping (begin with version: 1)", *_start(root))
    problems: list[Problem] = []
    tree = _block(root, (), file, problems)
    if problems:
        raise ConfigError(tuple(problems))
    return tree


def decode(data: bytes, file: str) -> str:
    """Read UTF-8, with or without a byte order mark; ConfigError names the first wrong byte."""
    if len(data) > MAX_SIZE:
        raise refused(file, _TOO_LARGE)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig")
        raise refused(file, "is not UTF-8 text", *_position(before, len(before))) from None


def refused(file: str, message: str, line: int = 1, column: int = 1) -> ConfigError:
    """Make the error that says that a file cannot be read at all."""
    return ConfigError((Problem(file, line, column, "", message),))


def dotted(path: Steps) -> str:
    """Write a path as people do: `upstreams.openai.routes[0].match`."""
    written = "".join(
        f"[{step}]" if isinstance(step, int) else f".{step if step.isprintable() else repr(step)}"
        for step in path
    )
    return written.removeprefix(".")


def locate(tree: Node, steps: Steps) -> Mark:
    """Give the place of what *steps* lead to; of what no file gave, the nearest block around it."""
    mark = Mark()
    for number, step in enumerate(steps):
        found = tree.mark(step) if isinstance(tree, Block | Items) else None
        if found is None:
            return Mark((*mark.path, *steps[number:]), mark.line, mark.column)
        mark = found
        tree = tree[step]  # type: ignore[index]  # it has just said that it is there
    return mark


def _refuse_bombs(text: str, file: str) -> None:
    """Go once over the events, which cost nothing, before anything is built from them."""
    depth = 0
    documents = 0
    for event in yaml.parse(text, yaml.CSafeLoader):
        line, column = _start(event)
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise refused(file, "holds a second document (one file, one config)", line, column)
        elif isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise refused(
                file,
                "anchors and aliases are not read (write it out, or use defaults)",
                line,
                column,
            )
        elif getattr(event, "tag", None):
            raise refused(file, "tags are not read (leave out the !)", line, column)
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise refused(file, f"nested deeper than {MAX_DEPTH} levels", line, column)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _block(node: yaml.MappingNode, path: Steps, file: str, problems: list[Problem]) -> Block:
    block = Block()
    for key, value in node.value:
        line, column = _start(key)
        if not isinstance(key, yaml.ScalarNode):
            problems.append(
                Problem(file, line, column, dotted(path), "a key is not one word (quote ${…})")
            )
            continue
        here = (*path, key.value)
        if key.value in block:
            first = block.marks[key.value].line
            message = f"stands twice (first in line {first}; only one could count)"
            problems.append(Problem(file, line, column, dotted(here), message))
            continue
        text = value.value if isinstance(value, yaml.ScalarNode) else None
        block.put(key.value, _node(value, here, file, problems), Mark(here, line, column, text))
    return block


def _node(node: yaml.Node, path: Steps, file: str, problems: list[Problem]) -> Node:
    if isinstance(node, yaml.MappingNode):
        return _block(node, path, file, problems)
    if isinstance(node, yaml.SequenceNode):
        items = Items()
        for number, item in enumerate(node.value):
            here = (*path, number)
            text = item.value if isinstance(item, yaml.ScalarNode) else None
            items.put(_node(item, here, file, problems), Mark(here, *_start(item), text))
        return items
    assert isinstance(node, yaml.ScalarNode)
    if node.tag == _NULL:
        return None
    # The style is one of ' " | > where it is not plain.
    return str(node.value) if node.style else Plain(node.value)


def _broken(text: str, file: str, error: yaml.MarkedYAMLError) -> ConfigError:
    """Say what a person did, where the parser says what it expected."""
    mark: Any = error.problem_mark
    line, column = mark.line + 1, mark.column + 1
    lines = re.split(r"\r\n|[\r\n\x85\u2028\u2029]", text.removeprefix("\ufeff"))
    found = lines[line - 1] if line <= len(lines) else ""
    if found[column - 2 : column] == "${" and column > 1:
        message = 'inside {…} and […] a ${…} must be quoted: "${NAME}"'
        return refused(file, message, line, column - 1)
    if found[column - 1 : column] == "\t":
        return refused(file, "a tab cannot indent (use spaces)", line, column)
    message = " ".join(part for part in (error.context, error.problem) if part)
    return refused(file, f"is not YAML: {message}", line, column)


def _start(found: yaml.Node | yaml.Event) -> tuple[int, int]:
    mark: Any = found.start_mark
    return mark.line + 1, mark.column + 1


def _position(text: str, index: int) -> tuple[int, int]:
    before = text[:index]
    return before.count("\n") + 1, index - before.rfind("\n")
