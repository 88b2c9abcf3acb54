"""How it stops, as its callers, its balancer and its supervisor see it: docs/shutdown.md."""

import signal
import socket

import pytest
from deploy.running import Running
from e2e.support import answer, call, connect, request

from proxy.app import EXIT_CUT_SHORT, EXIT_DRAINED
from proxy.testing import script, sse
from proxy.testing.upstream import Upstream

CONFIG = """
version: 1
listen: {port: 0}
admin: {port: 0}
log: {format: json}
watch: false
drain: {delay: DELAY, timeout: TIMEOUT}
upstreams:
  up: {kind: llm, provider: openai, url: "UP"}
"""

EVENTS = sse.chat("Hello, world!")

pytestmark = pytest.mark.real_time


@pytest.fixture
def written(tmp_path):
    def write(up="http://127.0.0.1:9", delay="0s", timeout="30s"):
        path = tmp_path / "proxy.yaml"
        text = CONFIG.replace("DELAY", delay).replace("TIMEOUT", timeout)
        path.write_text(text.replace("UP", up))
        return path

    return write


@pytest.fixture
def manager(tmp_path, monkeypatch):
    """The socket a service manager is told at; `manager()` gives the next thing it hears."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield lambda: listening.recv(4096).decode().split("\n")


async def test_it_is_not_ready_at_once_and_serves_on_while_a_balancer_notices(written):
    async with Upstream() as upstream:
        with Running(written(upstream.url, delay="10m")) as running:
            running.signal(signal.SIGTERM)
            assert running.tells("proxy.draining")

            ready = await call(running.admin, "/-/ready")
            healthy = await call(running.admin, "/-/healthy")
            served = await call(running.addresses[0], "/up/status/200")
            running.signal(signal.SIGTERM)
            running.ended()

    assert (ready.status, healthy.status, served.status) == (503, 200, 200)
    assert served["connection"] == "close"  # so that its caller's next call finds another proxy


async def test_a_connection_nobody_uses_is_closed_and_a_busy_one_is_told_to_close(written):
    async with Upstream() as upstream:
        upstream.script(script.ok("kept"), script.ask(lambda seen: script.ok(bytes(seen.body))))
        with Running(written(upstream.url)) as running:
            idle, no_more = await connect(running.addresses[0])
            no_more.write(request(running.addresses[0], "/up/x"))
            kept = await answer(idle)
            reader, writer = await connect(running.addresses[0])
            whole = request(running.addresses[0], "/up/x", "POST", b"half of it")
            writer.write(whole[:-5])
            await upstream.asked(2)

            running.signal(signal.SIGTERM)
            closed = await idle.read()
            writer.write(whole[-5:])
            last = await answer(reader)
            end = await reader.read()
            no_more.close()
            writer.close()

            assert running.ended() == EXIT_DRAINED
    assert (kept.get("connection"), closed) == (None, b"")
    assert (last.body, last["connection"], end) == (b"half of it", "close", b"")


async def test_nobody_gets_in_any_more_once_the_delay_is_over(written):
    async with Upstream() as upstream:
        upstream.always(script.hang())
        with Running(written(upstream.url)) as running:
            _, writer = await connect(running.addresses[0])
            writer.write(request(running.addresses[0], "/up/x"))
            idle, no_more = await connect(running.addresses[0])
            await upstream.asked()

            running.signal(signal.SIGTERM)
            await idle.read()  # its end is the end of the delay
            with pytest.raises(ConnectionRefusedError):
                await connect(running.addresses[0])
            writer.close()  # the last caller gives up, and nobody else is waited for
            no_more.close()
            await writer.wait_closed()

            assert running.ended() == EXIT_DRAINED


async def test_a_stream_that_ends_in_time_is_whole(written):
    async with Upstream() as upstream:
        upstream.always(script.event_stream(EVENTS, every=0.02))
        with Running(written(upstream.url)) as running:
            reader, writer = await connect(running.addresses[0])
            writer.write(request(running.addresses[0], "/up/v1/chat/completions", "POST", b"{}"))
            await upstream.asked()

            running.signal(signal.SIGTERM)
            streamed = await answer(reader)
            writer.close()

            assert running.ended() == EXIT_DRAINED
    assert (streamed.whole, streamed.body) == (True, b"".join(EVENTS))


async def test_a_stream_that_does_not_is_told_so_in_its_own_way(written):
    async with Upstream() as upstream:
        upstream.always(script.event_stream(EVENTS).until(3) + script.hang())
        with Running(written(upstream.url, timeout="10ms")) as running:
            reader, writer = await connect(running.addresses[0])
            writer.write(request(running.addresses[0], "/up/v1/chat/completions", "POST", b"{}"))
            head = await reader.readuntil(b"\r\n\r\n")

            running.signal(signal.SIGTERM)
            rest = await reader.read()
            writer.close()

            assert running.ended() == EXIT_CUT_SHORT
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b'"code":"CAPACITY_EXCEEDED"' in rest
    assert not rest.endswith(b"0\r\n\r\n")
    assert [line["status"] for line in running.events if line["event"] == "request.failed"] == [200]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
async def test_a_second_signal_does_not_wait_for_the_delay(written, number):
    with Running(written(delay="10m")) as running:
        running.signal(signal.SIGTERM)
        assert running.tells("proxy.draining")
        running.signal(number)

        assert running.ended() == EXIT_CUT_SHORT
    assert running.events[-1]["event"] == "proxy.stopped"


async def test_who_still_waits_then_is_told_so_and_is_not_said_to_have_left(written):
    async with Upstream() as upstream:
        upstream.always(script.hang())
        with Running(written(upstream.url)) as running:
            reader, writer = await connect(running.addresses[0])
            writer.write(request(running.addresses[0], "/up/x"))
            await upstream.asked()

            running.signal(signal.SIGTERM)
            assert running.tells("proxy.draining")
            running.signal(signal.SIGTERM)
            last = await answer(reader)
            writer.close()

            assert running.ended() == EXIT_CUT_SHORT
    assert (last.status, last.code, last.whole) == (503, "CAPACITY_EXCEEDED", True)
    told = [line for line in running.events if line["event"].startswith("request.")]
    assert [(line["outcome"], line["status"]) for line in told] == [("failed", 503)]


async def test_whoever_watches_the_admin_listener_does_not_hold_it_up(written):
    with Running(written()) as running:
        kept, unused = await connect(running.admin)
        unused.write(request(running.admin, "/-/ready"))
        await answer(kept)
        page, watching = await connect(running.admin)
        watching.write(request(running.admin, "/api/v1/live"))
        head = await page.readuntil(b"\r\n\r\n")

        running.signal(signal.SIGTERM)

        assert running.ended() == EXIT_DRAINED
        assert await kept.read() == b""
        assert head.startswith(b"HTTP/1.1 200 ")
        assert await page.read()
        unused.close()
        watching.close()


async def test_systemd_hears_of_each_step(written, manager):
    path = written()
    with Running(path) as running:
        heard = [manager()]
        running.signal(signal.SIGHUP)  # nothing has changed, and a reload is over all the same
        heard += [manager(), manager()]
        path.write_text("upstreams: {up: {}}\n")
        running.signal(signal.SIGHUP)  # the old one serves on
        heard += [manager(), manager()]
        running.signal(signal.SIGTERM)
        heard += [manager()]

        assert running.ended() == EXIT_DRAINED
    assert [lines[0] for lines in heard] == [
        *("READY=1", "RELOADING=1", "READY=1", "RELOADING=1", "READY=1", "STOPPING=1")
    ]
    assert heard[1][1].removeprefix("MONOTONIC_USEC=").isdecimal()


async def test_a_service_manager_that_is_gone_is_no_reason_not_to_serve(written, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", "@octollm/nobody-listens-here")

    with Running(written()) as running:
        ready = await call(running.admin, "/-/ready")
        running.signal(signal.SIGTERM)

        assert (ready.status, running.ended()) == (200, EXIT_DRAINED)
