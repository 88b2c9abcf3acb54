import pytest

from proxy import errors
from proxy.config.fields import When
from proxy.errors import OctoLLMError
from proxy.policy.fallback import moves_on


def said(status, *codes, error=errors.ValidationError):
    """An error as an upstream said it, by status and by the words it gave."""
    it = error("no", status=status, condition=status)
    it.upstream_codes = frozenset(codes)
    return it


def with_condition(error, condition):
    error.condition = condition
    return error


MOVING = [
    errors.CircuitOpenError("openai", 1.0),
    errors.RateLimitError.rebuild("ours", retry_after=1.0),
    with_condition(errors.RateLimitError.rebuild("theirs"), 429),
    with_condition(errors.CapacityExceededError("no connection is free", sent=False), None),
    errors.NetworkError("refused", condition="connect"),
    errors.NetworkError("reset", condition="reset"),
    errors.NetworkError("not HTTP", condition="protocol"),
    errors.NetworkError("cut", condition="cut"),
    errors.TimeoutError("first byte", 30, condition="timeout"),
    errors.LLMAPIError("openai", 500, condition=500),
    errors.LLMAPIError("openai", 503, condition=503, status=503),
    errors.LLMAPIError("openai", 401, condition=401, status=502),
    errors.TimeoutError("they", 1, condition=408),
]


@pytest.mark.parametrize("error", MOVING, ids=lambda error: f"{error.error_code} {error.condition}")
def test_what_is_wrong_with_one_upstream_is_a_reason_to_ask_another(error):
    assert moves_on(error)


STAYING = [
    errors.ValidationError("ours"),
    errors.ValidationErrors([]),
    errors.PayloadTooLargeError("too large"),
    errors.InternalError("ours"),
    errors.ArmUnavailableError(("vision",)),
    errors.CapacityExceededError("this proxy is shutting down"),
    errors.NetworkError("asked to call itself", status=508),
    errors.TimeoutError("the call", 60),
    errors.AuthenticationError("theirs", condition=401),
    said(400),
    said(404),
    said(413),
]


@pytest.mark.parametrize(
    "error", STAYING, ids=lambda error: f"{error.error_code} {error.condition}"
)
def test_what_would_go_wrong_anywhere_stays(error):
    assert not moves_on(error)


@pytest.mark.parametrize(
    ("error", "when", "moves"),
    [
        (said(404), [When(404, None)], True),
        (said(404), [When(400, None)], False),
        (said(404), [When(400, None), When(404, None)], True),
        (said(400, "too_long"), [When(400, "too_long")], True),
        (said(400, "invalid", "too_long"), [When(400, "too_long")], True),
        (said(422, "too_long"), [When(400, "too_long")], False),
        (said(400, "other"), [When(400, "too_long")], False),
        (said(400), [When(400, "too_long")], False),
        # What a caller did wrong towards us has no status of an upstream's.
        (errors.ValidationError("ours"), [When(400, None)], False),
    ],
)
def test_a_callers_fault_moves_on_where_status_and_word_are_named(error, when, moves):
    assert moves_on(error, when) is moves


def test_what_nobody_knows_stays():
    assert not moves_on(OctoLLMError("unheard of"))
