"""What a block of settings is, and the types its keys have.

Rule: settings that are wrong cannot be built, and built ones cannot be changed.
Each type reads a value as `units.py`, `fields.py` and `url.py` say; nothing here is a key.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Annotated, Any, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    SecretStr,
    model_validator,
)
from pydantic.fields import FieldInfo

from proxy.config import fields, forms, units
from proxy.config.fields import Unknown, When, meant
from proxy.config.providers import PROVIDERS
from proxy.config.url import Url, url

Condition = str | int
"""`connect`, `reset`, `timeout`, `protocol`, `cut`, or an HTTP status."""

Secret = SecretStr
"""Shown as asterisks wherever it is printed; `get_secret_value()` is the text."""


class ByKind(NamedTuple):
    """Built-in values that differ from the field's default, written as in the file."""

    llm: str | None = None
    vectordb: str | None = None


class StandIn(NamedTuple):
    """What a key that must be given is taken to be where its real value is not known."""

    value: Any


class Inconsistent(ValueError):  # noqa: N818 -- a fact, not a fault of ours
    """Keys of one block contradict each other; the first of *keys* is the one to look at."""

    def __init__(self, keys: tuple[str, ...], message: str) -> None:
        super().__init__(message)
        self.keys = keys


class Strangers(ValueError):  # noqa: N818 -- a fact, not a fault of ours
    """A block holds keys it does not know; *keys* says of each what was probably meant."""

    def __init__(self, keys: dict[str, str]) -> None:
        super().__init__(f"unknown keys: {', '.join(keys)}")
        self.keys = keys


def item(read: Callable[[object], Any]) -> Callable[[object], Any]:
    """Let what is unknown stand in a list, so that the other items keep their numbers."""
    return lambda value: value if isinstance(value, Unknown) else read(value)


Duration = Annotated[float, BeforeValidator(units.duration), forms.DURATION]
Positive = Annotated[float, BeforeValidator(units.duration), Field(gt=0), forms.DURATION]
Limit = Annotated[float | None, BeforeValidator(units.limit), forms.LIMIT]
Switch = Annotated[float | None, BeforeValidator(units.switch), forms.LIMIT]
Size = Annotated[int, BeforeValidator(units.size), Field(ge=0), forms.SIZE]
Count = Annotated[int, BeforeValidator(units.whole), forms.COUNT]
Ratio = Annotated[float, BeforeValidator(units.number), forms.NUMBER]
Flag = Annotated[bool, BeforeValidator(units.flag), forms.FLAG]
Text = Annotated[str, BeforeValidator(fields.text), forms.TEXT]
Host = Annotated[str, BeforeValidator(fields.host), forms.HOST]
Place = Annotated[str, BeforeValidator(fields.place), forms.PLACE]
Port = Annotated[Count, Field(ge=0, le=65535)]
File = Annotated[str, BeforeValidator(fields.text), Field(min_length=1), forms.FILE]
Path = Annotated[str, BeforeValidator(fields.path), forms.PATH]
Prefix = Annotated[Path, AfterValidator(lambda path: path.rstrip("/"))]
Address = Annotated[Url, PlainValidator(url), forms.URL]
HeaderName = Annotated[str, BeforeValidator(fields.header_name), forms.HEADER_NAME]
HeaderValue = Annotated[str, AfterValidator(fields.header_value), forms.HEADER_VALUE]
Method = Annotated[str, PlainValidator(item(fields.method)), forms.METHOD]
Capability = Annotated[str, BeforeValidator(fields.capability), forms.CAPABILITY]
Pattern = Annotated[str, BeforeValidator(item(fields.pattern)), forms.PATTERN]
Region = Annotated[str, BeforeValidator(item(fields.region)), forms.REGION]
AnyJson = Annotated[Any, PlainValidator(fields.json_value), forms.ANY_JSON]
Retryable = Annotated[Condition, PlainValidator(item(fields.retryable)), forms.RETRYABLE]
Blaming = Annotated[Condition, PlainValidator(item(fields.blaming)), forms.BLAMING]
CallersFault = Annotated[When, PlainValidator(item(fields.when)), forms.WHEN]
Rewriting = Annotated[
    bool | frozenset[int],
    PlainValidator(fields.rewriting),
    forms.REWRITING,
]


def _credential(value: Secret) -> Secret:
    fields.header_value(value.get_secret_value())
    return value


def _optional_secret(value: object) -> object:
    # `token: "${ADMIN_TOKEN:-}"` is how a file says that there may be none.
    return None if value == "" else value


def _provider(value: object) -> str:
    return fields.one_of(value, PROVIDERS)


def _version(value: object) -> int:
    if units.whole(value) != 1:
        raise units.Unreadable("is not a version of this format (write 1)")
    return 1


Credential = Annotated[Secret, AfterValidator(_credential), forms.SECRET]
# That there is one is known, where it is not to be had; and that decides who is let in.
Token = Annotated[Credential | None, BeforeValidator(_optional_secret), StandIn("unknown-to-check")]
ProviderName = Annotated[str, BeforeValidator(_provider), forms.PROVIDER]
Version = Annotated[int, BeforeValidator(_version), forms.VERSION]


def words(*known: str) -> BeforeValidator:
    """Read one of *known*, and say which was probably meant."""
    return BeforeValidator(partial(fields.one_of, known=known))


def stranger(key: str, known: Iterable[str]) -> str:
    """Say of a key that it does not belong here, and which was probably meant."""
    return f"is not a key here{meant(key, known)}"


class Settings(BaseModel):
    """A block of the file: frozen, and without room for a key it does not know."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, arbitrary_types_allowed=True
    )

    @model_validator(mode="before")
    @classmethod
    def _known(cls, data: Any) -> Any:
        """Refuse unknown keys; put built-in values and stand-ins where a value is unknown."""
        if isinstance(data, Unknown):
            data = {name: data for name, field in cls.model_fields.items() if field.is_required()}
        if not isinstance(data, dict):
            return data
        strangers = {
            key: stranger(key, cls.model_fields) for key in data if key not in cls.model_fields
        }
        if strangers:
            raise Strangers(strangers)
        found = {name: _given(value, cls.model_fields[name]) for name, value in data.items()}
        return {name: value for name, value in found.items() if value is not _BUILT_IN}


_BUILT_IN = object()


def _given(value: Any, field: FieldInfo) -> Any:
    """Give *value*, or where it is unknown what stands in for it."""
    if not isinstance(value, Unknown):
        return value
    built_in = value if field.is_required() else _BUILT_IN
    return next((note.value for note in field.metadata if isinstance(note, StandIn)), built_in)
