"""An answer on its way from the upstream to the caller, byte for byte.

Nothing here decides whether an answer is good; once it runs, the head goes out and no other answer
is possible. Reads from the upstream raise its failures; a caller who leaves cancels us.
"""

from collections.abc import Mapping
from dataclasses import replace

from proxy.config.schema import Timeouts
from proxy.gateway.call import Call
from proxy.wire.headers import content_length
from proxy.wire.message import Exchange, Headers, Reply

EVENT_STREAM = b"text/event-stream"


def is_event_stream(status: int, fields: Mapping[bytes, bytes]) -> bool:
    content_type = fields.get(b"content-type", b"")
    return status < 300 and content_type.partition(b";")[0].strip().lower() == EVENT_STREAM


async def relay(
    call: Call, exchange: Exchange, reply: Reply, headers: Headers, read: bytes = b""
) -> None:
    """Send head and body on as they come; small answers in one write, others with backpressure.

    *read* are the bytes of the body that were read before it was known that they go on.
    """
    data: bytes | None = read or exchange.read_nowait()
    if call.request.method == "HEAD":
        reply.start(exchange.status, headers, content_length(exchange.headers))
    elif data is not None and len(data) == exchange.length:
        exchange.read_nowait()  # takes the end, so that the connection can be used again
        reply.send(exchange.status, headers, data)
        return
    else:
        reply.start(exchange.status, headers, exchange.length)
    while data != b"":
        if data is None:
            reply.flush()
            data = await _next(call, exchange)
            continue
        call.told = "body"
        reply.write(data)
        if reply.congested:
            await let_the_caller_read(call, reply)
        data = exchange.read_nowait()
    reply.finish()


def as_a_stream(call: Call, exchange: Exchange, timeouts: Timeouts) -> None:
    """Give a stream that cannot be looked into the limits of streams, as far as bytes show them."""
    total = timeouts.stream_total
    deadline = None if total is None else call.request.received + total
    exchange.limits = replace(exchange.limits, idle=timeouts.first_event, deadline=deadline)


async def _next(call: Call, exchange: Exchange) -> bytes:
    began = call.stopwatch()
    try:
        return await exchange.read()
    finally:
        call.waited(began)


async def let_the_caller_read(call: Call, reply: Reply) -> None:
    """Wait until a slow caller has room; the time is its own."""
    began = call.stopwatch()
    try:
        await reply.drain()
    finally:
        call.elsewhere += call.stopwatch() - began
