"""Three processes on one port, and a Redis between them: docs/replicas.md, as it is run."""

import asyncio
import contextlib
import socket
from datetime import datetime
from types import SimpleNamespace

import pytest
from deploy.running import Running
from e2e.support import call, metric
from redis_server import Server, needs_redis

from proxy.testing import script
from proxy.testing.upstream import Upstream

CONFIG = """
version: 1
listen: {port: PORT, reuse_port: true}
admin: {port: 1}  # each process is given its own
log: {format: json}
watch: false
shared: {redis: "REDIS"}
upstreams:
  up: {url: "UP", retry: {max_retries: 0}, breaker: {failure_threshold: 1}}
"""

pytestmark = [needs_redis, pytest.mark.real_time]


class Replica(Running):
    """One of several processes that run the same file, each with an admin port of its own."""

    def __init__(self, config):
        super().__init__(config)
        self._command += ["--admin-port", "0"]

    async def metric(self, name, **labels):
        return await metric(SimpleNamespace(addresses={"admin": self.admin}), name, **labels)

    async def is_open(self):
        return await self.metric("octollm_proxy_breaker_state", upstream="up", state="open") == 1

    async def is_connected(self):
        return await self.metric("octollm_proxy_shared_connected") == 1

    def opened_at(self):
        [told] = [event for event in self.events if event["event"] == "breaker.opened"]
        return datetime.fromisoformat(told["timestamp"])


@pytest.fixture
def port():
    """A port that stays free for all who share it."""
    with socket.socket() as kept:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        kept.bind(("127.0.0.1", 0))
        yield kept.getsockname()[1]


@pytest.fixture
def written(tmp_path, port):
    def write(redis, up):
        path = tmp_path / "proxy.yaml"
        text = CONFIG.replace("PORT", str(port)).replace("REDIS", redis)
        path.write_text(text.replace("UP", up))
        return path

    return write


@contextlib.asynccontextmanager
async def replicas(config, count=3):
    with contextlib.ExitStack() as stack:
        running = [stack.enter_context(Replica(config)) for _ in range(count)]
        await until(running, Replica.is_connected)
        yield running


async def until(running, holds, wanted=True):
    """Look at the metrics again until *holds* of each; what never does ends by the test's limit."""
    for replica in running:
        found = await holds(replica)
        while found is not wanted:
            await asyncio.sleep(0.01)
            found = await holds(replica)


async def test_a_breaker_that_opens_in_one_is_open_in_all_within_a_second(written):
    async with Upstream() as upstream:
        upstream.script(script.status(500))
        with Server() as redis:
            async with replicas(written(redis.url, upstream.url)) as running:
                failed = await call(running[0].addresses[0], "/up/x")
                await until(running, Replica.is_open)
                rejected = [await call(running[0].addresses[0], "/up/x") for _ in range(20)]

                assert all(replica.tells("breaker.opened") for replica in running)
                opened = sorted(replica.opened_at() for replica in running)
                counted = [
                    await replica.metric("octollm_proxy_breaker_transitions_total", reason="peer")
                    for replica in running
                ]
    assert failed.code == "THIRD_PARTY_API_ERROR"
    assert {answer.code for answer in rejected} == {"CIRCUIT_OPEN"}
    assert (opened[-1] - opened[0]).total_seconds() < 1
    assert sorted(counted) == [0, 1, 1]


async def test_one_port_is_served_by_all_and_each_is_looked_at_by_its_own(written):
    async with Upstream() as upstream:
        with Server() as redis:
            async with replicas(written(redis.url, upstream.url)) as running:
                assert len({replica.admin for replica in running}) == 3
                assert len({address for each in running for address in each.addresses}) == 1

                async def served(replica):
                    await call(replica.addresses[0], "/up/x")  # by whomever the kernel chooses
                    return await replica.metric("octollm_proxy_requests_total", status="200") > 0

                await until(running, served)


async def test_without_redis_each_serves_on_and_finds_the_others_again(written):
    async with Upstream() as upstream:
        with Server() as redis:
            async with replicas(written(redis.url, upstream.url)) as running:
                redis.kill()
                await until(running, Replica.is_connected, wanted=False)
                for _ in range(20):
                    assert (await call(running[0].addresses[0], "/up/x")).status == 200
                assert all(replica.tells("shared.lost") for replica in running)

                redis.start()
                await until(running, Replica.is_connected)
                upstream.script(script.status(500))
                assert (await call(running[0].addresses[0], "/up/x")).status == 502
                await until(running, Replica.is_open)


async def test_who_joins_late_learns_what_is_open(written):
    async with Upstream() as upstream:
        upstream.script(script.status(500))
        with Server() as redis:
            config = written(redis.url, upstream.url)
            async with replicas(config, 2) as running:
                await call(running[0].addresses[0], "/up/x")
                await until(running, Replica.is_open)
                async with replicas(config, 1) as late:
                    await until(late, Replica.is_open)


async def test_a_redis_that_was_never_there_keeps_nobody_from_serving(written):
    async with Upstream() as upstream:
        with Replica(written("redis://:canary@127.0.0.1:9", upstream.url)) as alone:
            served = await call(alone.addresses[0], "/up/x")
            assert alone.tells("shared.lost")
            assert not await alone.is_connected()
            shown = await call(alone.admin, "/api/v1/config")
    assert served.status == 200
    assert "canary" not in f"{alone.events} {shown.body}"
    assert b"shared" in shown.body


async def test_an_admin_port_of_its_own_survives_a_reload(written):
    async with Upstream() as upstream:
        with Server() as redis:
            path = written(redis.url, upstream.url)
            with Replica(path) as running:
                path.write_text(path.read_text().replace("max_retries: 0", "max_retries: 1"))
                reloaded = await call(running.admin, "/-/reload", "POST")
                ready = await call(running.admin, "/-/ready")
    assert (reloaded.json()["result"], ready.status) == ("reloaded", 200)


async def test_a_reload_begins_to_share_and_ends_it(written):
    async with Upstream() as upstream:
        with Server() as redis:
            path = written(redis.url, upstream.url)
            sharing = path.read_text()
            path.write_text(sharing.replace("shared:", "# shared:"))
            with Replica(path) as running:
                before = await call(running.admin, "/metrics")
                path.write_text(sharing)
                await call(running.admin, "/-/reload", "POST")
                await until([running], Replica.is_connected)
                path.write_text(sharing.replace("shared:", "# shared:"))
                await call(running.admin, "/-/reload", "POST")
                after = await call(running.admin, "/metrics")
    for shown in (before, after):
        assert b"\noctollm_proxy_shared_connected " not in shown.body
