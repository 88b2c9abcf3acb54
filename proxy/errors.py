"""The taxonomy of OctoLLM's error handling standard: what can go wrong, and whose fault it is.

    OctoLLMError                    UNKNOWN_ERROR        500
    ├── ValidationError             VALIDATION_ERROR     400   the caller's request is at fault
    │   ├── InvalidInputError       VALIDATION_ERROR     400
    │   ├── ValidationErrors        VALIDATION_ERRORS    422
    │   ├── TaskNotFoundError       TASK_NOT_FOUND       404
    │   ├── RouteNotFoundError      ROUTE_NOT_FOUND      404
    │   ├── AuthenticationError     AUTHENTICATION_ERROR 401
    │   ├── AuthorizationError      AUTHORIZATION_ERROR  403
    │   ├── PayloadTooLargeError    PAYLOAD_TOO_LARGE    413
    │   └── PiiDetectedError        PII_DETECTED         400
    ├── ResourceError               UNKNOWN_ERROR        503   there is not enough of it
    │   ├── ArmUnavailableError     ARM_UNAVAILABLE      503
    │   ├── CapacityExceededError   CAPACITY_EXCEEDED    503
    │   └── RateLimitError          RATE_LIMIT_EXCEEDED  429
    ├── SystemError                 UNKNOWN_ERROR        500   what joins the parties is broken
    │   ├── CircuitOpenError        CIRCUIT_OPEN         503
    │   ├── NetworkError            NETWORK_ERROR        502
    │   ├── TimeoutError            TIMEOUT_ERROR        504
    │   ├── DatabaseError           DATABASE_ERROR       500
    │   ├── CacheError              CACHE_ERROR          500
    │   ├── SerializationError      SERIALIZATION_ERROR  500
    │   └── InternalError           INTERNAL_ERROR       500
    └── ExternalError               UNKNOWN_ERROR        502   the party we called is broken
        ├── LLMAPIError             LLM_API_ERROR        502
        ├── VectorDBError           VECTOR_DB_ERROR      502
        └── ThirdPartyAPIError      THIRD_PARTY_API_ERROR 502

An error knows its facts and nothing of how it is sent: bodies and headers are `envelope.py`'s.
`SystemError` and `TimeoutError` shadow builtins, as the standard has them: `errors.TimeoutError`.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar, Self


class Severity(StrEnum):
    """How loudly a failure is logged; the values are log levels."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class OctoLLMError(Exception):
    """Base of all OctoLLM errors.

    *message* is safe to show to a caller. *details* is JSON-serialisable. *retry_after* is in
    seconds, and None where waiting does not help; 0 means now.

    *condition* is the word of `retry_on` and `failure_on` that a failed call answers to: `connect`,
    `reset`, `timeout`, `protocol`, `cut`, or the upstream's status. None: no policy applies.
    *sent* is False only where certainly not one byte of the request reached the upstream.
    *upstream_codes* are the words by which an upstream itself names what went wrong.
    """

    error_code: ClassVar[str] = "UNKNOWN_ERROR"
    status: int = 500
    severity: Severity = Severity.ERROR
    retryable: bool = False
    blames_upstream: bool = False
    upstream_codes: frozenset[str] = frozenset()

    def __init__(
        self,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
        status: int | None = None,
        condition: str | int | None = None,
        sent: bool = True,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, Any] = dict(details or {})
        self.retry_after = retry_after
        self.condition = condition
        self.sent = sent
        if status is not None:
            self.status = status

    @classmethod
    def rebuild(
        cls,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
        status: int | None = None,
    ) -> Self:
        """Make an instance from its parts, whatever arguments the class itself takes."""
        error = cls.__new__(cls)
        OctoLLMError.__init__(
            error, message, details=details, retry_after=retry_after, status=status
        )
        return error

    def to_dict(self) -> dict[str, Any]:
        """Give the standard's error object; `retry_after` in whole seconds, rounded up."""
        body: dict[str, Any] = {
            "error": self.error_code,
            "message": self.message,
            "details": self.details,
        }
        if self.retry_after is not None:
            body["retry_after"] = whole_seconds(self.retry_after)
        return body

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception's own way calls the class with `args`, which these classes do not take.
        return (_restore, (type(self), self.message, self.__dict__.copy()))


def _restore(cls: type[OctoLLMError], message: str, state: dict[str, Any]) -> OctoLLMError:
    error = cls.rebuild(message)
    error.__dict__.update(state)
    return error


