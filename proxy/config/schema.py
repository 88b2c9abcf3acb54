"""Every key of the config file, once: its type, unit, range, built-in value and what it is for.

Rule 1: what stands here is complete and frozen; settings that are wrong cannot be built, so nobody
after this file asks whether a value is there or sane.
Rule 2: nothing here knows YAML, files, environment or precedence (`layers.py`, `load.py`), nor what
several settings mean together (`crosscheck.py`).

A field's default is the built-in value; where kinds differ, it is the one of `http`, and `ByKind`
beside it has the others, written as in the file. Times are seconds, sizes bytes. The blocks of
single policies stand in `policies.py` and `guarding.py`, and are part of this face.
"""

from typing import Annotated, Any, Literal

from annotated_types import Gt
from pydantic import Field, field_validator

from proxy.config.fields import Unknown
from proxy.config.guarding import (
    Cache,
    Guard,
    Queue,
    RateLimit,
    Redis,
    RouteMatch,
    UpstreamLimits,
)
from proxy.config.listening import AdminListener, DataListener, Listener, UpstreamTls
from proxy.config.policies import Breaker, Budget, Hedge, Retry, Stream, Timeouts
from proxy.config.problem import Problem
from proxy.config.settings import (
    Address,
    AnyJson,
    ByKind,
    CallersFault,
    Capability,
    Condition,
    Count,
    Credential,
    Duration,
    Flag,
    HeaderName,
    HeaderValue,
    Path,
    ProviderName,
    Ratio,
    Rewriting,
    Secret,
    Settings,
    Size,
    StandIn,
    Text,
    Version,
    words,
)
from proxy.config.url import Url

__all__ = [
    "AdminListener",
    "Auth",
    "Batch",
    "Breaker",
    "Budget",
    "Cache",
    "Condition",
    "Config",
    "DataListener",
    "Drain",
    "Fallback",
    "Forward",
    "Guard",
    "HeaderRules",
    "Hedge",
    "Limits",
    "Listener",
    "Log",
    "Policy",
    "Pool",
    "Queue",
    "RateLimit",
    "Retry",
    "Route",
    "RouteMatch",
    "Rules",
    "Secret",
    "Shared",
    "Strategy",
    "Stream",
    "Timeouts",
    "Tracing",
    "Upstream",
    "UpstreamLimits",
    "UpstreamTls",
    "Url",
]


class Policy(Settings):
    """The effective policy of one route: built-in values, defaults, upstream and route merged."""

    timeouts: Timeouts = Field(Timeouts(), description="How long each phase of a call may take.")
    retry: Retry = Field(Retry(), description="When a failed call is tried again.")
    stream: Stream = Field(Stream(), description="How event streams are sent on.")
    hedge: Hedge = Field(Hedge(), description="A second attempt beside a slow first one.")
    guard: Guard = Field(Guard(), description="What its body is held to before it leaves.")
    cache: Cache = Field(Cache(), description="Answers that are kept, and given again.")
    rewrite_client_errors: Rewriting = Field(
        True,
        description="Whether an upstream's 4xx becomes our envelope: true, false to pass it"
        " untouched, or the statuses that do. Off, SDK users keep the provider's own error body.",
    )


class Rules(Settings):
    """What `defaults` can say of every upstream."""

    policy: Policy = Policy()
    breaker: Breaker = Field(Breaker(), description="When the upstream is left alone.")
    budget: Budget = Field(Budget(), description="How many retries the upstream is given.")
    limits: UpstreamLimits = Field(UpstreamLimits(), description="How much of it we use at most.")


class Route(Settings):
    """A part of an upstream with a policy of its own; the first that matches is taken."""

    match: RouteMatch = Field(description="Which requests it is for.")
    policy: Policy = Policy()


class Auth(Settings):
    """The credential we put in, after removing the caller's own."""

    header: Annotated[HeaderName, StandIn("Authorization")] = Field(
        description="The header that carries it.", examples=["Authorization", "x-api-key"]
    )
    value: Annotated[Credential, StandIn("stand-in")] = Field(
        description="Its value; keep the secret out of the file.",
        examples=["Bearer ${OPENAI_API_KEY}", "${file:/run/secrets/key}"],
    )


