"""Which patterns there are, and what counts where two of them meet.

Nothing here knows where a text stands, or what becomes of what is found.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from proxy.guard.addresses import emails, machines
from proxy.guard.hit import Finder
from proxy.guard.keys import keys
from proxy.guard.numbers import accounts, cards, social_security
from proxy.guard.phones import phones
from proxy.guard.plain import plain

PATTERNS: dict[str, Callable[[Iterable[str]], Finder]] = {
    "api_key": lambda _regions: keys,
    "iban": lambda _regions: accounts,
    "credit_card": lambda _regions: cards,
    "us_ssn": lambda _regions: social_security,
    "email": lambda _regions: emails,
    "ip": lambda _regions: machines,
    "phone": phones,
}
"""Makes the finder of each pattern, the most specific first."""

_SHORTEST = 6
"""Characters of the shortest that any pattern finds: `a@b.co`."""


class Finding(NamedTuple):
    """`text[start:end]` holds *value*, which is written the same however it stood there."""

    start: int
    end: int
    pattern: str
    value: str


class Recogniser:
    """Finds the given patterns in texts."""

    def __init__(self, patterns: Iterable[str], regions: Iterable[str]) -> None:
        wanted, regions = frozenset(patterns), tuple(regions)
        self._finders = [(name, make(regions)) for name, make in PATTERNS.items() if name in wanted]

    def find(self, text: str) -> list[Finding]:
        """Give what *text* holds, in order; where findings overlap they are one.

        It bears the name of the longest of them, and of equally long ones the most specific's.
        """
        if len(text) < _SHORTEST:
            return []
        seen, place = plain(text)
        found = [
            Finding(place(hit.start), place(hit.end - 1) + 1, name, hit.value)
            for name, finder in self._finders
            for hit in finder(seen)
        ]
        # Sorting keeps the order of the patterns where two begin and end alike.
        found.sort(key=lambda finding: (finding.start, -finding.end))
        apart: list[Finding] = []
        for finding in found:
            if apart and finding.start < apart[-1].end:
                apart[-1] = _joined(apart[-1], finding)
            else:
                apart.append(finding)
        return apart


def _joined(first: Finding, second: Finding) -> Finding:
    # What stands out on either side is personal too, and must not stay behind.
    longer = max(first, second, key=lambda finding: finding.end - finding.start)
    return longer._replace(start=first.start, end=max(first.end, second.end))
