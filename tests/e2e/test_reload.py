"""The config changed under running calls: what is taken over, what is kept, what is refused."""

import asyncio
import contextlib
import io
import json
import socket
import ssl
from contextlib import asynccontextmanager

import pytest
import trustme
from e2e.support import answer, call, connect, metric, request

from proxy.app import Proxy
from proxy.config.load import load
from proxy.config.problem import ConfigError
from proxy.observe import logs
from proxy.policy.breaker import State
from proxy.testing import script
from proxy.testing.upstream import Upstream

RELOADS = "octollm_proxy_config_reloads_total"
BROKEN = "version: 1\nupstreams:\n  up: {url: nowhere, retyr: {}}\n"


def text(up, *, more="", rest="", **settings):
    """Write a config with the upstream `up`, *more* keys of it, and the *rest* of the file."""
    keys = {"listen": "{port: 0}", "admin": "{port: 0}", "watch": "false", **settings}
    head = "".join(f"{key}: {value}\n" for key, value in keys.items())
    return f"version: 1\n{head}upstreams:\n  up: {{url: '{up.url}', retry: {{max_retries: 0}}{more}}}\n{rest}"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "proxy.yaml"


@pytest.fixture
def said():
    """Give what is logged, once it is asked for."""
    stream = io.BytesIO()
    logs.configure("info", "json", stream)

    def lines(event):
        logs.close()
        found = [json.loads(line) for line in stream.getvalue().splitlines()]
        return [line for line in found if line["event"] == event]

    yield lines
    logs.close()


@asynccontextmanager
async def running(file, written):
    file.write_text(written)
    proxy = Proxy(load(file), file)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()


@asynccontextmanager
async def both(file, **settings):
    async with Upstream() as upstream, running(file, text(upstream, **settings)) as proxy:
        yield proxy, upstream


async def get(proxy, target="/up/x", name="", **more):
    return await call(proxy.addresses[name], target, **more)


async def become(proxy, file, written):
    file.write_text(written)
    return await proxy.reload()


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


async def refused(url):
    try:
        _, writer = await connect(url)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


# What is taken over


async def test_a_call_in_flight_ends_under_the_config_it_began_with(file):
    async with both(file) as (proxy, old), Upstream() as new:
        old.always(script.wait(5) + script.ok(b"old"))
        new.always(script.ok(b"new"))
        before = asyncio.ensure_future(get(proxy))
        await old.asked()
        assert await become(proxy, file, text(new)) == "reloaded"
        after = await get(proxy)

        assert (after.body, (await before).body) == (b"new", b"old")
        assert (len(old.seen), len(new.seen)) == (1, 1)


async def test_a_file_that_says_the_same_changes_nothing(file, said):
    async with both(file) as (proxy, upstream):
        runtime = proxy.gateway.runtime
        file.touch()
        assert await proxy.reload() == "unchanged"

        assert proxy.gateway.runtime is runtime
        assert await metric(proxy, RELOADS) == 0
    assert said("config.reloaded") == []


async def test_warnings_of_the_new_file_are_told(file, said):
    async with both(file) as (proxy, upstream):
        await become(proxy, file, text(upstream, admin="{host: 0.0.0.0, port: 0}"))
    [warning] = said("config.warning")
    [reloaded] = said("config.reloaded")
    assert "admin.host" in warning["problems"][0]
    assert (reloaded["file"], reloaded["upstreams"]) == (str(file), ["up"])


async def test_another_level_of_the_log_applies_at_once(file, said):
    async with both(file, log="{level: info}") as (proxy, upstream):
        await get(proxy)
        await become(proxy, file, text(upstream, log="{level: error}"))
        await get(proxy)
        await become(proxy, file, text(upstream, log="{level: info}"))
        await get(proxy)
    assert len(said("request.completed")) == 2


