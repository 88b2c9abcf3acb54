"""What a caller is told when there is no good answer: the one place where errors become envelopes.

Before the head it is the envelope; after it, the answer is cut so that it cannot look whole.
"""

from proxy import envelope, errors
from proxy.errors import OctoLLMError
from proxy.gateway.answers import kept_headers
from proxy.gateway.call import UNROUTED, Call
from proxy.observe.history import History
from proxy.observe.metrics import Metrics
from proxy.wire.headers import Pair, content_length, to_caller
from proxy.wire.message import Exchange, Reply

_SHOULD_RETRY = frozenset((b"x-should-retry",))


def identity(call: Call) -> list[Pair]:
    """Give the fields by which an answer says who gave it, and after how many attempts."""
    request_id = (b"X-OctoLLM-Request-ID", call.request_id.encode())
    if call.upstream == UNROUTED:
        return [request_id]
    return [
        request_id,
        (b"X-OctoLLM-Upstream", call.answering.encode()),
        (b"X-OctoLLM-Attempts", b"%d" % call.attempts),
    ]


def refuse(
    call: Call, error: OctoLLMError, reply: Reply, metrics: Metrics, history: History
) -> None:
    """Tell the caller of *error*, by whatever can still be told, and count it."""
    if reply.started:
        reply.abort()
        call.metrics.stream_abort(call.told)
        # Only a batch begins before anybody has answered.
        status = call.exchange.status if call.exchange else 200
        call.failed(status, error, metrics, history)
    elif call.verbatim is not None and call.exchange is not None:
        _send_verbatim(call, call.exchange, call.verbatim, reply)
        call.completed(call.exchange.status)
    else:
        _send_envelope(call, error, reply)
        call.failed(error.status, error, metrics, history)


def as_it_was(call: Call, exchange: Exchange) -> list[Pair]:
    """Give the head of an error that passes: the upstream's, and our word on asking again."""
    if call.declined:
        return to_caller(exchange.headers) + identity(call)
    # A second value beside the upstream's own would be no word at all to the SDKs.
    kept = to_caller(exchange.headers, remove=_SHOULD_RETRY)
    return [*kept, *identity(call), (b"X-Should-Retry", b"false")]


def _send_verbatim(call: Call, exchange: Exchange, body: bytes, reply: Reply) -> None:
    headers = as_it_was(call, exchange)
    if call.request.method == "HEAD":
        reply.start(exchange.status, headers, content_length(exchange.headers))
        reply.finish()
    else:
        reply.send(exchange.status, headers, body)


def _send_envelope(call: Call, error: OctoLLMError, reply: Reply) -> None:
    error.details["request_id"] = call.request_id
    if call.attempts or isinstance(error, errors.CircuitOpenError):
        error.details |= {"upstream": call.answering, "attempts": call.attempts}
    status, headers, body = envelope.render(
        error,
        accept=call.fields.get(b"accept", b""),
        should_retry=_should_retry(call, error),
    )
    if call.exchange is not None and error.condition == call.exchange.status:
        headers = kept_headers(to_caller(call.exchange.headers)) + headers
    reply.send(status, headers + identity(call), body)


def _should_retry(call: Call, error: OctoLLMError) -> bool | None:
    """Keep the SDKs from multiplying our attempts by theirs; leave them those we did not make."""
    if call.declined:
        return None
    return False if call.attempts or isinstance(error, errors.CircuitOpenError) else None