def whole_seconds(seconds: float) -> int:
    """Round a wait up to whole seconds: a caller told 0.2 s must not come back at once."""
    return max(0, -int(-seconds // 1))


class ValidationError(OctoLLMError):
    """The request itself is at fault; sending it again changes nothing."""

    error_code = "VALIDATION_ERROR"
    status = 400
    severity = Severity.WARNING

    def __init__(self, message: str, field: str | None = None, **facts: Any) -> None:
        if field is not None:
            facts["details"] = {**(facts.get("details") or {}), "field": field}
        super().__init__(message, **facts)


class InvalidInputError(ValidationError):
    """A value given by the caller is not one that can be used."""


class ValidationErrors(ValidationError):  # noqa: N818 -- the standard's name
    """Several faults of one request; *errors* are `{"field": …, "message": …}`, all at once."""

    error_code = "VALIDATION_ERRORS"
    status = 422

    def __init__(self, errors: Sequence[Mapping[str, str]]) -> None:
        found = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
        super().__init__(
            f"validation failed with {found}",
            details={"errors": [dict(error) for error in errors]},
        )


class TaskNotFoundError(ValidationError):
    """There is no such task."""

    error_code = "TASK_NOT_FOUND"
    status = 404

    def __init__(self, task_id: str) -> None:
        super().__init__(f"task {task_id} not found", details={"task_id": task_id})


class RouteNotFoundError(ValidationError):
    """No upstream or pool is served at this path."""

    error_code = "ROUTE_NOT_FOUND"
    status = 404


class AuthenticationError(ValidationError):
    """The caller did not say who it is, or not believably."""

    error_code = "AUTHENTICATION_ERROR"
    status = 401


class AuthorizationError(ValidationError):
    """The caller may not do this."""

    error_code = "AUTHORIZATION_ERROR"
    status = 403


class PayloadTooLargeError(ValidationError):
    """The request's body is larger than what is accepted."""

    error_code = "PAYLOAD_TOO_LARGE"
    status = 413


class PiiDetectedError(ValidationError):
    """The request holds personal data that may not leave; names the pattern, never the value."""

    error_code = "PII_DETECTED"
    status = 400


class ResourceError(OctoLLMError):
    """Nothing is broken, but there is not enough of something."""

    status = 503


class ArmUnavailableError(ResourceError):
    """No arm that could do this is available."""

    error_code = "ARM_UNAVAILABLE"

    def __init__(
        self, required_capabilities: Sequence[str] = (), retry_after: float | None = None
    ) -> None:
        needed = list(required_capabilities)
        what = f" with capabilities: {', '.join(needed)}" if needed else ""
        super().__init__(
            f"no arm available{what}",
            details={"required_capabilities": needed},
            retry_after=retry_after,
        )


class CapacityExceededError(ResourceError):
    """We are full, or about to stop; another instance, or a moment's wait, helps."""

    error_code = "CAPACITY_EXCEEDED"
    severity = Severity.WARNING


class RateLimitError(ResourceError):
    """Too many requests: ours to say (*limit* per *window* seconds), or the upstream's."""

    error_code = "RATE_LIMIT_EXCEEDED"
    status = 429
    severity = Severity.WARNING
    retryable = True

    def __init__(
        self, limit: int, window: float, retry_after: float | None = None, **facts: Any
    ) -> None:
        super().__init__(
            f"rate limit exceeded: {limit} requests per {window:g}s",
            details={"limit": limit, "window": window},
            retry_after=retry_after,
            **facts,
        )


class SystemError(OctoLLMError):
    """Something between the parties is broken."""


class CircuitOpenError(SystemError):
    """The upstream failed too often and is left alone until *retry_after* seconds have passed."""

    error_code = "CIRCUIT_OPEN"
    status = 503
    severity = Severity.WARNING

    def __init__(self, upstream: str, retry_after: float) -> None:
        super().__init__(
            f"the circuit of {upstream} is open",
            details={"upstream": upstream},
            retry_after=retry_after,
        )


class NetworkError(SystemError):
    """A connection could not be made, broke, or carried something that is not HTTP."""

    error_code = "NETWORK_ERROR"
    status = 502
    retryable = True
    blames_upstream = True
    stale: bool = False
    """The connection had been kept from an earlier call, and ended without a byte of an answer: as
    good as certainly it was closed for being idle, which is nobody's failure."""


class TimeoutError(SystemError):
    """*operation* was not done after *timeout* seconds."""

    error_code = "TIMEOUT_ERROR"
    status = 504
    retryable = True
    blames_upstream = True

    def __init__(self, operation: str, timeout: float, **facts: Any) -> None:
        details = {**(facts.pop("details", None) or {}), "operation": operation, "timeout": timeout}
        super().__init__(f"{operation} timed out after {timeout:g}s", details=details, **facts)


class DatabaseError(SystemError):
    """A database operation failed. Raised by services; a gateway has no database."""

    error_code = "DATABASE_ERROR"

    def __init__(self, operation: str, original_error: Exception | None = None) -> None:
        # The original goes into __cause__ by `raise … from`: its text can hold a query or a secret.
        kind = type(original_error).__name__ if original_error is not None else None
        super().__init__(
            f"database {operation} failed", details={"operation": operation, "cause": kind}
        )


class CacheError(SystemError):
    """A cache could not be read or written."""

    error_code = "CACHE_ERROR"


class SerializationError(SystemError):
    """A value could not be turned into bytes, or back."""

    error_code = "SERIALIZATION_ERROR"


class InternalError(SystemError):
    """A fault of our own; the caller is told nothing of the inside."""

    error_code = "INTERNAL_ERROR"
    severity = Severity.CRITICAL


class ExternalError(OctoLLMError):
    """The party we called is broken: *provider* said *status_code* and *error_message*."""

    status = 502
    retryable = True
    blames_upstream = True

    def __init__(
        self,
        provider: str,
        status_code: int | None = None,
        error_message: str | None = None,
        **facts: Any,
    ) -> None:
        details = {
            **(facts.pop("details", None) or {}),
            "provider": provider,
            "status_code": status_code,
            "error_message": error_message,
        }
        super().__init__(
            f"{provider} API error: {error_message or 'unknown error'}", details=details, **facts
        )


class LLMAPIError(ExternalError):
    """A call to an LLM API failed."""

    error_code = "LLM_API_ERROR"


class VectorDBError(ExternalError):
    """A call to a vector database failed."""

    error_code = "VECTOR_DB_ERROR"


class ThirdPartyAPIError(ExternalError):
    """A call to any other API failed."""

    error_code = "THIRD_PARTY_API_ERROR"


def taxonomy() -> list[type[OctoLLMError]]:
    """List every class of the standard, parents before children."""

    def walk(cls: type[OctoLLMError]) -> list[type[OctoLLMError]]:
        return [cls, *(found for child in cls.__subclasses__() for found in walk(child))]

    return [cls for cls in walk(OctoLLMError) if cls.__module__ == __name__]
