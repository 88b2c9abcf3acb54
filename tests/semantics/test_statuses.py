"""The contract's table of answers, and the sentences that come with them."""

import pytest

from proxy import errors
from proxy.errors import Severity
from proxy.semantics.sentences import sentence
from proxy.semantics.statuses import Origin, meaning, passes

THEIRS = Origin("vectordb", "qdrant", our_credential=False)
OURS = Origin("llm", "openai", our_credential=True)

TABLE = [
    (400, errors.ValidationError, 400),
    (413, errors.ValidationError, 413),
    (401, errors.AuthenticationError, 401),
    (403, errors.AuthorizationError, 403),
    (404, errors.VectorDBError, 404),
    (408, errors.TimeoutError, 504),
    (504, errors.TimeoutError, 504),
    (429, errors.RateLimitError, 429),
    (503, errors.VectorDBError, 503),
    (529, errors.VectorDBError, 503),
    (500, errors.VectorDBError, 502),
    (101, errors.VectorDBError, 502),
    (999, errors.VectorDBError, 502),
]


@pytest.mark.parametrize(("status", "cls", "told"), TABLE)
def test_a_status_becomes_the_contracts(status, cls, told):
    error = meaning(status, THEIRS, "said", 3.0)

    assert type(error) is cls
    assert (error.status, error.condition, error.retry_after) == (told, status, 3.0)
    assert error.details == {"provider": "qdrant", "status_code": status, "error_message": "said"}


def test_our_own_key_refused_is_our_own_fault():
    error = meaning(401, OURS, "", None)

    assert type(error) is errors.LLMAPIError
    assert (error.status, error.severity) == (502, Severity.CRITICAL)
    assert error.message == "openai API error: Unauthorized (the key is the proxy's own)"


def test_an_answer_without_a_sentence_is_told_by_its_phrase():
    assert meaning(500, THEIRS, "", None).details["error_message"] == "Internal Server Error"
    assert meaning(599, THEIRS, "", None).details["error_message"] == "status 599"


@pytest.mark.parametrize(
    ("status", "origin", "rewrite", "passed"),
    [
        (200, THEIRS, True, True),
        (302, THEIRS, True, True),
        (404, THEIRS, True, False),
        (404, THEIRS, False, True),
        (404, THEIRS, frozenset({404}), False),
        (404, THEIRS, frozenset({422}), True),
        (500, THEIRS, False, False),
        (401, OURS, False, False),
    ],
)
def test_what_goes_to_the_caller_as_it_is(status, origin, rewrite, passed):
    assert passes(status, origin, rewrite) is passed


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"error": {"message": "openai"}}, "openai"),
        ({"message": "chroma"}, "chroma"),
        ({"detail": "fastapi"}, "fastapi"),
        ({"detail": [{"msg": "field required"}]}, "field required"),
        ({"status": {"error": "qdrant"}}, "qdrant"),
        ({"errors": ["first", "second"]}, "first"),
        ({"errors": []}, ""),
        ("text", "text"),
        ([1], ""),
        ({"error": 5}, ""),
    ],
)
def test_the_sentence_is_found_in_the_shapes_of_the_field(content, said):
    assert sentence(content) == said


def test_nobody_looks_into_a_body_for_ever():
    content = {"message": "deep"}
    for _ in range(20):
        content = {"error": content}

    assert sentence(content) == ""
