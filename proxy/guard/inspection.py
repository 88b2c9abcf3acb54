"""A body, inspected under one upstream's settings: refused, sent as it is, or with marks in it.

Nothing here knows what a pattern looks like (`patterns`), nor how JSON is written (`document`).
Only what goes out is inspected; answers are not.
"""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from typing import Literal, NamedTuple

from proxy.errors import PiiDetectedError, ValidationErrors
from proxy.guard import document
from proxy.guard.patterns import PATTERNS, Finding, Recogniser

TOLD = 100
"""Places that an error names; its counts are of all."""

# A picture within a message. Only what can be nothing else is passed over.
_PICTURE = re.compile(r"data:[a-z]++/[a-z0-9.+-]++;base64,[A-Za-z0-9+/_-]*+={0,2}", re.IGNORECASE)


class Inspected(NamedTuple):
    """What to send, and how often each pattern was found in what came."""

    body: bytes
    found: Mapping[str, int]


class Guard:
    """What the bodies of one upstream's requests are held to.

    It keeps nothing of them, so threads may share it.
    """

    def __init__(
        self,
        *,
        pii: Literal["block", "redact", "report"] | None,
        patterns: Iterable[str] = tuple(PATTERNS),
        fields: Collection[str] = ("messages", "input", "prompt"),
        phone_regions: Iterable[str] = ("US",),
        max_prompt_chars: int | None = None,
    ) -> None:
        self._pii = pii
        self._recogniser = Recogniser(patterns if pii else (), phone_regions)
        self._fields = ", ".join(fields)
        # Some servers, all that are written in Go, take `Messages` for `messages`.
        self._looked_into = frozenset(field.casefold() for field in fields)
        self._max_prompt_chars = max_prompt_chars

    def inspect(self, body: bytes) -> Inspected:
        """Give the body to send; the very same, if there was nothing to replace.

        Raises ValidationErrors where *body* is not JSON or its prompt is too long, and
        PiiDetectedError, with every place at once, where what was found may not go out.
        """
        text, literals = _read(body)
        prompt = [literal for literal in literals if self._belongs(literal)]
        self._measure(prompt)

        found = [(literal, self._recogniser.find(literal.value)) for literal in prompt]
        found = [(literal, findings) for literal, findings in found if findings]
        counts = Counter(finding.pattern for _, findings in found for finding in findings)
        if counts and self._pii == "block":
            raise _refusal(found, counts)
        if counts and self._pii == "redact":
            body = _redacted(text, found)
        return Inspected(body, counts)

    def _belongs(self, literal: document.Literal) -> bool:
        """Whether a string is part of the prompt; of a body that is no object, each is."""
        if isinstance(literal.top, str):
            if literal.top.casefold() not in self._looked_into:
                return False
            if literal.name and literal.place and literal.place.within is None:
                return False
        return not _PICTURE.fullmatch(literal.value)

    def _measure(self, prompt: list[document.Literal]) -> None:
        longest = self._max_prompt_chars
        length = sum(len(literal.value) for literal in prompt if not literal.name)
        if longest is not None and length > longest:
            message = f"has {length} characters, and at most {longest} are accepted"
            raise ValidationErrors([{"field": self._fields, "message": message}])


Found = list[tuple[document.Literal, list[Finding]]]


def _read(body: bytes) -> tuple[str, list[document.Literal]]:
    try:
        text = body.decode()
        return text, list(document.strings(text))
    except UnicodeDecodeError as error:
        fault = f"is not JSON: expected UTF-8 at byte {error.start}"
    except document.Malformed as error:
        fault = f"is not JSON: {error}"
    raise ValidationErrors([{"field": "body", "message": fault}])


def _refusal(found: Found, counts: Counter[str]) -> PiiDetectedError:
    places = {
        (finding.pattern, path): None
        for path, findings in ((document.shown(each.place), own) for each, own in found[:TOLD])
        for finding in findings
    }
    told = [{"pattern": pattern, "path": path} for pattern, path in islice(places, TOLD)]
    first, others = told[0], counts.total() - 1
    more = f" and {others} more" if others else ""
    return PiiDetectedError(
        f"the request holds personal data: {first['pattern']} in {first['path']}{more}",
        details={"found": told, "counts": dict(counts)},
    )


def _redacted(text: str, found: Found) -> bytes:
    """Put marks for what was found; the same value has the same mark throughout the request."""
    marks: dict[tuple[str, str], str] = {}
    given: Counter[str] = Counter()

    def mark(finding: Finding) -> str:
        of = (finding.pattern, finding.value)
        if of not in marks:
            given[finding.pattern] += 1
            marks[of] = f"[{finding.pattern.upper()}_{given[finding.pattern]}]"
        return marks[of]

    def rewritten(literal: document.Literal, findings: list[Finding]) -> str:
        value = _spliced(literal.value, ((each.start, each.end, mark(each)) for each in findings))
        return json.dumps(value, ensure_ascii=False)

    body = _spliced(text, ((each.start, each.end, rewritten(each, own)) for each, own in found))
    # Half of a surrogate pair can only have come from an escape, and becomes one again.
    return body.encode(errors="backslashreplace")


def _spliced(text: str, changes: Iterable[tuple[int, int, str]]) -> str:
    """Give *text* with other words where *changes*, which are in order, say so."""
    pieces: list[str] = []
    past = 0
    for start, end, instead in changes:
        pieces += text[past:start], instead
        past = end
    return "".join((*pieces, text[past:]))
