"""An error to status, headers and body, and back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import envelope, errors

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@pytest.mark.parametrize("cls", errors.taxonomy(), ids=lambda cls: cls.__name__)
def test_a_python_caller_gets_the_same_exception_back(cls):
    error = cls.rebuild("it broke", details={"provider": "p", "n": [1, 2]}, retry_after=3)
    status, _, body = envelope.render(error)

    again = envelope.from_response(status, body)

    first = next(c for c in errors.taxonomy() if c.error_code == cls.error_code)
    assert type(again) is first
    assert isinstance(error, type(again)) or cls.error_code == "UNKNOWN_ERROR"
    assert again.to_dict() == error.to_dict()
    assert again.status == error.status


@given(message=st.text(), details=st.dictionaries(st.text(), PLAIN), status=st.integers(400, 599))
def test_any_text_survives_the_way_there_and_back(message, details, status):
    error = errors.LLMAPIError.rebuild(message, details=details, status=status)

    again = envelope.from_response(status, envelope.render(error)[2])

    assert again.message == message
    assert again.details == details


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"error":{"message":"x"}}', b"[" * 90000]
)
def test_a_body_that_is_no_envelope_keeps_its_status(body):
    error = envelope.from_response(418, body)

    assert (type(error), error.status) == (errors.OctoLLMError, 418)
    assert error.error_code == "UNKNOWN_ERROR"


def test_odd_members_of_an_envelope_do_not_break_the_reader():
    body = json.dumps({"error": "LLM_API_ERROR", "message": "m", "details": [], "retry_after": "x"})

    error = envelope.from_response(502, body)

    assert isinstance(error, errors.LLMAPIError)
    assert (error.details, error.retry_after) == ({}, None)


def test_retry_after_is_the_same_number_in_header_and_body():
    _, headers, body = envelope.render(errors.CircuitOpenError("openai", 11.2))

    assert (b"Retry-After", b"12") in headers
    assert json.loads(body)["retry_after"] == 12


def test_should_retry_is_told_only_where_it_is_known():
    error = errors.CircuitOpenError("openai", 1)

    assert (b"X-Should-Retry", b"false") in envelope.render(error, should_retry=False)[1]
    assert b"X-Should-Retry" not in dict(envelope.render(error)[1])


ACCEPTS = [
    (b"", False),
    (b"*/*", False),
    (b"application/json", False),
    (b"application/problem+json", True),
    (b"Application/Problem+JSON", True),
    (b"application/problem+json, application/json", True),
    (b"application/problem+json;q=0.5, application/json", False),
    (b"application/problem+json;q=0", False),
    (b"application/problem+json; q=1, application/json;q=0.9", True),
    (b"application/problem+json;q=nonsense", False),
    (b"text/html, application/problem+json;charset=utf-8;q=0.2, */*", True),
]


@pytest.mark.parametrize(("accept", "wanted"), ACCEPTS)
def test_problem_json_is_given_to_who_asks_for_it(accept, wanted):
    assert envelope.wants_problem(accept) is wanted


def test_a_problem_has_rfc_9457s_members_beside_ours():
    _, headers, body = envelope.render(
        errors.NetworkError("the upstream refused", condition="connect"),
        accept=b"application/problem+json",
    )

    assert (b"Content-Type", b"application/problem+json") in headers
    assert json.loads(body) == {
        "error": "NETWORK_ERROR",
        "message": "the upstream refused",
        "details": {},
        "type": "about:blank",
        "title": "Bad Gateway",
        "status": 502,
        "detail": "the upstream refused",
    }


def test_a_problem_of_an_unknown_status_has_a_title_too():
    error = errors.OctoLLMError("x", status=599)

    body = envelope.render(error, accept=b"application/problem+json")[2]

    assert json.loads(body)["title"] == "Error"


def test_a_surrogate_from_an_upstream_does_not_break_the_answer():
    assert b"?" in envelope.render(errors.OctoLLMError("\ud800"))[2]


PROXY_STATUS = [
    (errors.NetworkError("x", condition="connect"), b"error=connection_refused"),
    (errors.NetworkError("x", condition="cut"), b"error=http_response_incomplete"),
    (errors.NetworkError("x", status=508), b"error=proxy_loop_detected"),
    (errors.TimeoutError("connecting", 1, condition="connect"), b"error=connection_timeout"),
    (errors.TimeoutError("waiting", 1, condition="timeout"), b"error=http_response_timeout"),
    (errors.LLMAPIError("openai", 503), b"received-status=503"),
    (errors.CircuitOpenError("openai", 1), b"error=destination_unavailable"),
    (errors.RouteNotFoundError("x"), b"error=destination_not_found"),
    (errors.InternalError("x"), b"error=proxy_internal_error"),
]


@pytest.mark.parametrize(("error", "member"), PROXY_STATUS)
def test_proxy_status_says_what_happened_in_rfc_9209s_words(error, member):
    assert envelope.proxy_status(error) == b"octollm-proxy; " + member