class Fallback(Settings):
    """Another upstream that is asked when this one cannot answer."""

    upstream: Annotated[Text, StandIn("unknown")] = Field(description="Its name.")
    set: dict[str, AnyJson] = Field(
        {},
        description="Top-level fields of the JSON body that are replaced for this target.",
        examples=[{"model": "qwen2.5-7b"}],
    )
    path: Path | None = Field(None, description="The path to ask there instead of the caller's.")
    when: tuple[CallersFault, ...] = Field(
        (),
        description="Callers' faults for which it is asked too, as status or status:code.",
        examples=[["400:context_length_exceeded", "404"]],
    )
    forward_credentials: Flag = Field(
        False, description="Pass the caller's own credential on to it as well."
    )


class HeaderRules(Settings):
    """What is changed in the headers of requests to an upstream."""

    set: dict[HeaderName, HeaderValue] = Field(
        {}, description="Headers put in, in place of the caller's of the same name."
    )
    remove: tuple[HeaderName, ...] = Field((), description="Headers of the caller taken out.")


class Forward(Settings):
    """What an upstream is told about the caller."""

    client: Flag = Field(False, description="Send X-Forwarded-For, -Host and -Proto.")
    trace: Flag = Field(True, description="Pass traceparent and tracestate on.")


class Upstream(Rules):
    """A server we call."""

    name: str
    kind: Annotated[Literal["llm", "vectordb", "http"], words("llm", "vectordb", "http")] = Field(
        "http", description="What it is: chooses error code and built-in values."
    )
    provider: ProviderName = Field(
        "generic",
        description="Whose API it speaks: how its errors and streams look, which POSTs only read.",
    )
    url: Annotated[Address, StandIn("http://localhost")] = Field(
        description="Where it is; a path in it is put before the caller's.",
        examples=["https://api.openai.com", "http://127.0.0.1:6333", "unix:/run/qdrant.sock"],
    )
    tls: UpstreamTls | None = Field(
        None, description="Beyond what https has by itself: authorities, our certificate, a name."
    )
    auth: Auth | None = Field(
        None, description="Our credential, put in place of whatever the caller sent."
    )
    capabilities: tuple[Capability, ...] = Field(
        (), description="What it can do, for X-Required-Capabilities.", examples=[["chat"]]
    )
    fallback: tuple[Fallback, ...] = Field(
        (), description="Who is asked, in this order, when it cannot answer."
    )
    fallback_writes: Flag = Field(
        False,
        description="Let a fallback serve what a vector database writes, too. A write that lands on"
        " a replica alone splits the two for good.",
    )
    routes: tuple[Route, ...] = Field((), description="Parts of it with a policy of their own.")
    listen: Listener | None = Field(None, description="A listener of its own.")
    headers: HeaderRules = Field(HeaderRules(), description="What is changed in the headers.")
    replay_limit: Annotated[Size, ByKind(llm="8MiB", vectordb="8MiB")] = Field(
        1 << 20,
        description="A request body up to this is kept while it streams, so that it can be sent"
        " again; a larger one gets one attempt.",
    )
    forward: Forward = Field(Forward(), description="What it is told about the caller.")
    egress: Address | None = Field(
        None, description="An HTTP proxy to reach it through (CONNECT).", examples=["http://p:3128"]
    )


Strategy = Literal["priority", "weighted", "least_in_flight"]


