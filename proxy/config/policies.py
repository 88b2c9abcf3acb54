"""How calls are made and repeated, and when an upstream is left alone: the keys of each policy.

The rules of `schema.py`, of which this is a part, hold here too.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from proxy.config import units
from proxy.config.settings import (
    Blaming,
    ByKind,
    Count,
    Duration,
    Flag,
    Inconsistent,
    Limit,
    Positive,
    Ratio,
    Retryable,
    Settings,
    Size,
    Switch,
    words,
)


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


class Hedge(Settings):
    """A second attempt beside a slow first one, for calls that only read."""

    delay: Switch = Field(
        None,
        description="How long the first attempt may be silent before another starts; the first good"
        " head wins, and the other attempt is given up. none: no second attempt.",
        examples=["300ms"],
    )
    max: Count = Field(
        1, ge=1, le=10, description="Attempts beside the first, each `delay` after the one before."
    )
