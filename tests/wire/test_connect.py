import asyncio
import shutil
import ssl
import subprocess

import pytest

from proxy import errors
from proxy.config.url import Url
from proxy.wire.client import Client

from .support import get, limits

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


def here(port: int, scheme: str = "http", host: str = "127.0.0.1") -> Url:
    return Url(scheme=scheme, host=host, port=port, path="")  # type: ignore[arg-type]


async def ask(client: Client, **seconds: float) -> bytes:
    try:
        with await client.exchange(get(), limits(**seconds)) as exchange:
            return await exchange.read()
    finally:
        await client.close()
        await asyncio.sleep(0.01)


async def failure(client: Client, **seconds: float) -> errors.OctoLLMError:
    with pytest.raises(errors.OctoLLMError) as caught:
        await ask(client, **seconds)
    assert caught.value.sent is False
    assert "127.0.0.1" not in caught.value.message
    return caught.value


@pytest.fixture
async def listening():
    listeners = []

    async def listen(script, **facts) -> int:
        async def connected(reader, writer):
            try:
                await script(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()

        listener = await asyncio.start_server(connected, "127.0.0.1", 0, **facts)
        listeners.append(listener)
        return listener.sockets[0].getsockname()[1]

    yield listen
    for listener in listeners:
        listener.close()


async def answering(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(OK)
    await writer.drain()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", "key.pem",
         "-out", "cert.pem", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return folder


def server_side(certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    return context


async def test_a_port_that_nobody_listens_on_is_a_connect_failure(listening):
    port = await listening(answering)
    listener = await asyncio.start_server(answering, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()

    error = await failure(Client(here(port)))

    assert (type(error), error.condition, error.retryable) == (errors.NetworkError, "connect", True)


async def test_a_name_that_does_not_exist_is_a_connect_failure():
    error = await failure(Client(here(80, host="nobody.invalid")))

    assert (error.condition, error.message) == (
        "connect",
        "the upstream's name could not be resolved",
    )


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["127.0.0.2", "127.0.0.1"]])
async def test_every_address_of_a_name_is_tried(listening, addresses, monkeypatch):
    port = await listening(answering)
    loop = asyncio.get_running_loop()

    async def resolve(host, port, **_):
        return [(2, 1, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(loop, "getaddrinfo", resolve)

    assert await ask(Client(here(port, host="many.invalid"))) == b"ok"


@pytest.mark.real_time("asyncio", "uvloop")
async def test_tls_speaks_the_name_and_verifies_it(listening, certificate):
    port = await listening(answering, ssl=server_side(certificate))
    trusting = ssl.create_default_context(cafile=str(certificate / "cert.pem"))

    assert await ask(Client(here(port, "https", "localhost"), tls=trusting)) == b"ok"


@pytest.mark.real_time("asyncio", "uvloop")
async def test_a_certificate_that_cannot_be_verified_is_not_tried_again(listening, certificate):
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    port = await listening(answering, ssl=server_side(certificate))

    error = await failure(Client(here(port, "https", "localhost")))

    assert (error.condition, error.retryable) == ("connect", False)
    assert "certificate verification failed" in error.message


@pytest.mark.real_time("asyncio", "uvloop")
async def test_tls_to_a_port_that_does_not_speak_it_is_a_connect_failure(listening):
    async def plain(reader, writer):
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    error = await failure(Client(here(await listening(plain), "https", "localhost")))

    assert (error.condition, error.message) == (
        "connect",
        "the TLS handshake with the upstream failed",
    )


@pytest.mark.parametrize(
    ("seconds", "condition"), [({"connect": 2}, "connect"), ({"deadline": 2}, None)]
)
async def test_a_handshake_that_hangs_is_timed(listening, seconds, condition):
    async def silent(reader, writer):
        await reader.read()

    error = await failure(Client(here(await listening(silent), "https", "localhost")), **seconds)

    assert (type(error), error.condition) == (errors.TimeoutError, condition)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_an_egress_proxy_is_asked_for_the_way(listening, host):
    seen = []

    async def egress(reader, writer):
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 Connection ")
        await writer.drain()
        await asyncio.sleep(0.01)
        writer.write(b"established\r\n\r\n")
        await answering(reader, writer)

    port = await listening(egress)

    assert await ask(Client(here(9, host=host), egress=here(port))) == b"ok"
    named = b"[::1]:9" if host == "::1" else b"127.0.0.1:9"
    assert seen == [b"CONNECT " + named + b" HTTP/1.1\r\nHost: " + named + b"\r\n\r\n"]


@pytest.mark.parametrize(
    ("says", "message"),
    [
        (b"HTTP/1.1 407 Who\r\n\r\n", "the egress proxy refused"),
        (b"SSH-2.0\r\n\r\n", "the egress proxy refused"),
        (b"nonsense\r\n\r\n", "the egress proxy refused"),
        (b"", "the egress proxy sent no answer"),
        (b"x" * 20000, "the egress proxy sent no answer"),
    ],
)
async def test_an_egress_proxy_that_does_not_agree_is_a_connect_failure(listening, says, message):
    async def egress(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(says)
        await writer.drain()

    error = await failure(Client(here(9), egress=here(await listening(egress))))

    assert (error.condition, error.message) == ("connect", message)
