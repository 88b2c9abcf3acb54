"""The pictures of the status page in docs/images: `cd tests && python -m page.pictures`.

What they show is five minutes in the life of three upstreams, lived by the real circuits in a moment.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from admin.house import House
from page.browser import browsing

from proxy import errors
from proxy.admin import steering
from proxy.testing.clock import Clock

IMAGES = Path(__file__).parents[2] / "docs" / "images"

CONFIG = """
version: 1
upstreams:
  openai: {kind: llm, provider: openai, url: "https://api.openai.com", breaker: {timeout: 45s}}
  qdrant: {kind: vectordb, provider: qdrant, url: "http://127.0.0.1:6333", breaker: {timeout: 20s}}
  local: {kind: llm, provider: openai, url: "http://127.0.0.1:11434"}
"""

PAST = 300.0
TICK = 0.25

SHOTS = {
    "status-light": {"width": 1280, "height": 900},
    "status-dark": {"width": 1280, "height": 900, "dark": True},
    "status-phone": {"width": 390, "height": 844, "dark": True},
}

DOWN = errors.LLMAPIError("openai", 503, "The engine is currently overloaded", condition=503)
SLOW = errors.TimeoutError("first byte", 15, condition="timeout")
REFUSED = errors.NetworkError("qdrant refused the connection", condition="connect")


class Life:
    """Calls at every upstream, a tick at a time; which of them fail is a matter of time and luck."""

    def __init__(self) -> None:
        self.random = Random(7)
        self.house = House(CONFIG)
        self.house.wall = Clock(time.time() - PAST)
        self.house.history.wall = self.house.wall
        self.house.history.started = self.house.wall()
        self.begun = self.house.clock()

    @property
    def now(self) -> float:
        return self.house.clock() - self.begun

    def live(self) -> None:
        self.house.view.look()
        while self.now < PAST:
            self.tick()
        flight = {"openai": 0, "qdrant": 1, "local": 3}
        for name, count in flight.items():
            self.house.metrics.upstream(name).in_flight.count = count

    def tick(self) -> None:
        broken = {
            "openai": (DOWN if self.random.random() < 0.8 else SLOW) if self.now > 185 else None,
            "qdrant": REFUSED if 95 < self.now < 150 else None,
            "local": DOWN if self.random.random() < 0.03 else None,
        }
        rates = {"openai": 9.0, "qdrant": 16.0, "local": 2.0}
        for name, rate in rates.items():
            for _ in range(self.often(rate * TICK)):
                self.call(name, broken[name])
        self.speak()
        self.house.pass_time(TICK)
        self.house.view.look()

    def often(self, mean: float) -> int:
        return int(mean + self.random.random())

    def call(self, name: str, fault: errors.OctoLLMError | None) -> None:
        house = self.house
        house.upstreams[name].budget.deposit()
        try:
            with house.breaker(name).admit() as permit:
                if fault is not None:
                    raise fault
                permit.answered()
        except errors.OctoLLMError as error:
            if isinstance(error, errors.CircuitOpenError):
                self.count(name, error, 0.001, attempts=0)
            else:
                self.count(name, error, self.random.uniform(0.8, 3), attempts=2)
        else:
            usual = {"openai": 0.7, "qdrant": 0.012, "local": 2.5}[name]
            self.count(name, None, self.random.lognormvariate(0, 0.6) * usual)

    def count(
        self, name: str, error: errors.OctoLLMError | None, seconds: float, attempts: int = 1
    ) -> None:
        code, status = ("", 200) if error is None else (error.error_code, error.status)
        self.house.metrics.upstream(name).completed(
            "POST", status, code, seconds, 0.0, attempts=attempts
        )
        if error is not None:
            self.house.history.failed(
                name,
                error,
                request_id="0",
                method="POST",
                status=error.status,
                attempts=attempts,
                seconds=seconds,
            )

    def speak(self) -> None:
        """Let the config change once, and an operator say something, at their times."""
        if self.at(40):
            self.house.history.reloaded()
        if self.at(240):
            order = steering.Order("mode", "new GPU, let us see first", 1800.0, "observe")
            steering.obey(
                order, "local", self.house.breaker("local"), self.house.history, "127.0.0.1"
            )

    def at(self, moment: float) -> bool:
        return moment <= self.now < moment + TICK


async def photograph(see: Callable[[str, bytes], object]) -> None:
    life = Life()
    life.live()
    listener = life.house.admin()
    host, port = await listener.start()
    going = asyncio.get_running_loop().create_task(go_on(life))
    try:
        async with browsing() as page:
            for name, screen in SHOTS.items():
                await page.look(**screen, scale=1.5)
                await page.open(f"http://{host}:{port}/")
                await page.see("document.querySelector('.served')?.hasAttribute('d')")
                if name != "status-phone":
                    whole = await page.ask("document.documentElement.scrollHeight")
                    await page.look(**{**screen, "height": whole}, scale=1.5)
                see(name, await page.picture())
    finally:
        going.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await going
        await listener.stop()


async def go_on(life: Life) -> None:
    while True:
        await asyncio.sleep(TICK)
        life.tick()


if __name__ == "__main__":
    asyncio.run(photograph(lambda name, png: (IMAGES / f"{name}.png").write_bytes(png)))
