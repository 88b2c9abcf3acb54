"""What an upstream's status means in the standard's words.

Pure: a status and the sentence that came with it in, an error out. The table is the contract's;
this is the only file that turns a foreign status into a code of ours.
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

from proxy import errors
from proxy.errors import OctoLLMError, Severity

_KIND_ERRORS: dict[str, type[errors.ExternalError]] = {
    "llm": errors.LLMAPIError,
    "vectordb": errors.VectorDBError,
    "http": errors.ThirdPartyAPIError,
}
_CALLERS_FAULTS = frozenset((400, 413, 415, 422))
_CREDENTIAL_ERRORS: dict[int, type[errors.ValidationError]] = {
    401: errors.AuthenticationError,
    403: errors.AuthorizationError,
}
_TIMEOUTS = frozenset((408, 504))
_UNAVAILABLE = frozenset((503, 529))


@dataclass(frozen=True, slots=True)
class Origin:
    """Who answered, as far as it matters for what the answer means."""

    kind: Literal["llm", "vectordb", "http"]
    provider: str
    our_credential: bool
    """The upstream's `auth` put our key in: a 401 is then our fault and not the caller's."""


def passes(status: int, origin: Origin, rewrite: bool | frozenset[int]) -> bool:
    """Tell whether an answer goes to the caller as it is: 2xx, 3xx, and 4xx not to be rewritten."""
    if 200 <= status < 400:
        return True
    if not 400 <= status < 500 or (origin.our_credential and status in _CREDENTIAL_ERRORS):
        return False
    return rewrite is False or (rewrite is not True and status not in rewrite)


def meaning(status: int, origin: Origin, said: str, asked: float | None) -> OctoLLMError:
    """Give the error that *status* stands for; *asked* is how long the answer says to wait.

    *said* is the upstream's own sentence, fit to be shown; empty: the status's phrase stands for
    it. `condition` is the status itself: what `retry_on` and `failure_on` name.
    """
    said = said or _phrase(status)
    error_class, told = _classify(status, origin)
    error = error_class.rebuild(
        f"{origin.provider} API error: {said}",
        details={"provider": origin.provider, "status_code": status, "error_message": said},
        retry_after=asked,
        status=told,
    )
    error.condition = status
    if origin.our_credential and status in _CREDENTIAL_ERRORS:
        error.severity = Severity.CRITICAL  # nobody gets through until somebody mends our key
        error.message += " (the key is the proxy's own)"
    return error


def _classify(status: int, origin: Origin) -> tuple[type[OctoLLMError], int]:
    """Give class and status of ours for an upstream's status (the contract's second table)."""
    kind_error = _KIND_ERRORS[origin.kind]
    if status in _CREDENTIAL_ERRORS:
        if origin.our_credential:
            return kind_error, 502
        return _CREDENTIAL_ERRORS[status], status
    if status in _CALLERS_FAULTS:
        return errors.ValidationError, status
    if status in _TIMEOUTS:
        return errors.TimeoutError, 504
    if status == 429:
        return errors.RateLimitError, 429
    if status in _UNAVAILABLE:
        return kind_error, 503
    return kind_error, status if 400 <= status < 500 else 502


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"status {status}"
