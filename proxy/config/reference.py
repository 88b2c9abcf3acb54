"""Every key as a file has it: where it may stand, how it is written, what holds without it.

Read off `schema.py`, so that what editors, documents and `explain` say of a key is what the loader
does with it. Nothing here reads a file, or knows Markdown.
"""

import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from proxy.config import forms, schema
from proxy.config.fields import WORDS
from proxy.config.forms import Form, JsonSchema
from proxy.config.settings import ByKind

KINDS = ("llm", "vectordb", "http")

NAME = r"[a-z0-9][a-z0-9_-]*"

_SAY_LITTLE = {None, "none", "false", "[]", "{}"}
"""Built-in values that are no example of what else could be written."""

# What the settings have, and no file: the file's own keys come from around them.
_NOT_WRITTEN = {"name", "budget", "warnings", "files"}


@dataclass(frozen=True, slots=True)
class Scalar:
    """One piece of text, within *bounds* (in the words of JSON Schema)."""

    form: Form
    bounds: JsonSchema


@dataclass(frozen=True, slots=True)
class Listing:
    """A list of at least *least* items."""

    item: "Shape"
    least: int


@dataclass(frozen=True, slots=True)
class Table:
    """Values by names that the author chooses."""

    value: "Shape"


@dataclass(frozen=True, slots=True)
class Block:
    """A block of keys."""

    name: str
    about: str
    keys: tuple["Key", ...]


Shape = Scalar | Listing | Table | Block


@dataclass(frozen=True, slots=True)
class Key:
    """One key. *built_in* is how its value is written where no file gives one, by kind."""

    name: str
    about: str
    shape: Shape
    required: bool
    built_in: Mapping[str, str]
    example: str | None


def file() -> Block:
    """Give the whole file."""
    about = "What every upstream has, unless it says otherwise itself."
    rules = replace(_block(schema.Rules), name="defaults", about=about)
    defaults = Key("defaults", about, rules, required=False, built_in={}, example=None)
    keys = list(_keys(schema.Config))
    before = [key.name for key in keys].index("upstreams")
    keys.insert(before, defaults)
    return Block("file", "The config file.", tuple(keys))


def upstream() -> Block:
    """Give the block of one upstream."""
    return _block(schema.Upstream)


def blocks(block: Block) -> Iterator[Block]:
    """Give *block* and all within it, each once."""
    found: dict[str, Block] = {}
    waiting = [block]
    while waiting:
        here = waiting.pop(0)
        if found.setdefault(here.name, here) is here:
            inner = (inside(key.shape) for key in here.keys)
            waiting = [shape for shape in inner if isinstance(shape, Block)] + waiting
    yield from found.values()


def inside(shape: Shape) -> Scalar | Block:
    """Give what lists and tables in the end are of."""
    while not isinstance(shape, Scalar | Block):
        shape = shape.item if isinstance(shape, Listing) else shape.value
    return shape


def say(shape: Shape, value: Any) -> str:
    """Write a value as the file would: no secret, and of a table the names only."""
    match shape:
        case Scalar():
            return "none" if value is None else shape.form.say(value)
        case Listing():
            items = (say(shape.item, item) for item in in_order(value))
            return "none" if value is None else f"[{', '.join(items)}]"
        case Table():
            return f"{{{', '.join(map(str, value))}}}"
        case Block():
            given = (key for key in shape.keys if key.name in value.model_fields_set)
            said = (f"{key.name}: {say(key.shape, getattr(value, key.name))}" for key in given)
            return f"{{{', '.join(said)}}}"


def in_order(items: Any) -> list[Any]:
    """Give the items of a list as they stand, those of a set as a person would put them."""
    if not isinstance(items, frozenset):
        return list(items or ())
    return sorted(
        items, key=lambda item: (item not in WORDS, item in WORDS and WORDS.index(item), item)
    )


def _block(model: type[BaseModel]) -> Block:
    name = "".join(f"_{c.lower()}" if c.isupper() else c for c in model.__name__)
    about = (model.__doc__ or "").partition("\n\n")[0]
    return Block(name.removeprefix("_"), " ".join(about.split()), tuple(_keys(model)))


