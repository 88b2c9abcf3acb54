"""One configured upstream, alive: its connections, its breaker, its budget, its policies.

Everything a request could need of it is made here once, so that the path of a request only reads.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf
from random import Random
from typing import TYPE_CHECKING

from proxy import errors
from proxy.cache import rules
from proxy.config import schema
from proxy.config.providers import PROVIDERS
from proxy.gateway import credentials
from proxy.gateway.answers import Origin
from proxy.gateway.call import Call
from proxy.gateway.credentials import CALLERS_OWN
from proxy.gateway.places import Places
from proxy.observe import logs
from proxy.observe.catalogue import Limited
from proxy.observe.counting import InFlight, UpstreamMetrics
from proxy.observe.history import History
from proxy.observe.rejecting import Rejecting
from proxy.policy.breaker import Breaker, State, Transition
from proxy.policy.budget import RetryBudget
from proxy.policy.deadline import Deadline
from proxy.policy.rate import Rate
from proxy.policy.retry import RetryPolicy
from proxy.policy.throttle import Gate
from proxy.semantics import requests
from proxy.wire.headers import Pair, by_name, to_upstream
from proxy.wire.message import Client, Request

if TYPE_CHECKING:
    from proxy.gateway.screen import Screen

_FORWARDED = frozenset(
    (b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip")
)
_TRACE = frozenset((b"traceparent", b"tracestate"))

_EVENT_OF = {
    State.OPEN: ("breaker.opened", "warning"),
    State.HALF_OPEN: ("breaker.half_opened", "info"),
    State.CLOSED: ("breaker.closed", "info"),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What holds for the requests of one route: its settings, and the retry policy made of them."""

    match: schema.RouteMatch
    timeouts: schema.Timeouts
    stream: schema.Stream
    retry: RetryPolicy
    retry_on: frozenset[str | int]
    unsafe_methods: str
    max_retry_after: float
    fallback_wait: float
    hedge: schema.Hedge
    cache: schema.Cache
    guard: schema.Guard
    screen: "Screen | None"
    rewrite: bool | frozenset[int]

    @classmethod
    def of(cls, policy: schema.Policy, match: schema.RouteMatch, random: Random) -> "Plan":
        return cls(
            match,
            policy.timeouts,
            policy.stream,
            RetryPolicy(policy.retry, random),
            policy.retry.retry_on,
            policy.retry.unsafe_methods,
            policy.retry.max_retry_after,
            policy.retry.fallback_wait,
            policy.hedge,
            policy.cache,
            policy.guard,
            _screen(policy.guard),
            policy.rewrite_client_errors,
        )

    def serves(self, method: str, path: str) -> bool:
        """Tell whether a request is of this route."""
        return requests.serves(self.match, method, path)


