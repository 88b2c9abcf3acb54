"""One proxy process in front of one scripted upstream, for every test of an SDK in this folder."""

import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from clients.kits import KITS, QUESTION, Kit, Reach
from clients.running import Served, settled

from proxy.testing.upstream import Upstream

HASTY = "{idle: 300ms, stream_total: 1s}"
CONFIG = """
version: 1
listen: {{port: 0}}
admin: {{port: 0}}
log: {{format: json}}
defaults:
  retry: {{base_delay: 10ms, budget: {{min_per_second: 1000}}}}
  breaker: {{mode: disabled}}
  limits: {{throttle: false}}     # what one test is told is nothing to the next
upstreams:
  openai: {{kind: llm, provider: openai, url: "{up}"}}
  anthropic: {{kind: llm, provider: anthropic, url: "{up}"}}
  openai-hasty: {{kind: llm, provider: openai, url: "{up}", timeouts: {hasty}}}
  anthropic-hasty: {{kind: llm, provider: anthropic, url: "{up}", timeouts: {hasty}}}
  untouched: {{kind: llm, url: "{up}", rewrite_client_errors: false}}
  refusing: {{kind: llm, url: "{refusing}"}}
  fragile: {{kind: llm, url: "{up}", breaker: {{mode: enforce, failure_threshold: 1}}}}
"""


@pytest.fixture(scope="session", autouse=True)
def _directly() -> Iterator[None]:
    """The clients read these, and would look for our loopback addresses behind another proxy."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            patch.delenv(name, raising=False)
            patch.delenv(name.upper(), raising=False)
        yield


@pytest.fixture(scope="session")
def everyones() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream
    assert upstream.faults == []


@pytest.fixture
def upstream(everyones: Upstream) -> Upstream:
    """The scripted upstream, as if nobody had asked it anything."""
    everyones.always(None)
    everyones.seen.clear()
    return everyones


@pytest.fixture(scope="session")
def served(everyones: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    config: Path = tmp_path_factory.mktemp("proxy") / "proxy.yaml"
    with socket.socket() as refusing:
        refusing.bind(("127.0.0.1", 0))  # ours, and never listening: whoever connects is refused
        address = f"http://127.0.0.1:{refusing.getsockname()[1]}"
        config.write_text(CONFIG.format(up=everyones.url, refusing=address, hasty=HASTY))
        with Served(config) as proxy:
            yield proxy


@pytest.fixture(params=KITS, ids=lambda kit: kit.name)
def kit(request: pytest.FixtureRequest) -> Kit:
    return request.param


@pytest.fixture(params=["sync", "async"])
async def reach(request: pytest.FixtureRequest, kit: Kit) -> AsyncIterator[Reach]:
    """Make clients of one kit, and close them: `reach(url, **options)`."""
    names = {"openai": "OpenAI", "anthropic": "Anthropic"}
    maker = getattr(kit.module, ("Async" if request.param == "async" else "") + names[kit.name])
    opened = []

    def client(url: str, **options: Any) -> Any:
        opened.append(maker(base_url=url + kit.base, api_key="sk-none", **options))
        return opened[-1]

    yield client
    for each_client in opened:
        await settled(each_client.close())


@pytest.fixture
def ask(kit: Kit, reach: Reach) -> Callable[..., Any]:
    """Ask the question at a URL, with a client of its own: `await ask(url, stream=True)`."""

    async def asked(url: str, options: dict[str, Any] | None = None, **more: Any) -> Any:
        return await settled(kit.resource(reach(url, **options or {})).create(**QUESTION, **more))

    return asked
