"""Whether a failure at one upstream is a reason to ask another.

Pure. Nothing here knows who the others are, or HTTP.
"""

from collections.abc import Iterable

from proxy import errors
from proxy.config.fields import When
from proxy.errors import OctoLLMError


def moves_on(error: OctoLLMError, when: Iterable[When] = ()) -> bool:
    """Say whether another upstream is to be asked after *error*.

    It is where this one is to blame, will not be asked now, or has enough of this key. A caller's
    fault stays one wherever it is sent, unless *when* names it. What ended with the call's own
    time, with its caller or with us is nobody else's to answer.
    """
    if isinstance(error, errors.CircuitOpenError | errors.RateLimitError):
        return True
    if isinstance(error, errors.CapacityExceededError):
        return not error.sent
    if error.condition is None:
        return False
    return error.status >= 500 or any(_names(fault, error) for fault in when)


def _names(fault: When, error: OctoLLMError) -> bool:
    told = fault.code is None or fault.code in error.upstream_codes
    return told and fault.status == error.condition
