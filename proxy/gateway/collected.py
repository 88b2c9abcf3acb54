"""An answer kept whole until its request is over, and how a batch tells it, as JSON.

Rule 1: nothing of it goes out meanwhile. So it never counts as started, and what fails at its last
byte can still be repeated, be asked of somebody else, or become an envelope.
Rule 2: no byte of a body is lost in telling it: it is JSON, or text, or marked as base64.
"""

from base64 import b64encode

from proxy import envelope, errors
from proxy.errors import OctoLLMError
from proxy.gateway import strictjson
from proxy.wire.body import Memory
from proxy.wire.headers import by_name
from proxy.wire.message import Headers
from proxy.wire.tunnel import Line

# In JSON, line ends stand only between its parts; in JSON Lines they end the line.
_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")


class Collected:
    """`message.Reply` to nobody yet. What it holds of a good answer, it takes from *memory*."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._pieces: list[bytes] = []
        self._taken = 0
        self.status = 0
        self.headers: Headers = ()
        self.started = False
        self.congested = False

    def send(self, status: int, headers: Headers, body: bytes = b"") -> None:
        """Take a whole answer. An error is always taken, since nobody is left to tell another."""
        self.start(status, headers, len(body))
        if status < 400:
            self.write(body)
        else:
            self._pieces = [body]

    def start(self, status: int, headers: Headers, length: int | None) -> None:  # noqa: ARG002
        """Begin an answer, in place of one that failed half way."""
        self.clear()
        self.status, self.headers = status, headers

    def write(self, data: bytes) -> None:
        """Take the next bytes of the body. Raises CapacityExceededError where they do not fit."""
        if not self._memory.take(len(data)):
            self.clear()
            raise too_large()
        self._taken += len(data)
        self._pieces.append(data)

    def clear(self) -> None:
        """Let go of the body."""
        self._memory.give(self._taken)
        self._taken = 0
        self._pieces = []

    @property
    def body(self) -> bytes:
        return b"".join(self._pieces)

    def interim(self, status: int, headers: Headers) -> None:
        """Drop it: a hint before the answer is of no use when both come together."""

    def flush(self) -> None:
        pass

    async def drain(self) -> None:
        pass

    def finish(self) -> None:
        pass

    def abort(self) -> None:
        self.clear()

    def switch(self, headers: Headers) -> Line:  # noqa: ARG002
        raise AssertionError("an item cannot ask for a WebSocket: it has no Upgrade")


def too_large() -> errors.CapacityExceededError:
    return errors.CapacityExceededError(
        "the answers of this batch are together larger than batch.size; ask for fewer at once"
    )


def success(id: str, answer: Collected) -> bytes:
    """Tell a good answer: `id`, `status`, `headers`, `body`, and `encoding` where it is base64."""
    return b'{"id":%b,%b}' % (strictjson.write(id), _members(answer))


def failure(id: str, error: OctoLLMError) -> bytes:
    """Tell an error: `id`, and the members of the envelope."""
    return b'{"id":%b,%b' % (strictjson.write(id), strictjson.write(error.to_dict())[1:])


def relayed_failure(id: str, answer: Collected) -> bytes | None:
    """Tell a bad answer that is an envelope, as it is; None where it is none."""
    body = answer.body
    try:
        content = strictjson.parse(body)
    except ValueError:
        return None
    if not isinstance(content, dict) or "id" in content:
        return None
    if not (isinstance(content.get("error"), str) and isinstance(content.get("message"), str)):
        return None
    return b'{"id":%b,%b' % (strictjson.write(id), body.translate(_ONE_LINE).strip()[1:])


def foreign_failure(id: str, answer: Collected, error: OctoLLMError) -> bytes:
    """Tell a bad answer that passes as the upstream said it: all of it, beside the envelope."""
    return b'{"id":%b,%b,%b' % (
        strictjson.write(id),
        _members(answer),
        strictjson.write(error.to_dict())[1:],
    )


def _members(answer: Collected) -> bytes:
    headers: dict[str, str | list[str]] = {}
    for raw_name, raw_value in answer.headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        known = headers.get(name)
        if known is None:
            headers[name] = value
        else:
            headers[name] = [*([known] if isinstance(known, str) else known), value]
    told = b'"status":%d,"headers":%b,"body":' % (answer.status, strictjson.write(headers))
    return told + _body(answer)


def _body(answer: Collected) -> bytes:
    body = answer.body
    if not body:
        return b"null"
    fields = by_name(answer.headers)
    media_type = fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
    is_json = media_type == envelope.JSON or media_type.endswith(b"+json")
    if is_json and _is_json(body):
        return body.translate(_ONE_LINE).strip()
    try:
        return strictjson.write(body.decode())
    except UnicodeDecodeError:
        return b'"%b","encoding":"base64"' % b64encode(body)


def _is_json(text: bytes) -> bool:
    try:
        strictjson.parse(text)
    except ValueError:
        return False
    return True
