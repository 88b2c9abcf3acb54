"""The demo's parts together: upstreams, the proxy before them, callers, and somebody who tells.

The proxy is the real one, and it is watched as an operator would watch it: its log comes through a
pipe, at level debug, and no line of it gets between the lines of the picture.
"""

import asyncio
import io
import json
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TextIO

from proxy.app import Proxy
from proxy.config.load import load
from proxy.demo import picture, scenes, traffic
from proxy.demo.picture import Places
from proxy.demo.story import Story, Told
from proxy.observe import logs
from proxy.testing.upstream import Upstream

CONFIG = Path(__file__).with_name("demo.yaml")

_REDRAW = 0.25

# The alternate screen leaves what was on the terminal untouched; the cursor would only flicker.
_ENTER = "\x1b[?1049h\x1b[?25l\x1b[2J"
_LEAVE = "\x1b[?25h\x1b[?1049l"


def run(out: TextIO, seconds: float | None = None) -> None:
    """Run the demo until SIGINT or SIGTERM, or for so many *seconds*."""
    if isinstance(out, io.TextIOWrapper):
        out.reconfigure(errors="replace")  # a terminal without our signs gets question marks
    asyncio.run(_run(out, seconds))


async def _run(out: TextIO, seconds: float | None) -> None:
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    await play(out, told, seconds)


async def play(out: TextIO, told: asyncio.Event, seconds: float | None = None) -> None:
    """Play until *told* to end, or for so many *seconds*, and tell *out* about it.

    A terminal gets a picture that is redrawn in place; anything else a line for each event.
    """
    async with Upstream() as llm, Upstream() as vectors, _log() as log:
        upstreams = {"llm": llm, "vectors": vectors}
        live = out.isatty() and os.environ.get("TERM") != "dumb"

        def tell(sentence: Told) -> None:
            if not live:
                _say(out, f"{picture.sentence(sentence)}\n")

        async with _started(upstreams) as (proxy, places):
            if not live:
                _say(out, "\n".join(("octollm-proxy demo", "", *places.lines, "", "")))
            story = Story(upstreams, asyncio.get_running_loop().time, tell)
            parts: list[Coroutine[Any, Any, object]] = [
                _listen(log, story),
                scenes.perform(upstreams, story.announce),
                traffic.call_on(places.data),
                told.wait(),
            ]
            if live:
                parts.append(_draw(out, story, proxy, places))
            await _together(parts, seconds)
    _say(out, f"\n{picture.ending(story)}\n")


async def _together(parts: Sequence[Coroutine[Any, Any, object]], seconds: float | None) -> None:
    """Run *parts* until one ends, or so many *seconds* are over."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        ended, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()  # a part that failed, as a pipe nobody reads does, ends the demo
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def _started(upstreams: Mapping[str, Upstream]) -> AsyncIterator[tuple[Proxy, Places]]:
    """Start the proxy before *upstreams*; where its ports are taken, on others."""
    where = {f"DEMO_{name.upper()}_URL": upstream.url for name, upstream in upstreams.items()}
    env = {**os.environ, **where}
    notice = ""
    proxy = Proxy(load(CONFIG, env))
    try:
        await proxy.start()
    except OSError:
        notice = "(its usual ports are not free, so the system chose these)"
        proxy = Proxy(load(CONFIG, {**env, "DEMO_PORT": "0", "DEMO_ADMIN_PORT": "0"}))
        await proxy.start()
    try:
        yield proxy, Places(proxy.addresses[""], proxy.addresses["admin"], notice)
    finally:
        await proxy.stop()


@asynccontextmanager
async def _log() -> AsyncIterator[asyncio.StreamReader]:
    """Give every line that the proxy logs meanwhile."""
    read, write = os.pipe()
    lines = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), os.fdopen(read, "rb", buffering=0)
    )
    with os.fdopen(write, "wb", buffering=0) as stream:
        logs.configure("debug", "json", stream)
        try:
            yield lines
        finally:
            logs.close()
            transport.close()


async def _listen(log: asyncio.StreamReader, story: Story) -> None:
    async for line in log:
        story.hear(json.loads(line))


async def _draw(out: TextIO, story: Story, proxy: Proxy, places: Places) -> None:
    colour = not os.environ.get("NO_COLOR")
    _say(out, _ENTER)
    try:
        while True:
            drawn = picture.frame(
                story,
                proxy.gateway.runtime.breakers(),
                places,
                time.time(),
                shutil.get_terminal_size(),
                colour=colour,
            )
            _say(out, "\x1b[H" + drawn.replace("\n", "\x1b[K\r\n") + "\x1b[K\x1b[J")
            await asyncio.sleep(_REDRAW)
    finally:
        _say(out, _LEAVE)


def _say(out: TextIO, text: str) -> None:
    out.write(text)
    out.flush()