async def test_upstreams_that_are_gone_leave_the_metrics_and_new_ones_enter(file):
    async with both(file) as (proxy, upstream), Upstream() as other:
        await get(proxy)
        await become(proxy, file, text(upstream, rest=f"  next: {{url: '{other.url}'}}\n"))
        assert (await get(proxy, "/next/x")).status == 200
        assert await metric(proxy, "octollm_proxy_requests_total", upstream="up") == 1
        await become(proxy, file, text(other).replace("  up:", "  next:"))
        page = (await get(proxy, "/metrics", "admin")).body.decode()

        assert 'upstream="up"' not in page
        assert await metric(proxy, "octollm_proxy_requests_total", upstream="next") == 1
        assert (await get(proxy)).code == "ROUTE_NOT_FOUND"


# What is kept


@pytest.mark.parametrize(
    ("more", "kept"),
    [
        (", timeouts: {total: 7s}", True),
        (", headers: {remove: [x-a]}", True),
        (", limits: {connections: 7}", False),
        (", kind: llm", True),
        (", provider: openai", False),  # its idle connections last longer
    ],
)
async def test_connections_are_kept_unless_they_would_be_made_in_another_way(file, more, kept):
    async with both(file) as (proxy, upstream):
        await get(proxy)
        await become(proxy, file, text(upstream, more=more))
        await get(proxy)

        assert upstream.connections == (1 if kept else 2)


async def test_a_client_that_is_let_go_ends_what_is_idle_and_serves_what_is_not(file):
    async with both(file) as (proxy, upstream):
        upstream.script(script.ok(b"idle"), script.wait(5) + script.ok(b"slow"))
        await asyncio.gather(get(proxy), slow := asyncio.ensure_future(get(proxy)))
        client = proxy.gateway.runtime.upstreams["up"].client
        upstream.script(script.wait(5) + script.ok(b"slow"))
        slow = asyncio.ensure_future(get(proxy))
        await upstream.asked(3)
        assert client.pool.connections == 2
        await become(proxy, file, text(upstream, more=", limits: {connections: 7}"))
        await asyncio.sleep(0.1)

        assert client.pool.connections == 1
        assert (await slow).body == b"slow"
        await asyncio.sleep(0.1)
        assert client.pool.connections == 0


async def test_a_circuit_stays_open_while_the_url_stays(file):
    async with both(file, more=", breaker: {failure_threshold: 1}") as (proxy, upstream):
        upstream.always(script.status(503))
        await get(proxy)
        assert (await get(proxy)).code == "CIRCUIT_OPEN"
        await become(proxy, file, text(upstream, more=", breaker: {failure_threshold: 2}"))
        kept = await get(proxy)
        async with Upstream() as other:
            await become(proxy, file, text(other))
            new = await get(proxy)

        assert (kept.code, new.status) == ("CIRCUIT_OPEN", 200)


async def test_what_the_breaker_says_after_a_reload_is_counted_and_logged(file, said):
    async with both(file) as (proxy, upstream):
        upstream.always(script.status(503))
        await get(proxy)
        await become(proxy, file, text(upstream, more=", breaker: {failure_threshold: 2}"))
        await get(proxy)
        assert (await get(proxy)).code == "CIRCUIT_OPEN"

        opened = "octollm_proxy_breaker_transitions_total"
        assert await metric(proxy, opened, upstream="up", to_state="open") == 1
        assert await metric(proxy, "octollm_proxy_breaker_rejections_total") == 1
    assert len(said("breaker.opened")) == 1


async def test_a_retry_budget_is_kept_while_its_settings_are(file):
    async with both(file) as (proxy, upstream):
        before = proxy.gateway.runtime.upstreams["up"].budget
        await become(proxy, file, text(upstream, more=", replay_limit: 1KiB"))
        assert proxy.gateway.runtime.upstreams["up"].budget is before
        memory = proxy.gateway.runtime.memory
        more = ", retry: {max_retries: 0, budget: {ratio: 0.1}}"
        written = text(upstream, more=more, limits="{replay_memory: 1MiB}")
        await become(proxy, file, written.replace(", retry: {max_retries: 0}", "", 1))
        assert proxy.gateway.runtime.upstreams["up"].budget is not before
        assert proxy.gateway.runtime.memory is not memory


# What is refused


