"""Every asynchronous test runs in virtual time, unless it is marked `real_time`.

`@pytest.mark.real_time` picks asyncio's own loop; `@pytest.mark.real_time("asyncio", "uvloop")`
runs the test once on each loop named.
"""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

from proxy.testing.clock import VirtualLoop

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

ORDINARY: Mapping[str, LoopFactory] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, LoopFactory]:
    marker = item.get_closest_marker("real_time")
    if marker is None:
        return {"virtual": VirtualLoop}
    return {name: ORDINARY[name] for name in marker.args or ("asyncio",)}
