"""What goes wrong at the demo's upstreams, and when: a play that begins again when it is over.

Rule: nothing here knows the proxy. What becomes of the trouble is the proxy's doing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from proxy.testing.script import Answer, hang, reset, status
from proxy.testing.upstream import Upstream

Trouble = Callable[[Upstream, float], Awaitable[None]]

_OFTEN = 0.7
"""Seconds between two faults of an upstream that fails now and then."""


@dataclass(frozen=True, slots=True)
class Scene:
    """So many *seconds* of *trouble* at one upstream."""

    title: str
    upstream: str
    seconds: float
    trouble: Trouble


async def calm(_: Upstream, seconds: float) -> None:
    await asyncio.sleep(seconds)


async def outage(upstream: Upstream, seconds: float) -> None:
    """Refuse every connection."""
    await upstream.stop()
    await asyncio.sleep(seconds)
    await upstream.start()


async def silence(upstream: Upstream, seconds: float) -> None:
    """Take every request, and answer none."""
    upstream.always(hang())
    await asyncio.sleep(seconds)
    upstream.always(None)


def now_and_then(fault: Answer) -> Trouble:
    """Meet one call in a few with *fault*."""

    async def trouble(upstream: Upstream, seconds: float) -> None:
        for _ in range(round(seconds / _OFTEN)):
            upstream.script(fault)
            await asyncio.sleep(_OFTEN)

    return trouble


SCENES = (
    Scene("All is well.", "llm", 1.5, calm),
    Scene(
        "The LLM is overloaded: it answers some calls 503.",
        "llm",
        2.1,
        now_and_then(status(503)),
    ),
    Scene("The LLM is down: it refuses every connection.", "llm", 3.0, outage),
    Scene("The LLM is back: a probe will find out.", "llm", 1.8, calm),
    Scene(
        "The vector DB drops connections now and then.",
        "vectors",
        2.1,
        now_and_then(reset()),
    ),
    Scene("The vector DB hangs: it takes calls and answers none.", "vectors", 2.2, silence),
    Scene("The vector DB is back: a probe will find out.", "vectors", 3.2, calm),
)


async def perform(upstreams: Mapping[str, Upstream], announce: Callable[[str], None]) -> None:
    """Play every scene in turn, again and again, and *announce* each by its title."""
    while True:
        for scene in SCENES:
            announce(scene.title)
            await scene.trouble(upstreams[scene.upstream], scene.seconds)
