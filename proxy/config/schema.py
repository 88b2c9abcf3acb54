"""Every key of the config file, once: its type, unit, range, built-in value and what it is for.

Rule 1: what stands here is complete and frozen; settings that are wrong cannot be built, so nobody
after this file asks whether a value is there or sane.
Rule 2: nothing here knows YAML, files, environment or precedence (`layers.py`, `load.py`), nor what
several settings mean together (`crosscheck.py`).

A field's default is the built-in value; where kinds differ, it is the one of `http`, and `ByKind`
beside it has the others, written as in the file. Times are seconds, sizes bytes.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from proxy.config import units
from proxy.config.listening import AdminListener, DataListener, Listener, UpstreamTls
from proxy.config.problem import Problem
from proxy.config.settings import (
    Address,
    AnyJson,
    Blaming,
    ByKind,
    CallersFault,
    Capability,
    Count,
    Credential,
    Duration,
    Flag,
    HeaderName,
    HeaderValue,
    Inconsistent,
    Limit,
    Method,
    Path,
    Positive,
    Prefix,
    ProviderName,
    Ratio,
    Retryable,
    Rewriting,
    Settings,
    Size,
    StandIn,
    Text,
    Version,
    words,
)
from proxy.config.settings import Condition as Condition  # noqa: PLC0414 -- part of this face
from proxy.config.settings import Secret as Secret  # noqa: PLC0414 -- part of this face
from proxy.config.url import Url as Url  # noqa: PLC0414 -- part of this face


class Timeouts(Settings):
    """How long each phase of a call may take. `none` is no limit."""

    connect: Annotated[Limit, ByKind(vectordb="2s")] = Field(
        5.0, description="How long DNS, TCP and TLS may take together."
    )
    first_byte: Annotated[Limit, ByKind(llm="none", vectordb="15s")] = Field(
        30.0,
        description="From the request fully sent to the answer's head. For a completion that is not"
        " streamed the head comes after the whole generation: leave it to total there.",
    )
    first_event: Limit = Field(
        300.0, description="From the answer's head to the first server-sent event of a stream."
    )
    idle: Annotated[Limit, ByKind(llm="5m")] = Field(
        30.0,
        description="Between two pieces of a body, both ways; stands still while we wait for a slow"
        " caller.",
    )
    total: Annotated[Limit, ByKind(llm="9m30s")] = Field(
        60.0,
        description="The whole call: queueing, attempts, waits, and a body that is not a stream."
        " Keep it below the callers' own timeout (600 s in the SDKs of OpenAI and Anthropic), so"
        " that they get our answer instead of their timeout.",
    )
    stream_total: Limit = Field(
        None, description="The same for event streams and tunnels, which may last."
    )


class Budget(Settings):
    """How many retries an upstream is given, so that a slow one is not drowned in them."""

    ratio: Ratio = Field(
        0.2, ge=0, le=10, description="Retries allowed for each request of the last 10 s."
    )
    min_per_second: Ratio = Field(
        3.0,
        ge=0,
        description="Retries a second that are allowed however few requests there are.",
    )


class Retry(Settings):
    """When a failed call is tried again, and how long it waits before."""

    max_retries: Count = Field(
        3, ge=0, le=100, description="Attempts after the first; 0 switches retries off."
    )
    base_delay: Duration = Field(1.0, description="The wait before the first retry.")
    max_delay: Duration = Field(60.0, description="The longest wait our own formula may give.")
    exponential_base: Ratio = Field(
        2.0, ge=1, le=10, description="What each further wait is multiplied by; 1 keeps it steady."
    )
    jitter: Flag = Field(
        True,
        description="Shorten each wait by up to half at random, so that callers who failed together"
        " do not come back together.",
    )
    retry_on: frozenset[Retryable] = Field(
        frozenset(("connect", "reset", 408, 425, 429, 500, 502, 503, 504, 529)),
        description="What is tried again: connect, reset, timeout, protocol, or statuses of 400 to"
        " 599. The list replaces the built-in one.",
    )
    max_retry_after: Duration = Field(
        60.0,
        description="The longest wait an upstream may ask for; a longer one is handed to the caller"
        " instead.",
    )
    unsafe_methods: Annotated[
        Literal["always", "auto", "never"], words("always", "auto", "never"), ByKind(llm="always")
    ] = Field(
        "auto",
        description="Whether POST and PATCH are tried again. auto: on the provider's read paths,"
        " with an Idempotency-Key, or when certainly nothing was sent.",
    )
    fallback_wait: Annotated[Duration, ByKind(vectordb="1s")] = Field(
        3.0,
        description="With a fallback left, the waits on one target add up to at most this; then the"
        " call moves on.",
    )

    @model_validator(mode="after")
    def _delays_agree(self) -> Self:
        if self.max_delay < self.base_delay:
            raise Inconsistent(
                ("max_delay", "base_delay"),
                f"max_delay ({units.written(self.max_delay)}) is below base_delay"
                f" ({units.written(self.base_delay)}), which would then never apply",
            )
        return self


class Breaker(Settings):
    """When an upstream is left alone, for how long, and what it must do to be trusted again."""

    failure_threshold: Count = Field(
        5, ge=1, description="Failures in a row that open the circuit."
    )
    failure_rate: Ratio = Field(
        0.5, gt=0, le=1, description="Or this share of failures within the window opens it."
    )
    min_requests: Count = Field(
        20, ge=1, description="Calls within the window before the share means anything."
    )
    window: Positive = Field(60.0, description="How far back failure_rate looks.")
    timeout: Positive = Field(60.0, description="How long the circuit stays open at first.")
    max_timeout: Positive = Field(
        60.0,
        description="The open time doubles after each failed probe, up to this.",
    )
    half_open_max: Count = Field(
        1, ge=1, description="Probes in flight at a time while the circuit is half-open."
    )
    success_threshold: Count = Field(1, ge=1, description="Good probes that close the circuit.")
    probe_lease: Positive = Field(
        10.0, description="A probe that has not answered by then frees its place for another."
    )
    failure_on: frozenset[Blaming] = Field(
        frozenset(("connect", "reset", "timeout", "protocol", "cut", 500, 502, 503, 504, 529)),
        description="What counts against the upstream: connect, reset, timeout, protocol, cut, 408"
        " or statuses of 500 to 599. The list replaces the built-in one.",
    )
    mode: Annotated[
        Literal["enforce", "observe", "disabled"], words("enforce", "observe", "disabled")
    ] = Field(
        "enforce",
        description="observe decides, counts and logs, but rejects nothing; disabled does nothing.",
    )

    @model_validator(mode="after")
    def _timeouts_agree(self) -> Self:
        if self.max_timeout < self.timeout:
            raise Inconsistent(
                ("max_timeout", "timeout"),
                f"max_timeout ({units.written(self.max_timeout)}) is below timeout"
                f" ({units.written(self.timeout)}); raise it to at least that",
            )
        return self


class Stream(Settings):
    """How event streams are sent on. A compressed stream is passed as it is."""

    mode: Annotated[Literal["live", "verified"], words("live", "verified")] = Field(
        "live",
        description="live sends each event on as it comes. verified holds the stream back until it"
        " is complete and every event well-formed, so that any fault in it can still be retried.",
    )
    hold_head: Flag = Field(
        True,
        description="The answer's head waits for the first event, so that an error there is retried"
        " like the status it stands for.",
    )
    ping: Duration = Field(
        0.0,
        description="While verified holds a stream back, send a comment line this often, for the"
        " timers of callers and balancers; 0 sends none. After the first one errors come as events,"
        " and nothing is retried.",
    )
    buffer_limit: Size = Field(
        8 << 20,
        description="A stream that verified holds beyond this goes on live, and says so in"
        " X-OctoLLM-Stream.",
    )


class Policy(Settings):
    """The effective policy of one route: built-in values, defaults, upstream and route merged."""

    timeouts: Timeouts = Field(Timeouts(), description="How long each phase of a call may take.")
    retry: Retry = Field(Retry(), description="When a failed call is tried again.")
    stream: Stream = Field(Stream(), description="How event streams are sent on.")
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


class RouteMatch(Settings):
    """Which requests a route is for; what is not given matches all."""

    path: Prefix | None = Field(
        None,
        description="A prefix of whole segments below the upstream: /v1/embeddings matches itself"
        " and /v1/embeddings/x, not /v1/embeddingsx.",
        examples=["/v1/embeddings"],
    )
    methods: frozenset[Method] | None = Field(
        None, min_length=1, description="The methods, in capitals.", examples=[["POST"]]
    )


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


class UpstreamLimits(Settings):
    """How much of an upstream's attention we take; the numbers are Envoy's."""

    connections: Count = Field(
        1024, ge=1, description="Connections to it at a time; a running completion holds one."
    )
    pending: Count = Field(
        1024,
        ge=0,
        description="Calls that may wait for a connection; the next is told CAPACITY_EXCEEDED.",
    )


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
    limits: UpstreamLimits = Field(UpstreamLimits(), description="How much of it we use at most.")


class Pool(Settings):
    """Several upstreams under one name."""

    members: Annotated[tuple[Text, ...], StandIn(("unknown",))] = Field(
        min_length=1, description="The upstreams' names, the preferred first."
    )


class Log(Settings):
    """What is logged, and how it looks."""

    level: Annotated[
        Literal["debug", "info", "warning", "error", "critical"],
        words("debug", "info", "warning", "error", "critical"),
    ] = Field("info", description="The least level that is logged.")
    format: Annotated[Literal["auto", "console", "json"], words("auto", "console", "json")] = Field(
        "auto", description="auto: console on a terminal, JSON otherwise."
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


class Config(Settings):
    """The whole file, complete."""

    version: Version = Field(1, description="The version of this format.")
    listen: DataListener = Field(DataListener(), description="Where services call us.")
    admin: AdminListener = Field(AdminListener(), description="Where operators look.")
    log: Log = Field(Log(), description="What is logged, and how.")
    drain: Drain = Field(Drain(), description="How the proxy stops.")
    watch: Flag = Field(True, description="Reload when the file or one of its secrets changes.")
    limits: Limits = Field(Limits(), description="Bounds of the whole process.")
    upstreams: Annotated[dict[str, Upstream], StandIn({})] = Field(
        description="Whom we call, by name."
    )
    pools: dict[str, Pool] = Field({}, description="Several upstreams under one name.")
    warnings: tuple[Problem, ...] = ()
    files: dict[str, str] = Field({}, repr=False)
    # Secrets and certificates, each with a digest: a renewed certificate is a new config too.