def _keys(model: type[BaseModel]) -> Iterator[Key]:
    # What an upstream shares with `defaults` comes after what is its own.
    shared = schema.Rules.model_fields
    fields = sorted(model.model_fields.items(), key=lambda item: item[0] in shared)
    for name, field in fields:
        if field.annotation is schema.Policy:
            yield from _policy(model)
        elif name not in _NOT_WRITTEN:
            yield _key(name, field)


def _policy(model: type[BaseModel]) -> Iterator[Key]:
    """Give the keys of a policy; `retry` has a budget where the model has one."""
    for key in _keys(schema.Policy):
        if key.name == "retry" and "budget" in model.model_fields:
            assert isinstance(key.shape, Block)
            budget = _key("budget", model.model_fields["budget"])
            retry = replace(key.shape, name="retry", keys=(*key.shape.keys, budget))
            yield replace(key, shape=retry)
        elif key.name == "retry":
            assert isinstance(key.shape, Block)
            yield replace(key, shape=replace(key.shape, name="route_retry"))
        else:
            yield key


def _key(name: str, field: FieldInfo) -> Key:
    shape = _shape(field.annotation, field.metadata)
    built_in = _built_in(shape, field)
    return Key(
        name=name,
        about=field.description or "",
        shape=shape,
        required=field.is_required(),
        built_in=built_in,
        example=_example(shape, field, built_in.get("http")),
    )


def _built_in(shape: Shape, field: FieldInfo) -> Mapping[str, str]:
    if isinstance(shape, Block) or field.is_required():
        return {}
    if field.default is None and not (isinstance(shape, Scalar) and shape.form is forms.LIMIT):
        return {}
    said = dict.fromkeys(KINDS, say(shape, field.default))
    for note in field.metadata:
        if isinstance(note, ByKind):
            said |= {kind: text for kind, text in note._asdict().items() if text is not None}
    return said


def _example(shape: Shape, field: FieldInfo, built_in: str | None) -> str | None:
    if field.examples:
        return _written(field.examples[0])
    if built_in not in _SAY_LITTLE:
        return built_in
    match shape:
        case Scalar():
            return shape.form.example
        case Listing(item=Scalar(form=form)):
            return f"[{form.example}]"
        case Table(value=Scalar(form=form)):
            return f"{{{forms.HEADER_NAME.example}: {form.example}}}"
        case _:
            return None


def _written(example: object) -> str:
    """Write an example as YAML in one line."""
    match example:
        case dict():
            return f"{{{', '.join(f'{key}: {_written(value)}' for key, value in example.items())}}}"
        case list():
            return f"[{', '.join(map(_written, example))}]"
        case _:
            return str(example)


def _shape(annotation: Any, notes: Iterable[Any]) -> Shape:
    """Tell from a type, and what is noted beside it, what is to be written."""
    notes = list(notes)
    form = next((note for note in notes if isinstance(note, Form)), None)
    if form is not None:
        return Scalar(form, _bounds(notes))
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _shape(arguments[0], [*arguments[1:], *notes])
    if origin in {typing.Union, types.UnionType}:
        return _shape(arguments[0], notes)
    if origin is Literal:
        return Scalar(forms.words(*arguments), {})
    if origin in {tuple, frozenset}:
        least = next((note.min_length for note in notes if isinstance(note, MinLen)), 0)
        return Listing(_shape(arguments[0], ()), least)
    if origin is dict:
        return Table(_shape(arguments[1], ()))
    assert issubclass(annotation, BaseModel), f"{annotation} has no form"
    return _block(annotation)


def _bounds(notes: Iterable[Any]) -> JsonSchema:
    bounds: JsonSchema = {}
    for note in notes:
        match note:
            case Ge():
                bounds["minimum"] = note.ge
            case Gt():
                bounds["exclusiveMinimum"] = note.gt
            case Le():
                bounds["maximum"] = note.le
    return bounds
