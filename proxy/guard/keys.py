"""Keys that open somebody's account (`api_key`), and what vendors begin theirs with."""

import re
from collections.abc import Iterator

from proxy.guard.hit import Hit

PREFIX = (
    r"(?:(?:sk|pk|rk)[-_]|AIza|ya29\.|gsk_|xai-|hf_|r8_|pplx-|nvapi-|fw_|tgp_|jina_|pcsk_|lsv2_"
    r"|AKIA|ASIA|gh[opsu]_|github_pat_|glpat-|xox[abeprs]-)"
)
"""An expression for what the keys of the vendors we know begin with."""

_KEY = re.compile(rf"(?:(?<![A-Za-z0-9])|(?<=\\[nrtbf]))({PREFIX})([A-Za-z0-9_-]{{16,}}+)")
# What is drawn at random has digits among its letters; words have them at their ends, if at all.
_DRAWN = re.compile(r"(?<![A-Za-z0-9])(?=[A-Za-z0-9]{8})[A-Za-z]*+[0-9]++[A-Za-z]")
_AMAZON = re.compile(r"[A-Z2-7]{16}")


def keys(text: str) -> Iterator[Hit]:
    """Find what begins as a vendor's key does, and goes on as if drawn at random."""
    for found in _KEY.finditer(text):
        prefix, rest = found.groups()
        if _AMAZON.fullmatch(rest) if prefix in ("AKIA", "ASIA") else _DRAWN.search(rest):
            yield Hit(*found.span(), found[0])
