"""The taxonomy: every class of the standard, with its code, status and severity."""

import copy
import pickle

import pytest

from proxy import errors
from proxy.errors import OctoLLMError, Severity

# The contract's first table: class, its parent, code, status, severity, whose fault, worth a retry.
TAXONOMY = [
    ("OctoLLMError", "Exception", "UNKNOWN_ERROR", 500, "error", False, False),
    ("ValidationError", "OctoLLMError", "VALIDATION_ERROR", 400, "warning", False, False),
    ("InvalidInputError", "ValidationError", "VALIDATION_ERROR", 400, "warning", False, False),
    ("ValidationErrors", "ValidationError", "VALIDATION_ERRORS", 422, "warning", False, False),
    ("TaskNotFoundError", "ValidationError", "TASK_NOT_FOUND", 404, "warning", False, False),
    ("RouteNotFoundError", "ValidationError", "ROUTE_NOT_FOUND", 404, "warning", False, False),
    (
        "AuthenticationError",
        "ValidationError",
        "AUTHENTICATION_ERROR",
        401,
        "warning",
        False,
        False,
    ),
    ("AuthorizationError", "ValidationError", "AUTHORIZATION_ERROR", 403, "warning", False, False),
    ("PayloadTooLargeError", "ValidationError", "PAYLOAD_TOO_LARGE", 413, "warning", False, False),
    ("PiiDetectedError", "ValidationError", "PII_DETECTED", 400, "warning", False, False),
    ("ResourceError", "OctoLLMError", "UNKNOWN_ERROR", 503, "error", False, False),
    ("ArmUnavailableError", "ResourceError", "ARM_UNAVAILABLE", 503, "error", False, False),
    ("CapacityExceededError", "ResourceError", "CAPACITY_EXCEEDED", 503, "warning", False, False),
    ("RateLimitError", "ResourceError", "RATE_LIMIT_EXCEEDED", 429, "warning", False, True),
    ("SystemError", "OctoLLMError", "UNKNOWN_ERROR", 500, "error", False, False),
    ("CircuitOpenError", "SystemError", "CIRCUIT_OPEN", 503, "warning", False, False),
    ("NetworkError", "SystemError", "NETWORK_ERROR", 502, "error", True, True),
    ("TimeoutError", "SystemError", "TIMEOUT_ERROR", 504, "error", True, True),
    ("DatabaseError", "SystemError", "DATABASE_ERROR", 500, "error", False, False),
    ("CacheError", "SystemError", "CACHE_ERROR", 500, "error", False, False),
    ("SerializationError", "SystemError", "SERIALIZATION_ERROR", 500, "error", False, False),
    ("InternalError", "SystemError", "INTERNAL_ERROR", 500, "critical", False, False),
    ("ExternalError", "OctoLLMError", "UNKNOWN_ERROR", 502, "error", True, True),
    ("LLMAPIError", "ExternalError", "LLM_API_ERROR", 502, "error", True, True),
    ("VectorDBError", "ExternalError", "VECTOR_DB_ERROR", 502, "error", True, True),
    ("ThirdPartyAPIError", "ExternalError", "THIRD_PARTY_API_ERROR", 502, "error", True, True),
]


@pytest.mark.parametrize("row", TAXONOMY, ids=lambda row: row[0])
def test_a_class_carries_the_facts_of_the_contract(row):
    name, parent, code, status, severity, blames, retryable = row
    cls = getattr(errors, name)

    assert cls.__base__.__name__ == parent
    assert (cls.error_code, cls.status, cls.severity) == (code, status, Severity(severity))
    assert (cls.blames_upstream, cls.retryable) == (blames, retryable)


def test_the_taxonomy_lists_every_class_once_parents_first():
    assert {cls.__name__ for cls in errors.taxonomy()} == {row[0] for row in TAXONOMY}

    seen = set()
    for cls in errors.taxonomy():
        assert cls.__base__ in seen or cls is OctoLLMError
        seen.add(cls)


@pytest.mark.parametrize("cls", errors.taxonomy(), ids=lambda cls: cls.__name__)
def test_every_class_can_be_rebuilt_pickled_and_copied(cls):
    error = cls.rebuild("it broke", details={"a": 1}, retry_after=2.5, status=599)
    error.condition = "reset"

    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is cls
        assert twin.__dict__ == error.__dict__
        assert str(twin) == "it broke"


def test_a_wait_of_zero_does_not_disappear():
    assert OctoLLMError("x", retry_after=0).to_dict()["retry_after"] == 0
    assert "retry_after" not in OctoLLMError("x").to_dict()


@pytest.mark.parametrize(("wait", "told"), [(0.2, 1), (1.0, 1), (1.01, 2), (0, 0), (-3, 0)])
def test_a_wait_is_told_in_whole_seconds_rounded_up(wait, told):
    assert OctoLLMError("x", retry_after=wait).to_dict()["retry_after"] == told


def test_the_standards_own_arguments_make_the_standards_details():
    assert errors.TaskNotFoundError("t1").details == {"task_id": "t1"}
    assert errors.ArmUnavailableError(["chat"]).details == {"required_capabilities": ["chat"]}
    assert errors.RateLimitError(5, 60, 12).to_dict() == {
        "error": "RATE_LIMIT_EXCEEDED",
        "message": "rate limit exceeded: 5 requests per 60s",
        "details": {"limit": 5, "window": 60},
        "retry_after": 12,
    }
    assert errors.TimeoutError("connecting", 5).details == {"operation": "connecting", "timeout": 5}
    assert errors.ValidationError("bad", field="task_id").details == {"field": "task_id"}
    assert errors.ValidationErrors([{"field": "a", "message": "b"}]).details == {
        "errors": [{"field": "a", "message": "b"}]
    }
    assert errors.LLMAPIError("openai", 500, "down").details == {
        "provider": "openai",
        "status_code": 500,
        "error_message": "down",
    }
    assert errors.LLMAPIError("openai").message == "openai API error: unknown error"


def test_a_database_error_does_not_tell_what_the_database_said():
    told = errors.DatabaseError("query", ValueError("password=hunter2")).to_dict()

    assert told["details"] == {"operation": "query", "cause": "ValueError"}
    assert "hunter2" not in str(told)