class Pool(Settings):
    """Several upstreams under one name."""

    members: Annotated[tuple[Text, ...], StandIn(("unknown",))] = Field(
        min_length=1, description="The upstreams' names, the preferred first."
    )
    strategy: Annotated[Strategy, words("priority", "weighted", "least_in_flight")] = Field(
        "priority",
        description="Who is asked first: the first member listed, one drawn by weight, or the one"
        " with the fewest calls in flight for its weight.",
    )
    weights: dict[str, Annotated[Ratio, Gt(0)]] = Field(
        {},
        description="Shares of the calls, by member; 1 for those not named. Not with priority.",
        examples=[{"local": 2}],
    )
    ramp: Duration = Field(
        0.0,
        description="How long a member whose circuit has closed again gets less than its share,"
        " from a tenth up; 0 gives it all at once.",
        examples=["30s"],
    )
    forward_credentials: Flag = Field(
        False,
        description="Pass the caller's own credential on to the members that have no auth of their"
        " own.",
    )

    @field_validator("weights", mode="before")
    @classmethod
    def _without_the_unknown(cls, weights: Any) -> Any:
        if not isinstance(weights, dict):
            return weights
        return {name: it for name, it in weights.items() if not isinstance(it, Unknown)}


class Log(Settings):
    """What is logged, and how it looks."""

    level: Annotated[
        Literal["debug", "info", "warning", "error", "critical"],
        words("debug", "info", "warning", "error", "critical"),
    ] = Field("info", description="The least level that is logged.")
    format: Annotated[Literal["auto", "console", "json"], words("auto", "console", "json")] = Field(
        "auto", description="auto: console on a terminal, JSON otherwise."
    )


class Tracing(Settings):
    """Spans of what is done, as OpenTelemetry has them."""

    enabled: Flag = Field(
        False,
        description="Make a span of each request and attempt. Needs the extra `tracing`; where they"
        " go is said by OpenTelemetry's own environment variables.",
    )


class Drain(Settings):
    """How the proxy stops."""

    delay: Duration = Field(
        0.0, description="Not ready, but still serving: time for a balancer to notice."
    )
    timeout: Duration = Field(30.0, description="What calls in flight are given to end.")


class Limits(Settings):
    """Bounds of the whole process."""

    replay_memory: Size = Field(
        256 << 20, description="Memory for all kept request bodies together."
    )
    # Cookies and tracing make heads grow; 64 KiB is Envoy's order, past what any SDK sends.
    header_size: Annotated[Size, Field(ge=1024)] = Field(
        64 << 10, description="The largest head of a request, in bytes."
    )
    header_count: Count = Field(128, ge=16, description="The most header fields in one head.")


class Batch(Settings):
    """How much one batch may hold."""

    items: Count = Field(1000, ge=1, description="Requests in one batch.")
    size: Annotated[Size, Field(ge=1024)] = Field(
        32 << 20,
        description="The largest batch, in bytes; and memory for the answers of one, all together.",
    )
    concurrency: Count = Field(
        64, ge=1, description="Requests of one batch under way at a time, whatever it asks for."
    )


class Shared(Settings):
    """What several processes before the same upstreams tell each other."""

    redis: Annotated[Redis, StandIn("redis://localhost")] = Field(
        description="Where they meet.",
        examples=["redis://127.0.0.1:6379/0", "unix:///run/redis.sock"],
    )


class Config(Settings):
    """The whole file, complete."""

    version: Version = Field(1, description="The version of this format.")
    listen: DataListener = Field(DataListener(), description="Where services call us.")
    admin: AdminListener = Field(AdminListener(), description="Where operators look.")
    log: Log = Field(Log(), description="What is logged, and how.")
    tracing: Tracing = Field(Tracing(), description="Spans, for a collector of OpenTelemetry's.")
    drain: Drain = Field(Drain(), description="How the proxy stops.")
    watch: Flag = Field(True, description="Reload when the file or one of its secrets changes.")
    limits: Limits = Field(Limits(), description="Bounds of the whole process.")
    upstreams: Annotated[dict[str, Upstream], StandIn({})] = Field(
        description="Whom we call, by name."
    )
    pools: dict[str, Pool] = Field({}, description="Several upstreams under one name.")
    batch: Batch | None = Field(
        None,
        description="Many requests in one, at POST /-/batch; {} is all it takes. Not given, there"
        " is no such path.",
    )
    shared: Shared | None = Field(
        None, description="Let several processes share what their circuit breakers find out."
    )
    warnings: tuple[Problem, ...] = ()
    files: dict[str, str] = Field({}, repr=False)
    # Secrets and certificates, each with a digest: a renewed certificate is a new config too.
