"""`${VAR}`, `${VAR:-default}` and `${file:/path}` in scalar values; `$${` is a literal `${`.

They are replaced in the tree, never in the text, so a value can hold no YAML. No message here holds
a value.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from proxy.config.document import Block, Items, Mark, Node, Report
from proxy.config.fields import Plain, Unknown

MAX_SECRET = 64 << 10

_REFERENCE = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")
_FILE = "file:/"
_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.ASCII | re.DOTALL)


class Unavailable(Exception):  # noqa: N818 -- a fact, not a fault of ours
    """A reference cannot be replaced; *elsewhere* it might be, where the environment is another."""

    def __init__(self, message: str, *, elsewhere: bool = False) -> None:
        super().__init__(message)
        self.elsewhere = elsewhere


def replace(tree: Block, env: Mapping[str, str] | None, report: Report) -> Block:
    """Give a tree with its references replaced; *report* hears of those that cannot be.

    Without *env* only defaults are used, and what has none is `Unknown`, which is no problem.
    """
    block = Block()
    for key, value in tree.items():
        mark = tree.marks[key]
        block.put(key, _replaced(value, mark, env, report), mark)
    return block


def files(tree: Node) -> Iterator[str]:
    """Name every file that a value of the tree refers to."""
    if isinstance(tree, Block):
        for value in tree.values():
            yield from files(value)
    elif isinstance(tree, Items):
        for value in tree:
            yield from files(value)
    elif tree is not None:
        for found in _REFERENCE.finditer(tree):
            if (found[1] or "").startswith(_FILE):
                yield found[1].removeprefix("file:")


def _replaced(node: Node, mark: Mark, env: Mapping[str, str] | None, report: Report) -> Node:
    if isinstance(node, Block):
        return replace(node, env, report)
    if isinstance(node, Items):
        items = Items()
        for item, place in zip(node, node.marks, strict=True):
            items.put(_replaced(item, place, env, report), place)
        return items
    if node is None:
        return None
    try:
        text = _REFERENCE.sub(lambda found: _value(found, env), node)
    except Unavailable as reason:
        if env is not None or not reason.elsewhere:
            report(mark, str(reason))
        return Unknown("unknown")
    return Plain(text) if isinstance(node, Plain) else text


def _value(found: re.Match[str], env: Mapping[str, str] | None) -> str:
    whole, inside = found[0], found[1]
    if whole == "$${":
        return "${"
    if inside is not None and inside.startswith(_FILE):
        return _file(inside.removeprefix("file:"), there=env is not None)
    variable = _VARIABLE.fullmatch(inside or "")
    if variable is None:
        raise Unavailable("is not ${VAR}, ${VAR:-default} or ${file:/path} (a literal is $${)")
    name, default = variable.groups()
    value = (env or {}).get(name, "")
    if value or (default is None and name in (env or {})):
        # os.environ smuggles bytes that are not UTF-8 in as surrogates, which nothing can write.
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            raise Unavailable(f"${{{name}}} is not UTF-8 text")
        return value
    if default is None:
        raise Unavailable(
            f"${{{name}}} is not set (set it, or write ${{{name}:-default}})", elsewhere=True
        )
    return str(default)


def _file(path: str, *, there: bool) -> str:
    """Read a secret, without the line end that editors and `kubectl create secret` leave."""
    if not there:
        raise Unavailable("is not read", elsewhere=True)
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_SECRET + 1)
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}", elsewhere=True) from None
    except ValueError:
        raise Unavailable("names a file that cannot exist") from None
    if len(data) > MAX_SECRET:
        raise Unavailable(f"{path} is larger than 64 KiB, which no secret is")
    try:
        return data.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise Unavailable(f"{path} is not UTF-8 text") from None
