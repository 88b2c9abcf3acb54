"""The error answers of the proxy as the exceptions they were, for callers who use plain HTTP.

It knows no client library: an answer has a status, headers and a body.
"""

import time

from proxy import envelope
from proxy.inprocess.failures import fields_of, status_of
from proxy.semantics import waits


def raise_for_envelope(response: object, body: bytes | str | None = None) -> None:
    """Raise what an answer of 400 or above stands for; do nothing below.

    *response* is httpx's, requests' or aiohttp's. aiohttp reads a body only where one awaits it:
    `raise_for_envelope(response, await response.read())`. Raises the class of `proxy.errors` that
    the envelope's code names, with its details and `retry_after`, or for a body that is no envelope
    a plain OctoLLMError with the status. TypeError: no answer, or none whose body is at hand.
    """
    status = status_of(response)
    if body is None:
        body = getattr(response, "content", None)
    if status is None or not isinstance(body, bytes | str):
        raise TypeError("give a response and, where it is aiohttp's, its body: await x.read()")
    if status < 400:
        return
    error = envelope.from_response(status, body)
    fields = fields_of(response)
    if error.retry_after is None:
        error.retry_after = waits.asked(status, fields, time.time())
    # Within `Policies.call` it is judged as any answer of this status, and its word is obeyed.
    error.condition = status
    if waits.should_retry(fields) is False:
        error.retryable = False
    raise error