async def test_a_bad_file_changes_nothing_and_says_everything_that_is_wrong(file, said):
    async with both(file) as (proxy, upstream):
        good = file.read_text()
        runtime = proxy.gateway.runtime
        with pytest.raises(ConfigError) as caught:
            await become(proxy, file, BROKEN)
        since = proxy.differs_since
        with pytest.raises(ConfigError):
            await proxy.reload()

        assert len(caught.value.problems) == 2
        assert proxy.gateway.runtime is runtime
        assert (await get(proxy)).status == 200
        assert (await get(proxy, "/-/ready", "admin")).status == 200
        assert await metric(proxy, RELOADS, result="rejected") == 2
        assert (
            await metric(proxy, "octollm_proxy_config_rejected_since_timestamp_seconds")
            == proxy.differs_since
        )
        assert since is not None
        assert proxy.differs_since == since
        assert await become(proxy, file, good) == "unchanged"
        assert proxy.differs_since is None
        assert await proxy.reload() == "unchanged"
    [restored] = said("config.restored")
    assert (restored["level"], restored["file"]) == ("info", str(file))
    rejected = said("config.rejected")
    assert rejected[0]["problems"] == [str(problem) for problem in caught.value.problems]
    assert rejected[0]["level"] == "error"


@pytest.mark.parametrize("which", ["own", "admin"])
async def test_an_address_that_cannot_be_had_rejects_the_whole_file(file, which, said):
    async with both(file) as (proxy, upstream), Upstream() as other:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            lines = text(other, listen=f"{{port: {free_port()}}}", log="{level: error}")
            if which == "own":
                lines += f"  next: {{url: '{other.url}', listen: {{port: {port}}}}}\n"
            else:
                lines = lines.replace("admin: {port: 0}", f"admin: {{port: {port}}}")
            places = proxy.addresses
            with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}: Address"):
                await become(proxy, file, lines)

        assert proxy.addresses == places
        await get(proxy)
        assert (len(upstream.seen), len(other.seen)) == (1, 0)
        assert 'upstream="next"' not in (await get(proxy, "/metrics", "admin")).body.decode()
    assert len(said("request.completed")) == 1


async def test_a_proxy_that_ends_takes_over_nothing_more(file, said):
    async with both(file) as (proxy, upstream):
        runtime = proxy.gateway.runtime
        await proxy.drain()
        file.write_text(
            text(upstream, more=", replay_limit: 1KiB", listen=f"{{port: {free_port()}}}")
        )
        proxy.reload_soon()
        refusal = await get(proxy, "/-/reload", "admin", method="POST")

        assert refusal.code == "CAPACITY_EXCEEDED"
        assert proxy.gateway.runtime is runtime
    assert said("config.reloaded") == []


# Listeners


async def test_a_listener_that_did_not_change_is_not_touched(file):
    async with both(file) as (proxy, upstream):
        reader, writer = await connect(proxy.addresses[""])
        for more in (", replay_limit: 1KiB", ", replay_limit: 2KiB"):
            await become(proxy, file, text(upstream, more=more, drain="{timeout: 9s}"))
            writer.write(request(proxy.addresses[""], "/up/x"))
            assert (await answer(reader)).status == 200
        writer.close()


async def test_listeners_come_move_and_go_and_who_is_served_there_is_served_to_the_end(file):
    async with both(file, more=", listen: {port: 0}") as (proxy, upstream):
        first = proxy.addresses["up"]
        upstream.always(script.wait(5) + script.ok(b"slow"))
        slow = asyncio.ensure_future(get(proxy, "/x", "up"))
        await upstream.asked()
        upstream.always(None)
        port = free_port()
        await become(proxy, file, text(upstream, more=f", listen: {{port: {port}}}"))
        assert proxy.addresses["up"] == f"http://127.0.0.1:{port}"
        assert (await get(proxy, "/x", "up")).status == 200
        assert await refused(first)
        await become(proxy, file, text(upstream))
        assert "up" not in proxy.addresses
        assert await refused(f"http://127.0.0.1:{port}")

        assert ((await slow).body, slow.result().whole) == (b"slow", True)


