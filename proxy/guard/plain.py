"""Text without its disguises, for looking only: what is sent keeps them.

Undone is what Unicode itself calls the same: other scripts' digits, full-width and mathematical
letters, the many dashes and blanks; and what is not seen is left out: zero-width and directional
marks, soft hyphens, variation selectors. Letters of other scripts that look
alike are letters of their own and stay.
"""

import unicodedata
from collections.abc import Callable
from functools import cache

# The digits and compatibility letters all stand below; above are ideographs and private use.
_END = 0x20000
_UNSEEN = {0x034F, 0x115F, 0x1160, 0x3164, 0xFFA0, *range(0xFE00, 0xFE10), *range(0xE0000, 0xE0FFF)}


def plain(text: str) -> tuple[str, Callable[[int], int]]:
    """Give *text* undisguised, and what tells where in *text* a place of it is."""
    if text.isascii():
        return text, int
    table = _table()
    seen = text.translate(table)
    if len(seen) == len(text):
        return seen, int
    places = [at for at, char in enumerate(text) if table.get(ord(char), char) is not None]
    return seen, places.__getitem__


@cache
def _table() -> dict[int, str | None]:
    table: dict[int, str | None] = dict.fromkeys(_UNSEEN)
    for code in range(0x80, _END):
        char = chr(code)
        kind = unicodedata.category(char)
        if kind == "Cf":
            table[code] = None
        elif kind == "Nd":
            table[code] = str(unicodedata.decimal(char))
        elif kind == "Pd" or char == "\N{MINUS SIGN}":
            table[code] = "-"
        elif kind == "Zs":
            table[code] = " "
        else:
            same = unicodedata.normalize("NFKC", char)
            if len(same) == 1 and same.isascii():
                table[code] = same
    return table
