"""TLS on both sides of the proxy: who is believed, who is turned away, and what an end means."""

import asyncio
import contextlib
import socket
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
import trustme
from e2e.support import answer, metric, proxied, request

HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
OK = HEAD + b"Content-Length: 2\r\n\r\nok"


@pytest.fixture(scope="session")
def ca():
    return trustme.CA()


@pytest.fixture(scope="session")
def stranger():
    """An authority that nobody here trusts."""
    return trustme.CA()


@pytest.fixture(scope="session")
def kept(tmp_path_factory, ca, stranger):
    """The files of a config, by name."""
    folder = tmp_path_factory.mktemp("tls")
    issued = {"ours": ca.issue_cert("localhost"), "theirs": stranger.issue_cert("localhost")}
    for name, cert in issued.items():
        cert.cert_chain_pems[0].write_to_path(folder / f"{name}.crt")
        cert.private_key_pem.write_to_path(folder / f"{name}.key")
    ca.cert_pem.write_to_path(folder / "ca.crt")
    return folder


def serving(cert, *, clients=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    cert.configure_cert(context)
    if clients is not None:
        clients.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@asynccontextmanager
async def upstream(context, said=OK, end=None):
    """An origin in TLS that says *said* to each request; *end* says how a connection ends."""
    seen = []

    async def connected(reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            seen.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(said)
            await writer.drain()
            if end is not None:
                end(writer)
        with contextlib.suppress(OSError):
            writer.close()
            await writer.wait_closed()

    listener = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    try:
        yield listener.sockets[0].getsockname()[1], seen
    finally:
        listener.close()


@asynccontextmanager
async def reached(port, tls, *, settings="", listen="", retries=0):
    text = (
        f"{{version: 1, listen: {{port: 0{listen}}}, admin: {{port: 0}}, upstreams: {{up:"
        f" {{url: 'https://localhost:{port}', retry: {{max_retries: {retries}}}, tls: {{{tls}}}{settings}}}}}}}"
    )
    async with proxied(text) as proxy:
        yield proxy


async def get(proxy, context=None):
    """Make one request, in TLS where a context is given."""
    host, port = proxy.addresses[""].rpartition("//")[2].rsplit(":", 1)
    name = "localhost" if context else None
    reader, writer = await asyncio.open_connection(
        host, int(port), ssl=context, server_hostname=name
    )
    writer.write(request("http://localhost", "/up/x"))
    try:
        return await answer(reader)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()


# To an upstream


@pytest.mark.real_time("asyncio", "uvloop")
async def test_an_upstream_of_an_authority_of_our_own_is_reached(ca, kept):
    async with (
        upstream(serving(ca.issue_cert("localhost"))) as (port, _),
        reached(port, f"ca: {kept}/ca.crt") as proxy,
    ):
        assert (await get(proxy)).body == b"ok"


@pytest.mark.real_time
async def test_the_name_in_the_certificate_can_be_another_than_the_host(ca, kept):
    names = []
    context = serving(ca.issue_cert("api.example"))
    context.sni_callback = lambda _, name, __: names.append(name)
    async with (
        upstream(context) as (port, seen),
        reached(port, f"ca: {kept}/ca.crt, server_name: api.example") as proxy,
    ):
        assert (await get(proxy)).body == b"ok"
    assert names == ["api.example"]
    assert f"Host: localhost:{port}\r\n".encode() in seen[0]


@pytest.mark.real_time
@pytest.mark.parametrize(
    "cert",
    [
        lambda ca, _: ca.issue_cert("elsewhere.example"),
        lambda ca, _: ca.issue_cert("localhost", not_after=datetime(2020, 1, 1, tzinfo=UTC)),
        lambda _, stranger: stranger.issue_cert("localhost"),
    ],
    ids=["another name", "expired", "unknown authority"],
)
async def test_a_certificate_that_is_not_to_be_believed_is_a_failure_that_is_not_retried(
    ca, stranger, kept, cert
):
    async with (
        upstream(serving(cert(ca, stranger))) as (port, seen),
        reached(port, f"ca: {kept}/ca.crt", retries=3) as proxy,
    ):
        found = await get(proxy)

        assert (found.status, found.code) == (502, "NETWORK_ERROR")
        assert found.json()["message"] == "the upstream's certificate verification failed"
        assert found["X-OctoLLM-Attempts"] == "1"
        assert await metric(proxy, "octollm_proxy_attempts_total", outcome="connect") == 1
    assert seen == []


@pytest.mark.real_time("asyncio", "uvloop")
@pytest.mark.parametrize("brought", ["ours", "theirs", None])
async def test_an_upstream_that_asks_for_a_certificate_gets_ours(ca, kept, brought):
    shown = f", certificate: {kept}/{brought}.crt, key: {kept}/{brought}.key" if brought else ""
    async with (
        upstream(serving(ca.issue_cert("localhost"), clients=ca)) as (port, _),
        reached(port, f"ca: {kept}/ca.crt{shown}") as proxy,
    ):
        found = await get(proxy)
    if brought == "ours":
        assert found.body == b"ok"
    else:
        assert found.code == "NETWORK_ERROR"


def torn(writer):
    """End the connection below TLS, as anybody on the way could."""
    number = writer.transport.get_extra_info("socket").fileno()
    with socket.fromfd(number, socket.AF_INET, socket.SOCK_STREAM) as below:
        below.shutdown(socket.SHUT_WR)


@pytest.mark.real_time("asyncio", "uvloop")
@pytest.mark.parametrize("end", [None, torn])
async def test_an_answer_without_a_length_is_whole_only_where_tls_says_so(ca, kept, end):
    async with (
        upstream(serving(ca.issue_cert("localhost")), HEAD + b"\r\nok", end) as (port, _),
        reached(port, f"ca: {kept}/ca.crt") as proxy,
    ):
        found = await get(proxy)
        cut = await metric(proxy, "octollm_proxy_attempts_total", outcome="cut")

    assert (found.whole, cut) == ((False, 1) if end else (True, 0))
    assert found.body in (b"", b"ok")  # a cut may overtake what came before


# From a caller


@pytest.mark.real_time("asyncio", "uvloop")
async def test_a_listener_in_tls_serves_who_trusts_it_and_says_https(ca, kept):
    client = ssl.create_default_context()
    ca.configure_trust(client)
    listen = f", tls: {{certificate: {kept}/ours.crt, key: {kept}/ours.key}}"
    async with (
        upstream(serving(ca.issue_cert("localhost"))) as (port, seen),
        reached(port, f"ca: {kept}/ca.crt", settings=", forward: {client: true}", listen=listen) as proxy,
    ):  # fmt: skip
        assert proxy.addresses[""].startswith("https://127.0.0.1:")
        assert (await get(proxy, client)).body == b"ok"
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await get(proxy)
        with pytest.raises(ssl.SSLCertVerificationError):
            await get(proxy, ssl.create_default_context())
    assert b"\r\nX-Forwarded-Proto: https\r\n" in seen[0]


@pytest.mark.real_time("asyncio", "uvloop")
@pytest.mark.parametrize("brought", ["ours", "theirs", None])
async def test_a_listener_with_client_ca_serves_nobody_without_a_certificate_of_it(
    ca, kept, brought
):
    client = ssl.create_default_context()
    ca.configure_trust(client)
    if brought:
        client.load_cert_chain(kept / f"{brought}.crt", kept / f"{brought}.key")
    tls = f"tls: {{certificate: {kept}/ours.crt, key: {kept}/ours.key, client_ca: {kept}/ca.crt}}"
    async with (
        upstream(serving(ca.issue_cert("localhost"))) as (port, seen),
        reached(port, f"ca: {kept}/ca.crt", listen=f", {tls}") as proxy,
    ):
        if brought == "ours":
            assert (await get(proxy, client)).body == b"ok"
        else:
            with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
                await get(proxy, client)
            assert seen == []


@pytest.mark.real_time("asyncio", "uvloop")
async def test_a_cut_answer_has_no_proper_end_in_tls_either(ca, kept):
    """An HTTP/1.0 caller knows the end of an answer by the end of TLS alone."""
    client = ssl.create_default_context()
    ca.configure_trust(client)
    listen = f", tls: {{certificate: {kept}/ours.crt, key: {kept}/ours.key}}"
    said = HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"
    async with (
        upstream(serving(ca.issue_cert("localhost")), said) as (port, _),
        reached(port, f"ca: {kept}/ca.crt", listen=listen) as proxy,
    ):
        found = await asyncio.to_thread(_ask_in_http_1_0, client, _address(proxy))
    assert found is None


def _address(proxy):
    host, port = proxy.addresses[""].rpartition("//")[2].split(":")
    return host, int(port)


def _ask_in_http_1_0(client, address):
    """Read to a proper end and give it; None where there is none."""
    with (
        socket.create_connection(address) as sock,
        client.wrap_socket(
            sock, server_hostname="localhost", suppress_ragged_eofs=False
        ) as conversation,
    ):
        conversation.sendall(b"GET /up/x HTTP/1.0\r\n\r\n")
        found = b""
        try:
            while data := conversation.recv(65536):
                found += data
        except (ssl.SSLError, ConnectionError):
            return None
        return found


@pytest.mark.real_time("asyncio", "uvloop")
async def test_a_websocket_goes_through_tls_on_both_sides(ca, kept):
    from e2e.test_upgrade import HANDSHAKE, SWITCHING

    async def echo(reader, writer):
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(SWITCHING)
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    client = ssl.create_default_context()
    ca.configure_trust(client)
    listen = f", tls: {{certificate: {kept}/ours.crt, key: {kept}/ours.key}}"
    context = serving(ca.issue_cert("localhost"))
    listener = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=context)
    port = listener.sockets[0].getsockname()[1]
    async with reached(port, f"ca: {kept}/ca.crt", listen=listen) as proxy:
        reader, writer = await asyncio.open_connection(
            *_address(proxy), ssl=client, server_hostname="localhost"
        )
        writer.write(HANDSHAKE)
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        data = bytes(range(256)) * 2000
        writer.write(data)
        assert await reader.readexactly(len(data)) == data
        writer.close()
        while await metric(proxy, "octollm_proxy_in_flight"):
            pass
    listener.close()
