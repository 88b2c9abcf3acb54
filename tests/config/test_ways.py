"""How callers reach us and we reach upstreams: socket files, TLS, and the files it needs."""

import re
import ssl
from pathlib import Path

import pytest
import trustme

from proxy.config import tls
from proxy.config.listening import ListenerTls, UpstreamTls
from proxy.config.load import parse
from proxy.config.problem import ConfigError
from proxy.config.url import Url, is_loopback, url


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    ca = trustme.CA()
    for name in ("one", "two"):
        cert = ca.issue_cert("localhost")
        cert.cert_chain_pems[0].write_to_path(folder / f"{name}.crt")
        cert.private_key_pem.write_to_path(folder / f"{name}.key")
    ca.cert_pem.write_to_path(folder / "ca.crt")
    (folder / "letter").write_text("Dear all,")
    (folder / "secret.key").write_bytes(_with_a_passphrase(folder / "one.key"))
    return folder


def _with_a_passphrase(key):
    from cryptography.hazmat.primitives import serialization as form

    return form.load_pem_private_key(key.read_bytes(), None).private_bytes(
        form.Encoding.PEM, form.PrivateFormat.PKCS8, form.BestAvailableEncryption(b"open sesame")
    )


def config(text, env=None):
    return parse(text, "f", {} if env is None else env)


def problems(text):
    with pytest.raises(ConfigError) as refused:
        config(text)
    return [str(problem) for problem in refused.value.problems]


# Socket files


def test_a_socket_file_is_a_place_to_listen_and_to_call():
    found = config("listen: {host: unix:/run/p.sock}\nupstreams: {u: {url: 'unix:/run/u.sock'}}")

    where = found.upstreams["u"].url
    assert found.listen.host == "unix:/run/p.sock"
    assert where == Url("unix", "/run/u.sock", 0, "") == url("unix:/run/u.sock")
    assert (where.authority, str(where)) == ("localhost", "unix:/run/u.sock")
    assert is_loopback("unix:/run/p.sock")


@pytest.mark.parametrize("text", ["unix:", "unix:x", "unix:/x/", "unix:/" + "x" * 107, "unix:/\0"])
def test_what_cannot_be_a_socket_file_is_refused(text):
    with pytest.raises(ValueError, match="Unix socket"):
        url(text)


def test_a_path_may_be_as_long_as_the_kernel_takes():
    assert url("unix:/" + "x" * 106)


def test_a_listener_of_its_own_needs_a_port_or_a_socket_file():
    block = "upstreams: {{u: {{url: 'http://h', listen: {}}}}}"

    assert problems(block.format("{}")) == ["f:1:34: upstreams.u.listen.port: is missing"]
    assert config(block.format("{host: unix:/run/u.sock}"))
    # Where the environment is another, nobody knows.
    assert parse(block.format('{port: "${PORT}"}'), "f", None)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("listen: {host: unix:x}", "f:1:10: listen.host: 'unix:x' is not the path of a Unix socket"),
        ("admin: {host: unix:/x}", "f:1:9: admin.host: 'unix:/x' is not a host name or an IP"),
        ("listen: {host: unix:/x, port: 8080}", "f:1:25: listen.port: is given beside a Unix socket"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_listener_is_told_where_it_stands(text, told):
    [problem] = problems(f"{text}\nupstreams: {{}}")
    assert problem.startswith(told)


def test_a_socket_file_has_one_listener():
    text = "listen: {host: unix:/x}\nupstreams: {u: {url: 'http://h', listen: {host: unix:/x}}}"
    assert problems(text) == ["f:2:43: upstreams.u.listen.host: is taken by listen already"]


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ("url: 'http://h', egress: unix:/x", "egress: is not an http:// URL"),
        ("url: 'unix:/x', egress: 'http://p'", "egress: leads to no Unix socket, which"),
        ("url: 'unix:/x', tls: {}", "tls: is for https, which url is not"),
        ("url: 'http://h', tls: {}", "tls: is for https, which url is not"),
    ],
)
def test_a_way_that_leads_nowhere_is_told(block, told):
    [problem] = problems(f"upstreams: {{u: {{{block}}}}}")
    assert told in problem


