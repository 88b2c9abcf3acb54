"""A real headless Chromium, over its DevTools protocol: no more of it than the tests need."""

import asyncio
import base64
import itertools
import json
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

_PATIENCE = 30.0

_SWITCHES = (
    "--headless=new",
    "--remote-debugging-port=0",
    "--no-first-run",
    "--no-sandbox",  # it refuses to run as root otherwise, and it only sees our own page
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
    "--mute-audio",
)


class Page:
    """One tab; `complaints` is all that its console, its scripts and its policies had to say."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self.complaints: list[str] = []
        self._reading = asyncio.get_running_loop().create_task(self._read())

    async def command(self, method: str, **parameters: Any) -> Any:
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        return await asyncio.wait_for(answer, _PATIENCE)

    async def begin(self) -> None:
        for domain in ("Page", "Runtime", "Log", "Accessibility"):
            await self.command(f"{domain}.enable")

    async def open(self, url: str) -> None:
        await self.command("Page.navigate", url=url)

    async def ask(self, script: str) -> Any:
        """Evaluate a script, awaited if it is a promise, and give its value as JSON."""
        told = await self.command(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in told:
            raise AssertionError(told["exceptionDetails"])
        return told["result"].get("value")

    async def see(self, script: str) -> Any:
        """Wait until a script's value is truthy."""
        async with asyncio.timeout(_PATIENCE):
            while not (value := await self._asked(script)):  # noqa: ASYNC110 -- another process
                await asyncio.sleep(0.05)
        return value

    async def _asked(self, script: str) -> Any:
        try:
            return await self.ask(script)
        except AssertionError:
            return None  # the page is not there yet

    async def press(self, key: str) -> None:
        codes = {"Tab": 9, "Enter": 13, "Escape": 27}
        facts: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
        if key == "Enter":
            facts["text"] = "\r"
        await self.command("Input.dispatchKeyEvent", type="keyDown", **facts)
        await self.command("Input.dispatchKeyEvent", type="keyUp", **facts)

    async def write(self, text: str) -> None:
        await self.command("Input.insertText", text=text)

    async def click(self, selector: str) -> None:
        """Click with the mouse, where the element is."""
        place = await self.see(
            f"(() => {{const e = document.querySelector({json.dumps(selector)}); if (!e) return;"
            " e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();"
            " return r.width && [r.x + r.width / 2, r.y + r.height / 2];})()"
        )
        where = {"x": place[0], "y": place[1], "button": "left", "clickCount": 1}
        await self.command("Input.dispatchMouseEvent", type="mousePressed", **where)
        await self.command("Input.dispatchMouseEvent", type="mouseReleased", **where)

    async def look(self, width: int, height: int, *, dark: bool = False, scale: float = 1) -> None:
        """Be a screen of this size, whose owner prefers light or dark."""
        await self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.command("Emulation.setEmulatedMedia", features=[scheme])

    async def picture(self) -> bytes:
        told = await self.command("Page.captureScreenshot", format="png")
        return base64.b64decode(told["data"])

    async def aclose(self) -> None:
        """End the whole browser, its children included."""
        await self._socket.send_json({"id": next(self._numbers), "method": "Browser.close"})
        await asyncio.wait((self._reading,), timeout=_PATIENCE)
        await self._socket.close()

    async def _read(self) -> None:
        async for message in self._socket:
            told = json.loads(message.data)
            if "id" in told:
                self._resolve(told)
            elif told["method"] == "Runtime.consoleAPICalled":
                arguments = told["params"]["args"]
                self.complaints.append(str([one.get("value") for one in arguments]))
            elif told["method"] == "Runtime.exceptionThrown":
                self.complaints.append(str(told["params"]["exceptionDetails"]))
            elif told["method"] == "Log.entryAdded":
                self._note(told["params"]["entry"])

    def _note(self, entry: dict[str, Any]) -> None:
        # That a request was refused, or nobody there, is what some tests are about.
        if entry["source"] != "network":
            self.complaints.append(entry["text"])

    def _resolve(self, told: dict[str, Any]) -> None:
        answer = self._waiting.pop(told["id"], None)
        if answer is None or answer.done():
            return
        if "error" in told:
            answer.set_exception(AssertionError(told["error"]))
        else:
            answer.set_result(told["result"])


@asynccontextmanager
async def browsing() -> AsyncIterator[Page]:
    """Start a Chromium of our own, with an empty profile, and give its tab."""
    assert CHROMIUM is not None
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            CHROMIUM,
            *_SWITCHES,
            f"--user-data-dir={profile}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        try:
            port = await asyncio.wait_for(_port(process.stderr), _PATIENCE)
            # What it says further must go somewhere, or it would stand still.
            draining = asyncio.get_running_loop().create_task(process.stderr.read())
            async with aiohttp.ClientSession() as session:
                url = f"http://127.0.0.1:{port}/json/list"
                async with session.get(url) as response:
                    tabs = await response.json()
                tab = next(tab for tab in tabs if tab["type"] == "page")
                socket = await session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0)
                page = Page(socket)
                await page.begin()
                try:
                    yield page
                finally:
                    await page.aclose()
        finally:
            await _ended(process)
        await draining


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Wait for the end that it was told of, or make one."""
    try:
        await asyncio.wait_for(process.wait(), 5.0)
    except TimeoutError:
        process.kill()
        await process.wait()


async def _port(stderr: asyncio.StreamReader) -> int:
    async for line in stderr:
        found = re.search(rb"DevTools listening on ws://127\.0\.0\.1:(\d+)/", line)
        if found:
            return int(found[1])
    raise AssertionError("Chromium ended before it listened")
