"""What the end of a call tells about the upstream.

Nothing here knows HTTP; a call is told apart by the error it ends with.
"""

from proxy import errors
from proxy.policy.transitions import Event

_TOO_MANY_REQUESTS = 429


def outcome(error: BaseException | None, failure_on: frozenset[str | int]) -> Event:
    """Say what the end of a call tells about the upstream: SUCCESS, FAILURE, or NEUTRAL, nothing.

    Any answer that is not in *failure_on* shows that the upstream is alive, its 4xx included. A 429
    tells about a key. Everything that is not an error of ours (a caller who left is a
    CancelledError) tells about something else.
    """
    if error is None:
        return Event.SUCCESS
    if not isinstance(error, errors.OctoLLMError):
        return Event.NEUTRAL
    condition = error.condition
    if condition is None or condition == _TOO_MANY_REQUESTS:
        return Event.NEUTRAL
    if condition in failure_on:
        return Event.FAILURE if error.blames_upstream else Event.NEUTRAL
    return Event.SUCCESS if isinstance(condition, int) else Event.NEUTRAL
