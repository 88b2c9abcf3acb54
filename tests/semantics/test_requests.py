"""Which settings are a request's, and whether it may be sent twice."""

import pytest

from proxy.config.providers import PROVIDERS
from proxy.config.schema import RouteMatch
from proxy.semantics.requests import may_repeat, only_reads, serves

READS = PROVIDERS["qdrant"].reads
SEARCH, WRITE = "/collections/x/points/search", "/collections/x/points/delete"


@pytest.mark.parametrize(
    ("match", "method", "path", "served"),
    [
        ({}, "GET", "/anything", True),
        ({"path": "/v1"}, "GET", "/v1", True),
        ({"path": "/v1"}, "GET", "/v1/x", True),
        ({"path": "/v1"}, "GET", "/v1x", False),
        ({"path": "/"}, "GET", "/x", True),
        ({"methods": ["POST"]}, "GET", "/x", False),
        ({"path": "/v1", "methods": ["POST"]}, "POST", "/v1/x", True),
    ],
)
def test_a_route_serves_its_methods_and_whole_segments(match, method, path, served):
    assert serves(RouteMatch.model_validate(match), method, path) is served


@pytest.mark.parametrize(
    ("method", "path", "unsafe", "may"),
    [
        ("GET", WRITE, "never", True),
        ("PUT", WRITE, "never", True),
        ("POST", WRITE, "always", True),
        ("POST", SEARCH, "never", False),
        ("POST", SEARCH, "auto", True),
        ("POST", WRITE, "auto", False),
        ("PATCH", SEARCH, "auto", False),
    ],
)
def test_what_may_be_repeated(method, path, unsafe, may):
    assert may_repeat(method, path, READS, unsafe) is may


def test_an_idempotency_key_says_that_repeating_is_safe():
    assert may_repeat("POST", WRITE, READS, "auto", idempotency_key=True)
    assert not may_repeat("POST", WRITE, READS, "never", idempotency_key=True)


def test_a_method_that_may_be_repeated_need_not_be_one_that_reads():
    assert only_reads("GET", WRITE, READS)
    assert not only_reads("PUT", SEARCH, READS)