class Upstream:
    """A named place to send requests to.

    What a *previous* one of the name has learned lives on in this one as far as it is still true:
    of its breaker and its gate while the url is the same, of its budget while that is.
    """

    def __init__(
        self,
        settings: schema.Upstream,
        client: Client,
        metrics: UpstreamMetrics,
        clock: Callable[[], float],
        random: Random,
        *,
        history: History,
        moved: Callable[[Transition], None],
        previous: "Upstream | None" = None,
    ) -> None:
        self.name = settings.name
        self.settings = settings
        self.client = client
        self.metrics = metrics
        self._history = history
        self.log = logs.get(upstream=settings.name)
        self.breaker: Breaker = (
            previous.breaker
            if previous is not None and previous.settings.url == settings.url
            else Breaker(settings.name, settings.breaker, clock)
        )
        self.budget: RetryBudget = (
            previous.budget
            if previous is not None and previous.settings.budget == settings.budget
            else RetryBudget(settings.budget, clock)
        )
        self.gate: Gate = (
            previous.gate
            if previous is not None
            and previous.settings.url == settings.url
            and settings.limits.throttle
            else Gate(clock)
        )
        self.rate = _rate(settings.limits.rate, previous, clock)
        self.places = _places(settings.limits, previous)
        self.load: InFlight = (
            previous.load
            if previous is not None and previous.settings.url == settings.url
            else InFlight()
        )
        """The calls that are at it now, by whichever name they came."""
        self._clock = clock
        self._moved = moved
        self.recovered_at: float | None = None if previous is None else previous.recovered_at
        """When its circuit was closed after having been open."""
        self._capabilities = frozenset(settings.capabilities)
        self._rejecting = Rejecting(self.log, "breaker.rejecting")
        self._limiting = Rejecting(self.log, "limits.rejecting")
        self.origin = Origin(settings.kind, settings.provider, settings.auth is not None)
        self.scope = _scope(settings)
        self._host = settings.url.authority.encode()
        self.base_path = settings.url.path
        self._removed = _removed(settings)
        self._added = _added(settings)
        self._key_fields = CALLERS_OWN - {b"cookie"}
        if settings.auth is not None:
            self._key_fields |= {settings.auth.header.lower().encode()}
        self._reads = PROVIDERS[settings.provider].reads
        self._routes = [Plan.of(route.policy, route.match, random) for route in settings.routes]
        self._otherwise = Plan.of(settings.policy, schema.RouteMatch(), random)

    def take_over(self) -> None:
        """Be who the breaker follows and tells; until then that is the previous one."""
        self.breaker.adopt(self.settings.breaker, self._tell, self._count_rejection)
        if self.places is not None:
            _resize(self.places, self.settings.limits)
            self.metrics.line = self.places

    def plan(self, method: str, path: str) -> Plan:
        """Give what holds for this request: the first route that matches, else the upstream's."""
        for plan in self._routes:
            if plan.serves(method, path):
                return plan
        return self._otherwise

    def can(self, needed: Iterable[str]) -> bool:
        """Tell whether it has all these capabilities."""
        return self._capabilities.issuperset(needed)

    @property
    def recovered_for(self) -> float | None:
        """Seconds since its circuit was closed after having been open; None where it never was."""
        return None if self.recovered_at is None else self._clock() - self.recovered_at

    def unavailable_for(self, key: bytes) -> float:
        """Give the seconds until it could be asked with this credential; 0: now."""
        shut = self.gate.wait(key) if self.gate else 0.0
        return shut if self.breaker.would_admit() else max(shut, self.breaker.retry_after() or 0.0)

    def key(self, call: Call, *, callers_key: bool) -> bytes:
        """Give what stands for the credential that *call* goes out with; not to be turned back."""
        if self.origin.our_credential or not callers_key:
            return b""
        return credentials.fingerprint(call.fields, call.request.target)

    def head(self, call: Call, via: bytes, *, callers_key: bool) -> list[Pair]:
        """Give the header fields of *call* as they go to this upstream.

        Without *callers_key* the caller's own credentials stay here.
        """
        request, removed = call.request, self._removed
        headers, fields = request.headers, call.fields
        if call.token_fields:  # a new set would have to be hashed anew
            removed |= call.token_fields
        if not callers_key:
            removed |= CALLERS_OWN
        if request.upgrade and (self.origin.our_credential or not callers_key):
            headers = credentials.without_subprotocol_key(headers)
            fields = by_name(headers)
        return to_upstream(
            headers,
            host=self._host,
            via=via,
            fields=fields,
            remove=removed,
            set=self._fields_for(request),
        )

    def keys(self, headers: Iterable[Pair]) -> list[bytes]:
        """Give the keys that this upstream was asked with, by the *headers* it got."""
        return credentials.keys(headers, self._key_fields)

    def _fields_for(self, request: Request) -> Iterable[Pair]:
        """Give the fields that a request to this upstream gets from us."""
        if not self.settings.forward.client:
            return self._added
        host = next((value for name, value in request.headers if name.lower() == b"host"), b"")
        # Who calls over a Unix socket has no address.
        peer = ((b"X-Forwarded-For", request.peer.encode()),) if request.peer else ()
        return (
            *peer,
            (b"X-Forwarded-Host", host),
            (b"X-Forwarded-Proto", b"https" if request.secure else b"http"),
            *self._added,
        )

    def may_repeat(self, method: str, path: str, idempotency_key: bool, unsafe: str) -> bool:
        """Tell whether sending this again does no harm that the operator has not accepted."""
        return requests.may_repeat(
            method, path, self._reads, unsafe, idempotency_key=idempotency_key
        )

    def may_move(self, method: str, path: str) -> bool:
        """Tell whether another upstream may take a request in this one's place.

        What a vector database was told to write must not land on a replica alone.
        """
        writes_move = self.settings.kind != "vectordb" or self.settings.fallback_writes
        return writes_move or self.only_reads(method, path)

    def only_reads(self, method: str, path: str) -> bool:
        """Tell whether a request changes nothing."""
        return requests.only_reads(method, path, self._reads)

    def take_rate(self, call: Call) -> None:
        """Count a call against the rate, or raise RateLimitError with the time left.

        Raises CircuitOpenError for a call that would not be sent: what is not, does not count.
        """
        rate, limit = self.rate, self.settings.limits.rate
        if rate is None or limit is None:
            return
        if not self.breaker.would_admit():
            with self.breaker.admit():
                pass  # it raises, unless its time has come this very moment
        wait = rate.take(caller_of(call) if limit.by == "caller" else b"")
        if wait:
            self.turned_away("rate")
            raise errors.RateLimitError(limit.limit, limit.window, retry_after=wait)

    async def place(self, call: Call, deadline: Deadline) -> Places:
        """Wait for a place among the calls it serves at a time.

        Raises CapacityExceededError where there is none, and TimeoutError past *deadline*.
        """
        assert self.places is not None  # who has none is not asked for one
        began = call.stopwatch()
        try:
            return await self.places.take(deadline)
        except errors.CapacityExceededError as full:
            self.turned_away(full.details["reason"])
            raise
        finally:
            call.elsewhere += call.stopwatch() - began

    def turned_away(self, reason: Limited) -> None:
        """Count a call that a limit of ours kept from the upstream."""
        self.metrics.limited(reason)
        self._limiting.add()

    async def close(self) -> None:
        """End every connection, and tell what has been turned away and not been told."""
        self._rejecting.stop()
        self._limiting.stop()
        await self.client.close()

    def _count_rejection(self) -> None:
        self.metrics.rejected()
        self._rejecting.add()

    def _tell(self, moved: Transition) -> None:
        self._history.moved(moved)
        self.metrics.transition(moved.from_state, moved.to_state, moved.reason)
        self._rejecting.tell()
        if moved.to_state is State.CLOSED:
            self.recovered_at = moved.at
        event, level = _EVENT_OF[moved.to_state]
        facts: dict[str, object] = {"from_state": moved.from_state, "reason": moved.reason.value}
        if moved.to_state is State.OPEN:
            facts["failure_ratio"] = round(self.breaker.failure_ratio, 3)
            if moved.open_for < inf:  # an operator may have said no time
                facts["open_ms"] = round(moved.open_for * 1000)
        getattr(self.log, level)(event, **facts)
        self._moved(moved)


