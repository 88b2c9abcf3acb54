"""All of it together: callers who come, the real gateway, and the made-up wire behind it.

Time is virtual and chance has a seed, so the same config, scenario and seed give the same record.
"""

import asyncio
from random import Random

from proxy.cache.cache import Cache
from proxy.cache.caches import Caches, Place
from proxy.config import schema
from proxy.gateway.forward import Gateway
from proxy.gateway.runtime import Runtime, Surroundings
from proxy.observe.history import History
from proxy.simulate import callers, world
from proxy.simulate.callers import Answer
from proxy.simulate.record import Call, Record, Watched
from proxy.simulate.scenario import Scenario
from proxy.simulate.wire import Wire
from proxy.testing.clock import VirtualLoop
from proxy.wire.body import Whole
from proxy.wire.message import Headers, Request
from proxy.wire.tunnel import Line

EPOCH = 1_700_000_000.0
"""What the wall's clock says when a scenario begins; any date would do, as long as it stays."""

ASKED = {
    "openai": ("POST", "/v1/chat/completions"),
    "anthropic": ("POST", "/v1/messages"),
    "qdrant": ("POST", "/collections/c/points/search"),
    "chroma": ("POST", "/api/v2/tenants/t/databases/d/collections/c/query"),
    "weaviate": ("POST", "/v1/graphql"),
    "pinecone": ("POST", "/query"),
    "milvus": ("POST", "/v2/vectordb/entities/search"),
    "elasticsearch": ("POST", "/c/_search"),
    "opensearch": ("POST", "/c/_search"),
}
"""What is asked of each provider: the call that people make most."""

_OTHERWISE = {"llm": ASKED["openai"]}
_PLAIN = ("GET", "/")

_BODY = b'{"simulated": true}'

# All ask the same, so that a cache would answer nearly everybody.
_HEADERS = ((b"Cache-Control", b"no-store"),)


def play(
    config: schema.Config, name: str, scenario: Scenario, seed: int, pool: str | None = None
) -> Record:
    """Let *scenario* happen to the upstream called *name*; every other one stays well.

    It is asked by its own name, or as a member of *pool*.
    """
    # Callers know the token, if there is one; a simulation has nothing to keep from anybody.
    listen = config.listen.model_copy(update={"token": None})
    config = config.model_copy(update={"listen": listen})
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_play(config, name, scenario, seed, pool or name))


async def _play(
    config: schema.Config, name: str, scenario: Scenario, seed: int, asked: str
) -> Record:
    loop = asyncio.get_running_loop()
    record = Record(loop.time())
    gateway = Gateway(_runtime(config, name, scenario, seed, record, asked=asked))
    upstream = config.upstreams[name]
    method, path = ASKED.get(upstream.provider, _OTHERWISE.get(upstream.kind, _PLAIN))
    # Each has a chance of its own: what one config does changes no caller's coming.
    chance = _chance(seed, "callers")

    async def ask() -> Answer:
        answer = await _ask(gateway, method, f"/{asked}{path}")
        if answer.good and answer.fields.get("x-octollm-upstream", name) != name:
            record.elsewhere += 1
        return answer

    async def one() -> None:
        began = record.since(loop.time())
        outcome = await callers.call(ask, scenario.callers, chance)
        record.calls.append(Call(began, record.since(loop.time()), outcome))

    async with asyncio.TaskGroup() as everybody:
        for at in world.arrivals(scenario, _chance(seed, "arrivals")):
            await asyncio.sleep(record.began + at - loop.time())
            everybody.create_task(one())
    return record


def _chance(seed: int, purpose: str) -> Random:
    return Random(f"{seed} {purpose}")


def _runtime(
    config: schema.Config,
    name: str,
    scenario: Scenario,
    seed: int,
    record: Record,
    *,
    asked: str,
) -> Runtime:
    loop = asyncio.get_running_loop()
    well = scenario.model_copy(update={"failures": ()})
    chance = _chance(seed, "upstream")

    def wall() -> float:
        return EPOCH + record.since(loop.time())

    def connect(settings: schema.Upstream) -> Wire:
        if settings.name == name:
            return Wire(settings, scenario, record, chance)
        return Wire(settings, well, Record(record.began), _chance(seed, settings.name))

    metrics = Watched({name, asked}, record, loop.time)
    return Runtime(
        config,
        Surroundings(
            clock=loop.time,
            wall=wall,
            stopwatch=loop.time,
            random=_chance(seed, "gateway"),
            metrics=metrics,
            history=History(metrics, loop.time, wall),
            connect=connect,
            caches=_Local(loop.time, wall, lambda _: None),
        ),
    )


class _Local(Caches):
    """Keeps answers here alone: no Redis is contacted."""

    def at(self, place: Place) -> Cache:
        return super().at(place._replace(redis=None))


async def _ask(gateway: Gateway, method: str, target: str) -> Answer:
    body = _Upload() if method == "POST" else None
    now = asyncio.get_running_loop().time()
    reply = _Reply()
    await gateway.handle(Request(method, target, (1, 1), _HEADERS, body, "127.0.0.1", now), reply)
    return reply.answer


class _Upload(Whole):
    """A request's body, sent in one piece."""

    def __init__(self) -> None:
        super().__init__(_BODY)
        self.idle: float | None = None


class _Reply:
    """The caller's end of a connection, of which only what a client sees is kept."""

    congested = False

    def __init__(self) -> None:
        self.started = False
        self.answer = Answer(0, {}, whole=False)

    def send(self, status: int, headers: Headers, body: bytes = b"") -> None:
        self.start(status, headers, len(body))
        self.finish()

    def interim(self, status: int, headers: Headers) -> None:
        pass

    def start(self, status: int, headers: Headers, length: int | None) -> None:  # noqa: ARG002 -- the seam's
        self.started = True
        fields = {name.decode().lower(): value.decode("latin-1") for name, value in headers}
        self.answer = Answer(status, fields, whole=False)

    def write(self, data: bytes) -> None:
        pass

    def flush(self) -> None:
        pass

    async def drain(self) -> None:
        pass

    def finish(self) -> None:
        self.answer = Answer(self.answer.status, self.answer.fields)

    def switch(self, headers: Headers) -> Line:
        raise NotImplementedError("nobody asks for a WebSocket here")

    def abort(self) -> None:
        pass
