"""Telephone numbers (`phone`). The door to phonenumbers, whose matcher judges.

A number with its country's code (`+44 …`) is known everywhere. One without is looked for as the
given regions write it, and only if written in groups: ten digits in one piece are an order, an
account or a time as often.
"""

import re
from collections.abc import Iterable, Iterator

from phonenumbers import PhoneNumberFormat, PhoneNumberMatcher, format_number

from proxy.guard.hit import Finder, Hit, begins

# The matcher's time grows faster than its text. So it is shown what may be a number and no more;
# longer rows of digits, of which there are tables, are shown in pieces.
_ROW = re.compile(rf"[+(0-9]{begins()}[0-9 ()./-]{{6,48}}+")
_BEHIND = 8
"""Characters behind a row that tell more: an extension, or the rest of a word or of a time."""
_ONE_PIECE = re.compile(r"[0-9]*+\.?[0-9]*+")
_DATE = re.compile(
    r"(?<![0-9])(?:[12][0-9]{3}([-/.])[0-9]{1,2}\1[0-9]{1,2}"
    r"|[0-9]{1,2}([-/.])[0-9]{1,2}\2[12][0-9]{3})(?![0-9])"
)
_GROUP = re.compile(r"[0-9]++")
_GROUPS = 6
"""Groups of digits that a number is written in at most; more are a list of small ones."""
_NO_REGION = ("ZZ",)


def phones(regions: Iterable[str]) -> Finder:
    """Make a finder for numbers of the world, and of *regions* (`US`, `DE`) as written there."""
    regions = tuple(regions)

    def find(text: str) -> Iterator[Hit]:
        for row in _ROW.finditer(text):
            start, end = row.span()
            if row[0][0] == "+":
                yield from _within(text, start, end, _NO_REGION)
            elif not _ONE_PIECE.fullmatch(row[0].strip()):
                yield from _within(text, start, end, regions)

    return find


def _within(text: str, start: int, end: int, regions: tuple[str, ...]) -> Iterator[Hit]:
    # A date and what stands beside it can be read as a number.
    shown = _DATE.sub(lambda date: "_" * len(date[0]), text[start : end + _BEHIND])
    for region in regions:
        for found in PhoneNumberMatcher(shown, region):
            at = start + found.start
            if at < end and _is_written(found.raw_string):
                # The matcher takes a bracket along that closes behind the number, or never.
                if found.raw_string.startswith("(") and ")" not in found.raw_string:
                    at += 1
                number = format_number(found.number, PhoneNumberFormat.E164)
                yield Hit(at, start + found.end, number)


def _is_written(number: str) -> bool:
    """Whether somebody who writes a number for another to call would write it so."""
    if number.startswith("+"):
        return True
    return not _ONE_PIECE.fullmatch(number) and len(_GROUP.findall(number)) <= _GROUPS