@pytest.mark.real_time("uvloop")  # asyncio's own loop drops whom it was just about to accept
async def test_nobody_is_turned_away_where_a_listener_changes_at_its_address(file):
    async with both(file) as (proxy, upstream):
        changing = True

        async def call_on():
            statuses = []
            while changing:
                statuses.append((await get(proxy)).status)
            return statuses

        callers = [asyncio.ensure_future(call_on()) for _ in range(8)]
        for size in range(20):
            await become(proxy, file, text(upstream, limits=f"{{header_size: {2000 + size}}}"))
        changing = False
        statuses = [status for caller in callers for status in await caller]

        assert len(statuses) > 20
        assert set(statuses) == {200}


async def test_a_listener_that_moves_is_told_of_and_one_that_stays_is_not(file, said):
    async with both(file) as (proxy, upstream):
        await become(proxy, file, text(upstream, more=", replay_limit: 1KiB"))
        await become(proxy, file, text(upstream, more=", listen: {port: 0}"))
        data = [proxy.addresses[""], proxy.addresses["up"]]
        port = free_port()
        await become(
            proxy, file, text(upstream, more=", listen: {port: 0}", admin=f"{{port: {port}}}")
        )
    places = [
        (line.get("addresses"), line.get("admin_address")) for line in said("config.reloaded")
    ]
    assert places == [(None, None), (data, None), (None, f"http://127.0.0.1:{port}")]


async def test_an_address_can_go_from_one_upstream_to_another(file):
    async with Upstream() as upstream, Upstream() as other:
        port = free_port()
        own = f", listen: {{port: {port}}}"
        next_ = f"  next: {{url: '{other.url}'"
        async with running(file, text(upstream, more=own, rest=f"{next_}}}\n")) as proxy:
            await become(proxy, file, text(upstream, rest=f"{next_}{own}}}\n"))
            await get(proxy, "/x", "next")

            assert (len(upstream.seen), len(other.seen)) == (0, 1)


async def test_the_admin_listener_moves_and_its_token_changes(file):
    async with both(file, admin="{host: '0.0.0.0', port: 0, token: one}") as (proxy, upstream):
        place = proxy.addresses["admin"]

        async def told(token, url=place):
            headers = {"Authorization": f"Bearer {token}"}
            return (await call(url, "/-/reload", "POST", headers=headers)).status

        assert [await told("one"), await told("two")] == [200, 401]
        await become(proxy, file, text(upstream, admin="{host: '0.0.0.0', port: 0, token: two}"))
        assert [await told("one"), await told("two")] == [401, 200]
        port = free_port()
        file.write_text(text(upstream, admin=f"{{port: {port}}}"))
        assert await told("two") == 200  # told by the one that goes
        assert proxy.addresses["admin"] == f"http://127.0.0.1:{port}"
        assert (await get(proxy, "/-/ready", "admin")).status == 200
        assert await refused(place)


# How it is asked for


async def test_a_post_reloads_or_says_what_is_wrong_and_where(file):
    async with both(file) as (proxy, upstream):
        file.write_text(text(upstream, more=", replay_limit: 1KiB"))
        good = await get(proxy, "/-/reload", "admin", method="POST")
        again = await get(proxy, "/-/reload", "admin", method="POST")
        file.write_text(BROKEN)
        bad = await get(proxy, "/-/reload", "admin", method="POST")

    assert (good.status, good.json(), again.json()) == (
        200,
        {"result": "reloaded"},
        {"result": "unchanged"},
    )
    assert (bad.status, bad.code) == (422, "VALIDATION_ERRORS")
    told = bad.json()["details"]["errors"]
    assert [found["field"] for found in told] == ["upstreams.up.url", "upstreams.up.retyr"]
    assert told[0]["message"].startswith(f"{file}:3:8: upstreams.up.url: ")


@pytest.mark.parametrize("watching", [True, False])
async def test_a_file_that_changes_is_taken_over_if_watched(file, watching):
    watch = {"watch": str(watching).lower()}
    async with both(file, **watch) as (proxy, upstream):
        file.write_text(text(upstream, more=", replay_limit: 1KiB", **watch))
        await asyncio.sleep(5)

        assert await metric(proxy, RELOADS, result="reloaded") == (1 if watching else 0)


