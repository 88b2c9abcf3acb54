"""What calls are held to before they are made: limits, answers that are kept, input checks.

The rules of `schema.py`, of which this is a part, hold here too.
"""

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from proxy.config import forms
from proxy.config.fields import PATTERNS, Unknown
from proxy.config.settings import (
    Count,
    Duration,
    Flag,
    Inconsistent,
    Method,
    Pattern,
    Positive,
    Prefix,
    Region,
    Secret,
    Settings,
    Size,
    StandIn,
    Switch,
    Text,
    words,
)


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


class RateLimit(Settings):
    """How often an upstream may be called."""

    limit: Annotated[Count, StandIn(1)] = Field(
        ge=1, description="Calls per window in the long run.", examples=[100]
    )
    window: Annotated[Positive, StandIn("1s")] = Field(
        description="The time they are for.", examples=["60s"]
    )
    burst: Count | None = Field(
        None,
        ge=1,
        description="Calls at once after a time of quiet; not given, it is the limit. No window has"
        " more than limit + burst.",
    )
    by: Annotated[Literal["upstream", "caller"], words("upstream", "caller")] = Field(
        "upstream",
        description="upstream counts all calls together; caller each caller's: by its credential,"
        " else by its address.",
    )


class Queue(Settings):
    """The line of calls that wait for a place."""

    size: Count = Field(100, ge=1, description="Calls that may wait in it.")
    timeout: Positive = Field(5.0, description="How long one waits at most.")


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
    throttle: Flag = Field(
        True,
        description="When it tells one call how long to wait, let the others with the same"
        " credential wait too.",
    )
    rate: RateLimit | None = Field(None, description="Calls in a time; one too many is told 429.")
    concurrency: Count | None = Field(
        None, ge=1, description="Attempts in flight at a time.", examples=[20]
    )
    queue: Queue | None = Field(
        None,
        description="Calls that find no place wait in it; without it they are told"
        " CAPACITY_EXCEEDED at once.",
    )

    @model_validator(mode="after")
    def _line_leads_somewhere(self) -> Self:
        if self.queue is not None and self.concurrency is None:
            raise Inconsistent(
                ("queue", "concurrency"),
                "is a line for the places of concurrency, which is not set",
            )
        if self.concurrency is not None and self.concurrency > self.connections:
            raise Inconsistent(
                ("concurrency", "connections"),
                f"concurrency ({self.concurrency}) is above connections ({self.connections}),"
                " of which each attempt needs one",
            )
        return self


def _redis(value: Secret) -> Secret:
    address = value.get_secret_value()
    if not address.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("is not the address of a Redis (redis://…, rediss://…, unix://…)")
    try:
        urlsplit(address).port  # noqa: B018 -- asking for it reads it
    except ValueError:
        raise ValueError("is the address of a Redis with a port that is none") from None
    return value


Redis = Annotated[Secret, AfterValidator(_redis), forms.SECRET]


class Cache(Settings):
    """Answers that are kept, and given again to whoever asks the same."""

    ttl: Switch = Field(
        None,
        description="How long an answer is fresh, where the upstream does not say less. none: no"
        " answer is kept.",
        examples=["5m"],
    )
    stale_if_error: Duration = Field(
        0.0, description="How much longer it is better than an error, while the upstream fails."
    )
    methods: frozenset[Method] = Field(
        frozenset(("GET",)), min_length=1, description="Whose answers are kept: GET, POST or both."
    )
    match: tuple[RouteMatch, ...] = Field(
        (),
        description="Which requests it is for, each a path, methods or both; none given: all with"
        " one of `methods`.",
        examples=[[{"path": "/v1/embeddings", "methods": ["POST"]}]],
    )
    shared: Flag = Field(
        False, description="Callers with different credentials get the same answers."
    )
    max_entry: Size = Field(1 << 20, description="The largest body that is kept.")
    size: Size = Field(
        256 << 20,
        description="Memory for what is kept, by all upstreams that have the same size, redis and"
        " redis_timeout together.",
    )
    redis: Redis | None = Field(
        None,
        description="A second store, which other processes can share.",
        examples=["redis://127.0.0.1:6379/0", "unix:///run/redis.sock"],
    )
    redis_timeout: Positive = Field(0.05, description="How long Redis is waited for at most.")

    @model_validator(mode="after")
    def _only_what_can_be_kept(self) -> Self:
        for methods in (self.methods, *(match.methods or () for match in self.match)):
            others = set(methods) - {"GET", "POST"}
            if others := {other for other in others if not isinstance(other, Unknown)}:
                raise Inconsistent(
                    ("match" if methods is not self.methods else "methods",),
                    f"can hold GET and POST alone, not {', '.join(sorted(others))}",
                )
        return self


class Guard(Settings):
    """What a request's body is held to before it leaves; with any of it, it must be JSON."""

    pii: Annotated[
        Literal["none", "report", "redact", "block"], words("none", "report", "redact", "block")
    ] = Field(
        "none",
        description="What becomes of personal data that is found: report counts it, redact sends"
        " marks such as [EMAIL_1] instead, block refuses the request. none does not look.",
    )
    patterns: frozenset[Pattern] = Field(
        frozenset(PATTERNS),
        min_length=1,
        description="What is looked for.",
        examples=[["email", "api_key"]],
    )
    fields: tuple[Text, ...] = Field(
        ("messages", "input", "prompt"),
        min_length=1,
        description="The top-level fields that are looked into, with all that is below them.",
    )
    phone_regions: tuple[Region, ...] = Field(
        ("US",), description="The countries of telephone numbers that are written without a +."
    )
    max_prompt_chars: Count | None = Field(
        None,
        ge=1,
        description="The most characters in those fields together. Not given: any number.",
        examples=[400_000],
    )
    inspect_limit: Size = Field(
        1 << 20, description="The largest body that is looked into; replay_limit must have room."
    )
    oversize: Annotated[Literal["refuse", "pass"], words("refuse", "pass")] = Field(
        "refuse",
        description="What becomes of one that cannot be looked into: too large, or compressed."
        " pass sends it as it is, and counts it.",
    )

    @property
    def wanted(self) -> bool:
        """Whether there is anything to look for."""
        return self.pii != "none" or self.max_prompt_chars is not None
