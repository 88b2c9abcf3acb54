"""What the tests of the cache ask and answer with."""

from dataclasses import dataclass, field

from proxy.cache.cache import Question
from proxy.cache.entry import Entry
from proxy.cache.rules import ANY_AGE


@dataclass(frozen=True)
class Terms:
    ttl: float = 60.0
    stale_if_error: float = 0.0
    max_entry: int = 1000
    shared: bool = False


@dataclass
class Caller:
    """A `message.Reply` that remembers what it was told; *left* tells whom it may be told no more."""

    status: int = 0
    headers: list = field(default_factory=list)
    body: bytes = b""
    interims: list = field(default_factory=list)
    length: int | None = None
    started: bool = False
    congested: bool = True
    whole: bool = False
    aborted: bool = False
    left: bool = False
    flushed: int = 0
    drained: int = 0

    def send(self, status, headers, body=b""):
        self.start(status, headers, len(body))
        self.write(body)
        self.finish()

    def start(self, status, headers, length):
        assert not self.left
        assert not self.started
        self.started = True
        self.status, self.headers, self.length = status, list(headers), length

    def write(self, data):
        assert not self.left
        self.body += data

    def finish(self):
        self.whole = True

    def interim(self, status, headers):
        self.interims.append(status)

    def flush(self):
        self.flushed += 1

    async def drain(self):
        self.drained += 1

    def abort(self):
        self.aborted = True

    def switch(self, headers):
        self.started = True
        return self

    @property
    def cache(self):
        return dict(self.headers).get(b"X-OctoLLM-Cache")


def question(key=b"k", accepted_age=ANY_AGE, until=None, **terms):
    return Question(key, accepted_age, frozenset(), Terms(**terms), until)


def entry(body=b"told", born=1000.0, fresh=60.0, stale=0.0, headers=((b"Content-Type", b"x"),)):
    return Entry(200, list(headers), body, born, born + fresh, born + fresh + stale)
