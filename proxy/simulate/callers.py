"""People's clients: one call, with the patience and the retries that the official SDKs have.

Source: openai-python and anthropic-sdk-python, `_base_client.py`: they ask again on 408, 409, 429,
5xx and a broken connection, unless `x-should-retry` says otherwise.
Nothing here knows who answers: *ask* may be the gateway itself, or a socket.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import Random

from proxy.simulate.record import Outcome
from proxy.simulate.scenario import Callers

_LONGEST_ASKED = 60.0
_FIRST_WAIT = 0.5
_LONGEST_WAIT = 8.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client sees; *fields* by lower-case name, *whole* is False where it was cut."""

    status: int
    fields: Mapping[str, str]
    whole: bool = True

    @property
    def good(self) -> bool:
        return self.whole and self.status < 400


async def call(ask: Callable[[], Awaitable[Answer]], habits: Callers, random: Random) -> Outcome:
    """Ask until there is an answer to be content with, or reason to give up."""
    try:
        async with asyncio.timeout(habits.patience):
            answer = await ask()
            for retry in range(habits.retries):
                if not _asks_again(answer):
                    break
                await asyncio.sleep(_wait(answer, retry, random))
                answer = await ask()
    except TimeoutError:
        return "left"
    return "served" if answer.good else "failed"


def _asks_again(answer: Answer) -> bool:
    if not answer.whole:
        return True
    said = answer.fields.get("x-should-retry")
    if said in ("true", "false"):
        return said == "true"
    return answer.status in (408, 409, 429) or answer.status >= 500


def _wait(answer: Answer, retry: int, random: Random) -> float:
    """Give the seconds before asking again: what was asked for, if that is sane, or their own."""
    asked = float(answer.fields.get("retry-after", 0))
    if 0 < asked <= _LONGEST_ASKED:
        return asked
    return min(_FIRST_WAIT * 2.0**retry, _LONGEST_WAIT) * (1 - 0.25 * random.random())
