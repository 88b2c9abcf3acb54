"""What a pattern found, and where in a text a candidate may begin. Nothing here is a pattern."""

from collections.abc import Callable, Iterable
from typing import NamedTuple


class Hit(NamedTuple):
    """`text[start:end]` says *value*, which is the same however it was written."""

    start: int
    end: int
    value: str


Finder = Callable[[str], Iterable[Hit]]
"""Gives the hits of one pattern in a text, in order, in time linear in the text."""


WORD = "0-9A-Za-z_"
"""What a number is not glued to. Letters of other scripts may be: Japanese has no blanks."""


def begins(taken: str = WORD, read: int = 1) -> str:
    r"""Hold that no character of *taken* stands before the *read* characters just read.

    It stands behind the first characters of an expression, because one that begins with characters
    is searched for faster. A tool call's arguments are JSON within a string: in `\n4111…` the `n`
    belongs to the line's end, and is neither the number's beginning nor what stands before it.
    """
    return (
        rf"(?<!\\[nrtbf].{{{read - 1}}})"
        rf"(?:(?<![{taken}].{{{read}}})|(?<=\\[nrtbf].{{{read}}}))"
    )
