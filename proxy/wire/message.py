"""The seam between HTTP as bytes (`wire/`) and what is decided about it (`gateway/`).

Rule 1: the gateway sees HTTP through the shapes in this file and through nothing else.
Rule 2: nothing here knows aiohttp, a socket or a policy, so the wire can be replaced or simulated.

Header fields are pairs of bytes as they were on the wire: order, case and duplicates kept. Framing
(`Content-Length`, `Transfer-Encoding`, `Connection`) belongs to the wire: it is read from and
written to the wire there, and a head that the gateway hands over never holds it.
Times are seconds; points in time are `loop.time()`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from proxy.wire.tunnel import Line

Headers = Sequence[tuple[bytes, bytes]]


class Body(Protocol):
    """A message body, read once, chunk by chunk."""

    length: int | None
    """Bytes announced by Content-Length; None where the body is chunked."""

    async def read(self) -> bytes:
        """Wait for the next bytes; `b""` is the end.

        Raises ValidationError (400 malformed, 408 stalled) where the caller sent it badly.
        """
        ...

    def read_nowait(self) -> bytes | None:
        """Give what is there without waiting: None where nothing is, `b""` at the end."""
        ...


class Upload(Body, Protocol):
    """A body as a caller sends it."""

    idle: float | None
    """Seconds that may pass between its bytes; to be set once it is known whom they are for."""


@dataclass(slots=True)
class Request:
    """A request as it arrived. *target* is untouched (origin-form; `*`; or what was sent)."""

    method: str
    target: str
    version: tuple[int, int]
    headers: Headers
    body: Upload | None
    """None where the request has no body at all: neither a length nor chunks were announced."""
    peer: str
    """The caller's IP address; empty on a Unix socket."""
    received: float
    """When its head was complete."""
    secure: bool = False
    """It came over TLS."""
    upgrade: bool = False
    """It is the handshake of a WebSocket; an answer of 101 may be given to it, by `switch`."""


class Reply(Protocol):
    """The one answer to a request: `send`, or `start`, `write` … and `finish` or `abort`.

    The caller's leaving is not an error here: it cancels the task that handles the request.
    """

    @property
    def started(self) -> bool:
        """A final head has gone out; from here on no other answer is possible."""
        ...

    @property
    def congested(self) -> bool:
        """The caller reads slower than we write: `await drain()` before writing more."""
        ...

    def send(self, status: int, headers: Headers, body: bytes = b"") -> None:
        """Send a whole answer in one write. For HEAD the body's length is told, not its bytes."""
        ...

    def interim(self, status: int, headers: Headers) -> None:
        """Pass on a 1xx answer (not 101); to an HTTP/1.0 caller nothing is sent."""
        ...

    def start(self, status: int, headers: Headers, length: int | None) -> None:
        """Send a final head; the body follows, *length* bytes of it, or of unknown length.

        The head may wait for the first `write`, so that both leave in one packet, or for `flush`.
        """
        ...

    def write(self, data: bytes) -> None:
        """Send the next bytes of the body; for HEAD, 204 and 304 nothing is sent."""
        ...

    def flush(self) -> None:
        """Let nothing wait: what was started or written is on its way now."""
        ...

    async def drain(self) -> None:
        """Wait until the caller has taken enough that writing makes sense again."""
        ...

    def finish(self) -> None:
        """End the body properly. An answer that is not whole is never finished, but aborted."""
        ...

    def switch(self, headers: Headers) -> "Line":
        """Answer 101 and give the connection up: what follows is not HTTP, but a `Tunnel`'s."""
        ...

    def abort(self) -> None:
        """End the connection so that the answer cannot look whole: no final chunk, or a reset."""
        ...


@dataclass(slots=True)
class Outgoing:
    """A request to be sent: end-to-end headers only, *target* in origin-form."""

    method: str
    target: str
    headers: Headers
    body: Body | None
    upgrade: bool = False
    """Ask for a WebSocket."""


@dataclass(slots=True)
class Limits:
    """How long one exchange may take, in seconds; None is no limit. *deadline* is a point in time.

    *first_byte* runs from the request being fully sent to the response's head, *idle* between the
    bytes of either body; idle stands still while we ourselves do not read.
    """

    connect: float | None = None
    first_byte: float | None = None
    idle: float | None = None
    deadline: float | None = None


@dataclass(slots=True)
class Timings:
    """Points in time of one exchange; None for what did not happen (a reused connection)."""

    began: float
    connected: float | None = None
    sent: float | None = None
    """The request, body included, is with the kernel."""
    head: float | None = None


class Exchange(Protocol):
    """An answer whose head has come, and whose body is being read. Close it in every case.

    `with exchange:` gives the connection back to the pool if the body was read to its end, and
    otherwise ends the connection.
    """

    status: int
    headers: Headers
    """All fields as they came, framing included."""
    length: int | None
    """Bytes of body announced; None where it is chunked or ends with the connection. 0 for HEAD,
    204 and 304, whatever their Content-Length says."""
    reused: bool
    timings: Timings
    limits: Limits
    """May be replaced after the head, when it is known whether this is an event stream."""

    async def read(self) -> bytes:
        """Wait for the next bytes of the body; `b""` is its proper end.

        Raises NetworkError(condition="cut") where the body ends early or is malformed,
        TimeoutError(condition="timeout") past `limits.idle`, and TimeoutError(condition=None)
        past `limits.deadline`.
        """
        ...

    def read_nowait(self) -> bytes | None:
        """Give what is there without waiting: None where nothing is, `b""` at the end."""
        ...

    def fail(self, error: Exception) -> None:
        """Let `read` raise *error*, after what has come already."""
        ...

    def switch(self) -> "Line":
        """Give the connection of an answer of 101 up to a `Tunnel`.

        Raises NetworkError(condition="cut") where it has ended already.
        """
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


class Client(Protocol):
    """Connections to one origin."""

    async def exchange(
        self,
        request: Outgoing,
        limits: Limits,
        interim: Callable[[int, Headers], None] | None = None,
    ) -> Exchange:
        """Send *request* once, and wait for the head of its answer. Never sends it twice.

        Raises only errors of `errors.py`, each with `sent` and `condition`:
        NetworkError connect (DNS, refused, TLS), reset (end or reset before the head) or protocol
        (not HTTP); TimeoutError connect, timeout (first_byte), or None where the deadline ended it;
        CapacityExceededError where no connection was free; and what `request.body.read` raises.
        """
        ...

    def retire(self) -> None:
        """Let connections go as they fall idle; who still exchanges is served to the end."""
        ...

    async def close(self) -> None: ...
