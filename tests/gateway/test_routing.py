"""The path alone chooses the upstream, and never leaves its base path."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import errors
from proxy.gateway import routing

TARGETS = [
    ("/openai/v1/chat?x=1", ("openai", "/v1/chat?x=1")),
    ("/openai", ("openai", "")),
    ("/openai/", ("openai", "/")),
    ("/openai?x=/y", ("openai", "?x=/y")),
    ("/", ("", "")),
    ("//evil.example/x", ("", "/evil.example/x")),
    ("http://evil.example/openai/v1", ("openai", "/v1")),
    ("HTTPS://evil.example:99/openai/v1?q", ("openai", "/v1?q")),
    ("http://evil.example", ("", "")),
    ("http://evil.example?x", ("", "?x")),
]


@pytest.mark.parametrize(("target", "place"), TARGETS)
def test_the_first_segment_names_the_upstream(target, place):
    assert routing.locate(target) == place


@pytest.mark.parametrize("target", ["*", "evil.example:443", "openai/v1", "ftp://x/openai", ""])
def test_a_target_that_is_no_path_is_refused(target):
    with pytest.raises(errors.ValidationError):
        routing.locate(target)


UNTOUCHED = [
    "/v1/chat/completions",
    "/v1/models/gpt-4.1?x=a%20b&c=%2e%2e/",
    "/collections/a%2Fb/points",
    "/a//b",
    "/v1/%E4%BD%A0/..hidden/a..b/...",
    "/caf\udce9",
]


@pytest.mark.parametrize("rest", UNTOUCHED)
def test_bytes_under_the_base_path_are_untouched(rest):
    assert routing.join("/base", rest) == f"/base{rest}"


def test_an_empty_rest_is_the_base_path_or_the_root():
    assert routing.join("", "") == "/"
    assert routing.join("", "?x") == "/?x"
    assert routing.join("/base", "") == "/base"


TRICKS = [
    "/..",
    "/../admin",
    "/v1/../../admin",
    "/./v1",
    "/v1/%2e%2e/admin",
    "/v1/.%2E/admin",
    "/v1/..%2fadmin",
    "/v1%2f..%2fadmin",
    "/v1/..;/admin",
    "/v1/..;x=1/admin",
    "/v1\\..\\admin",
    "/v1/%5c../x",
    "/v1%00/x",
    "/.",
]


@pytest.mark.parametrize("rest", TRICKS)
def test_a_path_that_servers_read_differently_is_refused(rest):
    with pytest.raises(errors.ValidationError):
        routing.join("/base", rest)


@given(st.text(alphabet="/.%2eEfF5cC0;\\ab?-", max_size=24))
def test_the_quick_look_never_passes_what_the_close_look_refuses(text):
    path = "/" + text.partition("?")[0]

    try:
        routing.join("/base", "/" + text)
    except errors.ValidationError:
        assert routing.is_ambiguous(path)
    else:
        assert not routing.is_ambiguous(path)


def test_routes_are_matched_without_the_query():
    assert routing.path_of("/v1/embeddings?x=/y") == "/v1/embeddings"
