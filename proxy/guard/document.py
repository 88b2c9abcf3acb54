"""Where the strings of a JSON text stand. Nothing here knows what is looked for in them.

The text is walked and not loaded, so that what is not replaced stays as it was to the byte: long
integers, the spelling of floats, names that come twice, order and blanks. The walk is a loop with
a stack of bounded depth, so that no nesting exhausts anything.
"""

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

DEPTH = 128
"""Containers within containers."""

Step = str | int
"""The name of a member, or the number of an item."""

_CLOSING = {"{": "}", "[": "]"}
_read = json.JSONDecoder().raw_decode
_BLANK = re.compile(r"[ \t\n\r]*+")
_PLAIN = r"(?:-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+|true|false|null)"
_SCALAR = re.compile(_PLAIN)
# Embeddings may be asked for with long lists of numbers; they are passed over in one step.
_ROW = re.compile(rf"(?:{_PLAIN}[ \t\n\r]*+,[ \t\n\r]*+)++")
_SHOWN = re.compile(r"[A-Za-z_]{1,32}[0-9]{0,2}")


class Malformed(ValueError):  # noqa: N818 -- a fact about the text
    """The text is not JSON; says what was expected at which character, and not what stood there."""


class Place(NamedTuple):
    """Where a value stands: at *step* of a container, which stands somewhere itself.

    Values beside each other share what is above them. Written out, the places of a million hostile
    bytes would take hundreds.
    """

    within: "Place | None"
    step: Step


class Literal(NamedTuple):
    """`text[start:end]` is a string with its quotes, and *value* what it means.

    *top* is the first step of its place; the text's only value has neither. A string may be the
    *name* of a member; its place is then the member's.
    """

    start: int
    end: int
    value: str
    place: Place | None
    top: Step | None
    name: bool = False


def strings(text: str) -> Iterator[Literal]:
    """Give every string of *text* in order, names of members too; raise Malformed where it ends.

    Malformed is all that RFC 8259 does not allow (NaN, a control character within a string, a last
    comma), because another reader might make something else of it.
    """
    # The place of this value, below it those of the containers it is in.
    places: list[Place] = []
    at = _past_blanks(text, 0)
    while True:
        # Each turn reads one value, and before it the name that a member of an object has.
        within, step = places[-1] if places else (None, None)
        if isinstance(step, str):
            start = at
            name, at = _string(text, start)
            places[-1] = Place(within, name)
            yield Literal(start, at, name, places[-1], places[0].step, name=True)
            at = _past_mark(text, _past_blanks(text, at), ":")
        elif isinstance(step, int) and (row := _ROW.match(text, at)):
            places[-1] = Place(within, step + text.count(",", at, row.end()))
            at = row.end()

        opening = text[at : at + 1]
        if opening in _CLOSING:
            at = _past_blanks(text, at + 1)
            if text[at : at + 1] != _CLOSING[opening]:
                if len(places) == DEPTH:
                    raise Malformed(f"expected at most {DEPTH} levels at character {at}")
                first = "" if opening == "{" else 0
                places.append(Place(places[-1] if places else None, first))
                continue
            at += 1
        elif opening == '"':
            start = at
            value, at = _string(text, start)
            place, top = (places[-1], places[0].step) if places else (None, None)
            yield Literal(start, at, value, place, top)
        else:
            at = _past_scalar(text, at)

        at = _past_blanks(text, at)
        while places and text[at : at + 1] == ("]" if isinstance(places[-1].step, int) else "}"):
            places.pop()
            at = _past_blanks(text, at + 1)
        if not places:
            break
        within, step = places[-1]
        if isinstance(step, int):
            places[-1] = Place(within, step + 1)
        at = _past_mark(text, at, ",")
    if at != len(text):
        raise Malformed(f"expected nothing more at character {at}")


def _string(text: str, at: int) -> tuple[str, int]:
    if text[at : at + 1] != '"':
        raise Malformed(f"expected a string at character {at}")
    try:
        value, end = _read(text, at)
    except json.JSONDecodeError:
        raise Malformed(f"expected a string that is whole at character {at}") from None
    return value, end


def _past_scalar(text: str, at: int) -> int:
    found = _SCALAR.match(text, at)
    if found is None:
        raise Malformed(f"expected a value at character {at}")
    return found.end()


def _past_mark(text: str, at: int, mark: str) -> int:
    if text[at : at + 1] != mark:
        raise Malformed(f"expected {mark!r} at character {at}")
    return _past_blanks(text, at + 1)


def _past_blanks(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found else at


def shown(place: Place | None) -> str:
    """Write *place* as `messages[2].content`; a name that is not a plain one as `*`.

    Whatever has a name may have a person's, or an account's number, for its name.
    """
    told = ""
    while place is not None:
        if isinstance(place.step, int):
            told = f"[{place.step}]{told}"
        else:
            told = f".{place.step if _SHOWN.fullmatch(place.step) else '*'}{told}"
        place = place.within
    return told.removeprefix(".")