# Files of TLS


def test_files_that_go_together_are_taken(kept):
    text = f"""
listen: {{tls: {{certificate: {kept}/one.crt, key: {kept}/one.key, client_ca: {kept}/ca.crt}}}}
upstreams:
  u:
    url: https://h
    listen: {{port: 0, tls: {{certificate: {kept}/two.crt, key: {kept}/two.key}}}}
    tls: {{ca: {kept}/ca.crt, certificate: {kept}/two.crt, key: {kept}/two.key, server_name: x.y}}
"""
    assert config(text).upstreams["u"].tls.server_name == "x.y"


@pytest.mark.parametrize(
    ("tls", "told"),
    [
        ("{certificate: K/none, key: K/one.key}", "certificate: cannot be read: No such file or dir"),
        ("{certificate: K/one.crt, key: K}", "key: cannot be read: Is a directory"),
        ("{certificate: K/one.crt, key: K/two.key}", "certificate: is no PEM certificate that goes"),
        ("{certificate: K/letter, key: K/one.key}", "certificate: is no PEM certificate that goes"),
        ("{certificate: K/one.crt, key: K/secret.key}", "certificate: is no PEM certificate that"),
        ("{certificate: K/one.crt}", "key: is missing"),
        ("{key: K/one.key}", "certificate: is missing"),
        (
            "{certificate: K/one.crt, key: K/one.key, client_ca: K/letter}",
            "client_ca: holds no PEM certificate",
        ),
        (
            '{certificate: K/one.crt, key: K/one.key, client_ca: ""}',
            "client_ca: ",
        ),
        (
            '{certificate: K/one.crt, key: K/one.key, client_ca: "\\0"}',
            "client_ca: ",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_files_of_a_listener_is_told_with_its_place(kept, tls, told):
    [problem] = problems(f"listen:\n  tls: {tls.replace('K', str(kept))}\nupstreams: {{}}")

    assert problem.startswith("f:2:")
    assert f"listen.tls.{told}" in problem


@pytest.mark.parametrize(
    ("tls", "told"),
    [
        ("{certificate: K/one.crt}", ["certificate: is given without its key"]),
        ("{key: K/one.key}", ["key: is given without its certificate"]),
        ("{ca: K/none}", ["ca: cannot be read: No such file or directory"]),
        ("{ca: K/one.key}", ["ca: holds no PEM certificate"]),
        (
            "{certificate: K/none, key: K/nothing}",
            ["certificate: cannot be read: No such", "key: cannot be read: No such"],
        ),
    ],
)
def test_what_is_wrong_with_the_files_of_an_upstream_is_told_with_its_place(kept, tls, told):
    found = problems(f"upstreams:\n  u: {{url: https://h, tls: {tls.replace('K', str(kept))}}}")

    assert len(found) == len(told)
    for problem, words in zip(found, told, strict=True):
        assert problem.startswith("f:2:")
        assert f"upstreams.u.tls.{words}" in problem


def test_where_the_environment_is_another_so_are_the_files():
    text = "listen: {tls: {certificate: /none.crt, key: '${KEY}'}}\nupstreams: {}"

    assert parse(text, "f", None).listen.tls.certificate == "/none.crt"


# What they mean


PAGE = Path(__file__).parent.parent.parent / "docs" / "connections.md"
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_of_the_page_on_connections_is_a_config(block):
    assert parse(block if "upstreams:" in block else block + "upstreams: {}", "f", None)


def test_nothing_older_than_tls_1_2_is_spoken_and_upstreams_are_always_verified(kept):
    listening = tls.of_listener(
        ListenerTls(certificate=str(kept / "one.crt"), key=str(kept / "one.key"))
    )
    plain = tls.of_upstream(None)
    own = tls.of_upstream(UpstreamTls(ca=str(kept / "ca.crt")))

    assert {context.minimum_version for context in (listening, plain, own)} == {
        ssl.TLSVersion.TLSv1_2
    }
    assert listening.verify_mode is ssl.CERT_NONE
    for context in (plain, own):
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert len(own.get_ca_certs()) == 1
