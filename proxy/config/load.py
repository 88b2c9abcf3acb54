"""A config file to a `Config`, or every problem in it at once.

What is wrong is told and then treated as unknown, so that the rest can still be judged. Each
problem stands where its author can see it: at the key that is wrong, in the layer that set it.
No problem quotes a value that could be a secret, nor what a `${…}` was replaced with.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from proxy.config import crosscheck, document, environment, layers, reference
from proxy.config.document import Block, Items, Mark, Node, Report, Steps
from proxy.config.fields import Unknown
from proxy.config.problem import ConfigError, Problem
from proxy.config.schema import Config, Rules
from proxy.config.settings import Inconsistent, Strangers
from proxy.config.units import Unreadable

T = TypeVar("T", bound=BaseModel)

_SENTENCES = {
    "missing": "is missing",
    "dict_type": "is not a block of keys (key: value)",
    "tuple_type": "is not a list ([a, b], or a line with - for each)",
    "frozen_set_type": "is not a list ([a, b], or a line with - for each)",
    "string_type": "is not one piece of text",
    "too_short": "is empty",
    "greater_than": "must be above {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:g}",
}


def load(path: str | os.PathLike[str], env: Mapping[str, str] | None = os.environ) -> Config:
    """Read a file; ConfigError has every problem. With *env* None, see `parse`."""
    file = os.fspath(path)
    try:
        with Path(path).open("rb") as opened:
            data = opened.read(document.MAX_SIZE + 1)
    except OSError as error:
        raise document.refused(file, f"cannot be read: {error.strerror}") from None
    return parse(document.decode(data, file), file, env)


def parse(text: str, file: str, env: Mapping[str, str] | None) -> Config:
    """Read a file's text; ConfigError has every problem, in the order of the file.

    With *env* None, `${VAR}` without a default and `${file:…}` are no problem: built-in values and
    stand-ins take their place, and such a `Config` is good for checking only.
    """
    problems: set[Problem] = set()

    def report(mark: Mark, message: str) -> None:
        problems.add(Problem(file, mark.line, mark.column, document.dotted(mark.path), message))

    written = document.read(text, file)
    tree, defaults = layers.effective(environment.replace(written, env, report), report)
    rules = build(Rules, defaults, report)
    config = build(Config, tree, report)
    # Where the environment is another, so are the files.
    files = crosscheck.files(config) if env is not None else ()
    for steps, fault in (*crosscheck.errors(config), *files):
        if not isinstance(_at(tree, steps), Unknown):
            mark = document.locate(tree, steps)
            report(mark, _quoting(fault, mark))
    named = sorted({*environment.files(written), *crosscheck.named_files(config)})
    if problems:
        raise ConfigError(_in_order(problems), named)
    if written.get("batch", ...) is None and written.marks["batch"].text == "":
        report(written.marks["batch"], "is empty, which is none (write batch: {} to have it)")
    tree.put("defaults", defaults, defaults.mark("policy"))
    for steps, fault in crosscheck.warnings(config, rules):
        if not isinstance(_at(tree, steps), Unknown):
            report(document.locate(tree, steps), str(fault))
    digests = {} if env is None else {name: _digest(name) for name in named}
    return config.model_copy(update={"warnings": _in_order(problems), "files": digests})


def build(model: type[T], tree: Block, report: Report) -> T:
    """Build settings from a tree; what is wrong in it is told, and forgotten for another try.

    Ends, because each round forgets something, and what is unknown is not wrong.
    """
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        for found in error.errors(include_url=False, include_input=False):
            _tell(found, tree, report)
    return build(model, tree, report)


def _tell(found: ErrorDetails, tree: Block, report: Report) -> None:
    steps = tuple(step for step in found["loc"] if step != "[key]")
    cause = found.get("ctx", {}).get("error")
    if isinstance(cause, Strangers):
        for key, message in cause.keys.items():
            report(document.locate(tree, (*steps, key)), message)
            _forget(tree, (*steps, key), wholly=True)
        return
    if isinstance(cause, Inconsistent):
        _tell_inconsistent(steps, cause, tree, report)
    else:
        mark = document.locate(tree, steps)
        report(mark, _sentence(found, cause, mark))
    _forget(tree, steps, wholly=steps != found["loc"])


def _tell_inconsistent(steps: Steps, cause: Inconsistent, tree: Block, report: Report) -> None:
    # What `defaults` alone would contradict, an upstream may mend; and where a value is unknown,
    # its built-in one contradicts nobody.
    values = [_at(tree, (*steps, key)) for key in cause.keys]
    if steps[0] != "upstreams" or any(isinstance(value, Unknown) for value in values):
        return
    given = [key for key, value in zip(cause.keys, values, strict=True) if value is not None]
    report(document.locate(tree, (*steps, given[0])), str(cause))


def _sentence(found: ErrorDetails, cause: Exception | None, mark: Mark) -> str:
    if found["type"] == "model_type":
        return f"is not a block of keys{_such_as(found['ctx']['class_name'])}"
    if cause is None:
        sentence = _SENTENCES.get(found["type"], found["msg"])
        return sentence.format_map(found.get("ctx", {}))
    return _quoting(cause, mark)


def _such_as(model: str) -> str:
    """Show a block as short as it can be: what must be given, or what one gives first."""
    blocks = {it.name.replace("_", ""): it for it in reference.blocks(reference.file())}
    block = blocks[model.lower()]
    shown = [key for key in block.keys if key.required] or block.keys[:1]
    said = (f"{key.name}: {_quoted(key.example or '{…}')}" for key in shown)
    return f", such as {{{', '.join(said)}}}"


def _quoted(example: str) -> str:
    return f'"{example}"' if "${" in example else example


def _quoting(cause: Exception | str, mark: Mark) -> str:
    # What the author wrote, not what a reference in it was replaced with.
    if isinstance(cause, Unreadable) and mark.text is not None:
        return f"{mark.text[:60]!r} {cause}"
    return str(cause)


def _at(tree: Node, steps: Steps) -> Node:
    for step in steps:
        if isinstance(tree, Block):
            tree = tree.get(str(step))
        elif isinstance(tree, Items) and isinstance(step, int) and step < len(tree):
            tree = tree[step]
        else:
            # What lies within the unknown is unknown too.
            return tree if isinstance(tree, Unknown) else None
    return tree


def _forget(tree: Node, steps: Steps, *, wholly: bool) -> None:
    around, step = _at(tree, steps[:-1]), steps[-1]
    if isinstance(around, Block) and wholly:
        del around[str(step)]
    elif isinstance(around, Block):
        around[str(step)] = Unknown("unknown")
    else:
        assert isinstance(around, Items)
        around[int(step)] = Unknown("unknown")


def _digest(name: str) -> str:
    """Tell one content of a file from another. What is no file, such as a pipe, has but one."""
    file = Path(name)
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
    except OSError:
        return ""


def _in_order(problems: set[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(problems, key=lambda problem: (problem.line, problem.column, problem)))
