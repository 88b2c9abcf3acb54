"""Whose key goes out, and who may ask."""

import pytest

from proxy import errors
from proxy.gateway import credentials


@pytest.mark.parametrize(
    ("target", "left"),
    [
        ("/v1?key=theirs", "/v1"),
        ("/v1?a=%20&key=theirs&b", "/v1?a=%20&b"),
        ("/v1?key=1&key=2", "/v1"),
        ("/v1?%6bey=theirs&a=%20", "/v1?a=%20"),
        ("/v1?monkey=1&keys=2", "/v1?monkey=1&keys=2"),
        ("/key=x", "/key=x"),
    ],
)
def test_a_key_in_the_query_is_removed_and_nothing_else(target, left):
    assert credentials.without_key(target) == left


@pytest.mark.parametrize(
    "fields",
    [
        {b"authorization": b"Bearer s3cret"},
        {b"authorization": b"bearer  s3cret"},
        {b"authorization": b"s3cret"},
        {b"x-api-key": b"s3cret"},
        {b"api-key": b"s3cret"},
        {b"proxy-authorization": b"Bearer s3cret", b"authorization": b"Bearer theirs"},
    ],
)
def test_the_listeners_token_is_found_where_clients_put_a_key(fields):
    credentials.require_token(fields, "s3cret")


@pytest.mark.parametrize(
    "fields", [{}, {b"authorization": b"Bearer s3cre"}, {b"cookie": b"s3cret"}]
)
def test_without_the_token_nobody_passes_and_the_error_does_not_tell_it(fields):
    with pytest.raises(errors.AuthenticationError) as refusal:
        credentials.require_token(fields, "s3cret")

    assert "s3cret" not in str(refusal.value.to_dict())


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {
            b"sec-fetch-site": b"same-origin",
            b"origin": b"http://127.0.0.1:8080",
            b"host": b"127.0.0.1:8080",
        },
        {b"sec-fetch-site": b"none", b"host": b"[::1]:8080"},
        {b"origin": b"http://127.0.0.1:8080", b"host": b"127.0.0.1:8080"},
    ],
)
def test_programs_and_our_own_pages_pass(fields):
    credentials.refuse_other_origins(fields, loopback=True)


@pytest.mark.parametrize(
    "fields",
    [
        {b"sec-fetch-site": b"cross-site"},
        {b"sec-fetch-site": b"same-site"},
        {b"origin": b"http://evil.example", b"host": b"127.0.0.1:8080"},
        # A name that its owner points at 127.0.0.1 (DNS rebinding).
        {b"sec-fetch-site": b"same-origin", b"host": b"evil.example:8080"},
        {b"origin": b"null", b"host": b"127.0.0.1:8080"},
        {b"origin": b"http://localhost:3000", b"host": b"localhost:8080"},
    ],
)
def test_a_page_of_another_origin_is_refused(fields):
    with pytest.raises(errors.AuthorizationError):
        credentials.refuse_other_origins(fields, loopback=True)


@pytest.mark.parametrize(
    ("offered", "kept"),
    [
        (b"realtime, openai-insecure-api-key.sk-canary, v1", b"realtime, v1"),
        (b"realtime,v1", b"realtime,v1"),
        (b"openai-insecure-api-key.sk-canary", None),
    ],
)
def test_a_key_among_the_subprotocols_of_a_websocket_is_removed(offered, kept):
    head = [(b"Host", b"x"), (b"Sec-WebSocket-Protocol", offered)]
    wanted = [] if kept is None else [(b"Sec-WebSocket-Protocol", kept)]

    assert credentials.without_subprotocol_key(head) == [(b"Host", b"x"), *wanted]


def test_a_caller_is_told_by_its_key_and_by_a_cookie_only_without_one():
    def of(target="/v1", **fields):
        named = {name.replace("_", "-").encode(): value for name, value in fields.items()}
        return credentials.fingerprint(named, target)

    assert of() == b""
    assert of(authorization=b"a") == of(authorization=b"a", cookie=b"set on the way")
    assert of(cookie=b"a") != of(cookie=b"b")
    assert len({of(authorization=b"a"), of(x_api_key=b"a"), of("/v1?key=a"), of(cookie=b"a")}) == 4
    assert b"a-secret" not in of(authorization=b"a-secret")