async def test_a_bad_file_that_somebody_has_pointed_at_is_not_rejected_twice(file):
    async with both(file, watch="true") as (proxy, _):
        file.write_text(BROKEN)
        await get(proxy, "/-/reload", "admin", method="POST")
        await asyncio.sleep(5)

        assert await metric(proxy, RELOADS, result="rejected") == 1


async def test_a_secret_that_changes_is_used_from_then_on(file, tmp_path):
    key = tmp_path / "key"
    key.write_text("one\n")
    auth = f", auth: {{header: x-api-key, value: '${{file:{key}}}'}}"
    async with both(file, more=auth, watch="true") as (proxy, upstream):
        await get(proxy)
        key.write_text("two\n")
        await asyncio.sleep(5)
        await get(proxy)

        assert [seen.values("x-api-key") for seen in upstream.seen] == [["one"], ["two"]]
        assert upstream.connections == 1


async def test_a_secret_that_was_missing_mends_a_rejected_file(file, tmp_path):
    key = tmp_path / "key"
    async with both(file, watch="true") as (proxy, upstream):
        auth = f", auth: {{header: x-api-key, value: '${{file:{key}}}'}}"
        file.write_text(text(upstream, more=auth, watch="true"))
        await asyncio.sleep(5)
        assert await metric(proxy, RELOADS, result="rejected") >= 1
        key.write_text("late")
        await asyncio.sleep(5)
        await get(proxy)

        assert proxy.differs_since is None
        assert upstream.seen[0].values("x-api-key") == ["late"]


@pytest.mark.real_time("asyncio", "uvloop")
async def test_a_renewed_certificate_is_shown_at_the_same_address_without_a_gap(file, tmp_path):
    old, new = trustme.CA(), trustme.CA()
    names = {"certificate": tmp_path / "tls.crt", "key": tmp_path / "tls.key"}

    def issue(ca):
        cert = ca.issue_cert("localhost")
        cert.cert_chain_pems[0].write_to_path(names["certificate"])
        cert.private_key_pem.write_to_path(names["key"])

    async def ask(ca):
        context = ssl.create_default_context()
        ca.configure_trust(context)
        host, port = proxy.addresses[""].removeprefix("https://").split(":")
        reader, writer = await asyncio.open_connection(
            host, int(port), ssl=context, server_hostname="localhost"
        )
        writer.write(request("http://localhost", "/up/x"))
        found = await answer(reader)
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()
        return found

    issue(old)
    tls = ", ".join(f"{key}: {path}" for key, path in names.items())
    async with both(file, listen=f"{{port: 0, tls: {{{tls}}}}}") as (proxy, _):
        place = proxy.addresses[""]
        assert (await ask(old)).status == 200
        issue(new)
        assert await proxy.reload() == "reloaded"
        assert proxy.addresses[""] == place
        assert (await ask(new)).status == 200
        with pytest.raises(ssl.SSLCertVerificationError):
            await ask(old)


@pytest.mark.real_time("uvloop")  # asyncio's own loop removes the file itself, from 3.13 on
async def test_a_socket_file_stays_where_its_listener_changes_and_goes_with_the_last(
    file, tmp_path
):
    own = tmp_path / "own.sock"
    place = f"{{host: 'unix:{own}'}}"
    async with both(file, listen=place) as (proxy, upstream):
        await become(proxy, file, text(upstream, listen=place, limits="{header_size: 2KiB}"))
        reader, writer = await asyncio.open_unix_connection(own)
        writer.write(request("http://any", "/up/x", headers={"X-Long": "x" * 3000}))
        assert (await answer(reader)).status == 431
        writer.close()
        await become(proxy, file, text(upstream))
        assert not own.exists()


# Breakers seen from the outside


async def test_an_open_circuit_is_probed_when_it_would_have_been(file):
    async with both(file, more=", breaker: {failure_threshold: 1, timeout: 30s}") as (proxy, up):
        up.script(script.status(503))
        await get(proxy)
        await asyncio.sleep(20)
        await become(proxy, file, text(up, more=", breaker: {failure_threshold: 9}"))
        await asyncio.sleep(11)

        assert proxy.gateway.runtime.upstreams["up"].breaker.state is State.HALF_OPEN
        assert (await get(proxy)).status == 200
