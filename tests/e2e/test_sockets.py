"""Where the proxy listens and calls, beyond a host and a port: socket files, and shared ports."""

import asyncio
import contextlib
import socket
import stat

import pytest
from e2e.support import answer, call, metric, proxied, request

from proxy.testing import script
from proxy.testing.upstream import Upstream

TEXT = """
version: 1
listen: {host: "unix:${SOCKET}"}
admin: {port: 0}
upstreams:
  up: {url: "${UP}", retry: {max_retries: 0}, forward: {client: true}%s}
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The path of a socket, short enough to be one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "proxy.sock"


async def over(path, target="/up/x", *, version="1.1"):
    """Make one request over a Unix socket."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(request("http://any", target).replace(b"HTTP/1.1", f"HTTP/{version}".encode()))
    try:
        return await answer(reader) if version == "1.1" else await reader.read()
    finally:
        writer.close()


# Socket files


@pytest.mark.real_time("asyncio", "uvloop")
async def test_a_listener_on_a_socket_file_serves_this_user_and_group_and_leaves_nothing(place):
    async with (
        Upstream() as upstream,
        proxied(TEXT % "", up=upstream.url, socket=str(place)) as proxy,
    ):
        assert proxy.addresses[""] == f"unix:{place}"
        assert stat.S_IMODE(place.stat().st_mode) == 0o660
        found = await over(place)
        [seen] = upstream.seen
    assert found.status == 200
    assert seen.values("x-forwarded-proto") == ["http"]
    assert seen.values("x-forwarded-for") == []
    assert not place.exists()


@pytest.mark.real_time("asyncio", "uvloop")
async def test_a_socket_file_that_nobody_serves_any_more_is_replaced(place):
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(place))
        left_behind.listen()
    async with (
        Upstream() as upstream,
        proxied(TEXT % "", up=upstream.url, socket=str(place)),
    ):
        assert (await over(place)).status == 200


@pytest.mark.real_time("asyncio", "uvloop")
async def test_what_somebody_else_serves_or_keeps_there_is_left_alone(place):
    async with proxied(TEXT % "", up="http://127.0.0.1:9", socket=str(place)):
        with pytest.raises(OSError, match="cannot listen on unix:"):
            async with proxied(TEXT % "", up="http://127.0.0.1:9", socket=str(place)):
                pass
        assert (await over(place, "/")).status == 404
    place.write_text("a letter")
    with pytest.raises(OSError, match="cannot listen on unix:"):
        async with proxied(TEXT % "", up="http://127.0.0.1:9", socket=str(place)):
            pass
    assert place.read_text() == "a letter"


async def test_the_file_is_gone_as_soon_as_nobody_new_is_served(place):
    async with (
        Upstream() as upstream,
        proxied(TEXT % "", up=upstream.url, socket=str(place)) as proxy,
    ):
        upstream.always(script.wait(10) + script.ok("done"))
        late = asyncio.create_task(over(place))
        await upstream.asked()
        draining = asyncio.create_task(proxy.drain())
        await asyncio.sleep(1)
        assert not place.exists()
        assert (await late).body == b"done"
        assert await draining


async def test_a_cut_answer_over_a_socket_file_does_not_look_whole(place):
    async with (
        Upstream() as upstream,
        proxied(TEXT % "", up=upstream.url, socket=str(place)),
    ):
        upstream.always(script.no_last_chunk(b"ab", b"cd"))
        found = await over(place)
    assert (found.status, found.whole) == (200, False)


async def test_a_page_of_another_name_does_not_get_in_by_a_socket_file_either(place):
    text = TEXT % ", auth: {header: Authorization, value: Bearer ours}"
    async with Upstream() as upstream, proxied(text, up=upstream.url, socket=str(place)):
        reader, writer = await asyncio.open_unix_connection(place)
        fields = {"Origin": "https://evil.example"}
        writer.write(request("http://evil.example", "/up/x", headers=fields))
        assert (await answer(reader)).status == 403
        writer.close()
    assert upstream.requests == 0


@pytest.mark.real_time("asyncio", "uvloop")
async def test_an_upstream_on_a_socket_file_is_called_as_localhost(place):
    seen = []

    async def connected(reader, writer):
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        ended.set()

    ended = asyncio.Event()
    listener = await asyncio.start_unix_server(connected, place)
    async with proxied(up=f"unix:{place}") as proxy:
        for _ in range(2):
            assert (await call(proxy.addresses[""], "/up/v1/x?y")).body == b"ok"
    await ended.wait()
    listener.close()
    assert [head.split()[1] for head in seen] == [b"/v1/x?y"] * 2
    assert b"\r\nHost: localhost\r\n" in seen[0]


async def test_a_socket_file_that_nobody_serves_is_a_failure_to_connect(place):
    async with proxied(up=f"unix:{place}") as proxy:
        found = await call(proxy.addresses[""], "/up/x")
        name = "octollm_proxy_attempts_total"
        assert await metric(proxy, name, outcome="connect") == 4
    assert (found.code, found.json()["message"]) == (
        "NETWORK_ERROR",
        "the upstream could not be connected to",
    )


# Shared ports


@pytest.mark.real_time("asyncio", "uvloop")
async def test_several_processes_can_share_a_port_and_only_if_they_say_so():
    text = (
        "{{version: 1, listen: {{port: {port}, reuse_port: {shared}}}, admin: {{port: 0}},"
        " upstreams: {{up: {{url: 'http://127.0.0.1:9'}}}}}}"
    )
    async with proxied(text.format(port=0, shared="true")) as first:
        port = first.addresses[""].rpartition(":")[2]
        async with proxied(text.format(port=port, shared="true")) as second:
            assert second.addresses[""] == first.addresses[""]
            for _ in range(8):
                assert (await call(first.addresses[""], "/-/x")).status == 404
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"):
            async with proxied(text.format(port=port, shared="false")):
                pass