def _screen(settings: schema.Guard) -> "Screen | None":
    """Make what the bodies of a route are held to, where there is anything."""
    if not settings.wanted:
        return None
    # The libraries that know telephone numbers take a tenth of a second to load, and 16 MB.
    from proxy.gateway.screen import Screen  # noqa: PLC0415

    return Screen(settings)


def caller_of(call: Call) -> bytes:
    """Give what tells one caller from another: its credential, or else its address."""
    fields = call.fields
    if call.token_fields:  # the listener's token is the same for all
        fields = {name: fields[name] for name in fields.keys() - call.token_fields}
    return credentials.fingerprint(fields, call.request.target) or call.request.peer.encode()


def _rate(
    settings: schema.RateLimit | None, previous: Upstream | None, clock: Callable[[], float]
) -> Rate | None:
    if settings is None:
        return None
    if previous is not None and previous.settings.limits.rate == settings:
        return previous.rate
    return Rate(settings.limit, settings.window, clock, burst=settings.burst)


def _places(settings: schema.UpstreamLimits, previous: Upstream | None) -> Places | None:
    """Give the places there are already, with all who are in them or wait for one."""
    if settings.concurrency is None:
        return None
    if previous is not None and previous.places is not None:
        return previous.places
    places = Places(settings.concurrency, 0, 0.0)
    _resize(places, settings)
    return places


def _resize(places: Places, settings: schema.UpstreamLimits) -> None:
    assert settings.concurrency is not None
    queue = settings.queue
    size, timeout = (0, 0.0) if queue is None else (queue.size, queue.timeout)
    places.resize(settings.concurrency, size, timeout)


def _scope(settings: schema.Upstream) -> bytes:
    """Give what makes the answers of one upstream another's: where it is, and as whom we ask."""
    auth = settings.auth
    key = "" if auth is None else f"{auth.header}: {auth.value.get_secret_value()}"
    said = (f"{name}: {value}" for name, value in sorted(settings.headers.set.items()))
    return rules.scope(settings.name, str(settings.url), key, *said)


def _removed(settings: schema.Upstream) -> frozenset[bytes]:
    """Name, in lower case, the caller's fields that do not go on to this upstream."""
    names = {name.lower().encode() for name in settings.headers.remove}
    names |= {name.lower().encode() for name in settings.headers.set}
    if settings.auth is not None:
        names |= CALLERS_OWN | {settings.auth.header.lower().encode()}
    if not settings.forward.trace:
        names |= _TRACE
    if settings.forward.client:
        names |= _FORWARDED  # what the caller claims about itself makes room for what we see
    return frozenset(names)


def _added(settings: schema.Upstream) -> tuple[Pair, ...]:
    """Give the fields that every request to this upstream gets."""
    added = [(name.encode(), value.encode()) for name, value in settings.headers.set.items()]
    if settings.auth is not None:
        secret = settings.auth.value.get_secret_value()
        added.append((settings.auth.header.encode(), secret.encode()))
    return tuple(added)
