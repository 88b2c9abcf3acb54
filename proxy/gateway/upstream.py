"""One configured upstream, alive: its connections, its breaker, its budget, its policies.

Everything a request could need of it is made here once, so that the path of a request only reads.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random

from proxy.config import schema
from proxy.config.providers import PROVIDERS
from proxy.gateway import credentials
from proxy.gateway.answers import Origin
from proxy.gateway.call import Call
from proxy.gateway.credentials import CALLERS_OWN
from proxy.observe import logs
from proxy.observe.metrics import UpstreamMetrics
from proxy.observe.rejecting import Rejecting
from proxy.policy.breaker import Breaker, State, Transition
from proxy.policy.budget import RetryBudget
from proxy.policy.retry import RetryPolicy
from proxy.wire.headers import Pair, to_upstream
from proxy.wire.message import Client, Request

IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE"))
"""Methods that may be repeated without asking (RFC 9110 9.2.2); TRACE is never forwarded."""

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
            policy.rewrite_client_errors,
        )

    def serves(self, method: str, path: str) -> bool:
        """Tell whether a request is of this route: its method, and whole segments of its path."""
        prefix, methods = self.match.path, self.match.methods
        if methods is not None and method not in methods:
            return False
        return prefix is None or path == prefix or path.startswith(prefix.rstrip("/") + "/")


class Upstream:
    """A named place to send requests to.

    What a *previous* one of the name has learned lives on in this one as far as it is still true:
    of its breaker while the url is the same, of its budget while that is.
    """

    def __init__(
        self,
        settings: schema.Upstream,
        client: Client,
        metrics: UpstreamMetrics,
        clock: Callable[[], float],
        random: Random,
        *,
        previous: "Upstream | None" = None,
    ) -> None:
        self.name = settings.name
        self.settings = settings
        self.client = client
        self.metrics = metrics
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
        self._rejecting = Rejecting(self.log, "breaker.rejecting", clock)
        self.limited = Rejecting(self.log, "limits.rejecting", clock)
        self.origin = Origin(settings.kind, settings.provider, settings.auth is not None)
        self._host = settings.url.authority.encode()
        self.base_path = settings.url.path
        self._removed = _removed(settings)
        self._added = _added(settings)
        self._reads = PROVIDERS[settings.provider].reads
        self._routes = [Plan.of(route.policy, route.match, random) for route in settings.routes]
        self._otherwise = Plan.of(settings.policy, schema.RouteMatch(), random)

    def take_over(self) -> None:
        """Be who the breaker follows and tells; until then that is the previous one."""
        self.breaker.adopt(self.settings.breaker, self._tell, self._count_rejection)

    def plan(self, method: str, path: str) -> Plan:
        """Give what holds for this request: the first route that matches, else the upstream's."""
        for plan in self._routes:
            if plan.serves(method, path):
                return plan
        return self._otherwise

    def head(self, call: Call, via: bytes) -> list[Pair]:
        """Give the header fields of *call* as they go to this upstream."""
        request, removed = call.request, self._removed | call.token_fields
        headers = request.headers
        if request.upgrade and self.origin.our_credential:
            headers = credentials.without_subprotocol_key(headers)
        return to_upstream(
            headers, host=self._host, via=via, remove=removed, set=self._fields_for(request)
        )

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
        if method in IDEMPOTENT or unsafe == "always":
            return True
        if unsafe == "never":
            return False
        return idempotency_key or (method == "POST" and self._reads.fullmatch(path) is not None)

    def _count_rejection(self) -> None:
        self.metrics.rejected()
        self._rejecting.add()

    def _tell(self, moved: Transition) -> None:
        self.metrics.transition(moved.from_state, moved.to_state, moved.reason)
        self._rejecting.tell()
        event, level = _EVENT_OF[moved.to_state]
        facts: dict[str, object] = {"from_state": moved.from_state, "reason": moved.reason.value}
        if moved.to_state is State.OPEN:
            facts["failure_ratio"] = round(self.breaker.failure_ratio, 3)
            facts["open_ms"] = round(moved.open_for * 1000)
        getattr(self.log, level)(event, **facts)


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
