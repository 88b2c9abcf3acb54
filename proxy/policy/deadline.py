"""One point in time by which the whole request is over, and whose fault it is when that passes.

Nothing here reads a clock or waits. A caller may shorten its deadline, never lengthen it.
"""

import math
from typing import Literal

from proxy import errors
from proxy.config import units

# The share of the whole time that counts as all of it: what goes before a first attempt (routing,
# a queue) is no reason to excuse an upstream that then said nothing for minutes.
_ALL_OF_IT = 0.95


class Deadline:
    """The end of a request: *total* seconds after it *began*, or *caller* seconds if that is less.

    None is no limit. *at* is a point in time, None where nothing limits; *by* says who set it.
    """

    __slots__ = ("at", "began", "by")

    at: float | None
    by: Literal["policy", "caller"] | None

    def __init__(self, began: float, total: float | None, caller: float | None = None) -> None:
        self.began = began
        if caller is not None and (total is None or caller < total):
            self.at, self.by = began + caller, "caller"
        elif total is not None:
            self.at, self.by = began + total, "policy"
        else:
            self.at, self.by = None, None

    def remaining(self, now: float) -> float | None:
        """Give the seconds left, 0 when it has passed; None where nothing limits."""
        return None if self.at is None else max(0.0, self.at - now)

    def blames_upstream(self, attempt_began: float) -> bool:
        """Say whether its passing is the fault of the upstream, in an attempt that began then.

        Only if the policy set it and the attempt had as good as all of it: an upstream that was
        given what others, or the caller's haste, had left over did nothing wrong.
        """
        if self.at is None or self.by == "caller":
            return False
        return self.at - attempt_began >= _ALL_OF_IT * (self.at - self.began)


def wish(own: str | None, sdk: str | None) -> float | None:
    """Read how long the caller wants to wait, in seconds; None if it did not say.

    *own* is `X-OctoLLM-Timeout`, written as in the config, and must make sense (ValidationError).
    *sdk* is `x-stainless-read-timeout`, which a library sends unasked: nonsense is not there.
    """
    if own is not None:
        return _own(own)
    return None if sdk is None else _sdk(sdk)


def _own(text: str) -> float:
    try:
        seconds = units.duration(text.strip())
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise errors.ValidationError(
            "X-OctoLLM-Timeout must be a duration above zero, such as 20s or 250ms",
            field="X-OctoLLM-Timeout",
        )
    return seconds


def _sdk(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    if not (math.isfinite(seconds) and seconds > 0):
        return None
    # A second for our answer to arrive before the library stops listening; of two, the half.
    return max(seconds - 1, seconds / 2)
