"""What will happen, as a YAML file says it: callers, the upstream's speed, and its failures.

Read and refused as the config is: every problem at once, each with its line. Nothing here draws
lots or waits. Times are seconds since the scenario began.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from proxy.config import document, load
from proxy.config.document import Mark
from proxy.config.problem import ConfigError, Problem
from proxy.config.settings import (
    Count,
    Duration,
    Positive,
    Ratio,
    Settings,
    StandIn,
    Text,
    words,
)

FOLDER = Path(__file__).with_name("scenarios")

BUILT_IN = tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))

Kind = Literal["refused", "500", "503", "429", "hang", "cut", "slow"]


class Latency(Settings):
    """How long a good answer takes: a log-normal distribution, told by two of its points."""

    p50: Positive = Field(0.8, description="Half of the answers are faster.")
    p99: Positive = Field(4.0, description="One of a hundred is slower.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.p99 < self.p50:
            raise ValueError("has a p99 below its p50")
        return self


class Arrivals(Settings):
    """From when on how many calls come, in the mean; they come as a Poisson process."""

    at: Duration = Field(0.0, description="From when on.")
    rate: Annotated[Ratio, StandIn("1")] = Field(description="Calls a second.", ge=0, le=1000)


class Failure(Settings):
    """A time in which the upstream fails, wholly or in part."""

    at: Annotated[Duration, StandIn("0s")] = Field(description="When it begins.")
    lasts: Annotated[Positive, StandIn("1s")] = Field(description="How long it is.")
    kind: Annotated[
        Kind, words("refused", "500", "503", "429", "hang", "cut", "slow"), StandIn("hang")
    ] = Field(
        description="What an attempt meets: a refused connection, a status, silence, an answer that"
        " is cut, or one that is late."
    )
    share: Ratio = Field(1.0, gt=0, le=1, description="The part of the attempts that meet it.")
    retry_after: Duration | None = Field(None, description="The wait that a 429 or a 503 asks for.")
    factor: Ratio = Field(10.0, gt=0, le=1000, description="How many times slower slow is.")

    @property
    def ends(self) -> float:
        return self.at + self.lasts


class Callers(Settings):
    """How people's clients behave; the built-in values are the official SDKs'."""

    patience: Positive = Field(
        60.0, description="How long a caller waits in all, its own retries included."
    )
    retries: Count = Field(
        2, ge=0, le=20, description="How often it asks again, unless X-Should-Retry says no."
    )


class Scenario(Settings):
    """One story; the same one for every config that it is told to."""

    about: Text = Field("", description="What it shows, in a sentence.")
    duration: Annotated[Positive, StandIn("1s")] = Field(
        description="How long callers keep coming.", le=24 * 3600
    )
    arrivals: tuple[Arrivals, ...] = Field(
        (Arrivals(rate=20.0),), description="How many callers come, from when on."
    )
    latency: Latency = Field(Latency(), description="How fast the upstream is when it is well.")
    failures: tuple[Failure, ...] = Field((), description="What goes wrong.")
    callers: Callers = Field(Callers(), description="How callers behave.")

    def rate(self, at: float) -> float:
        """Give the calls a second that come at a point in time, 0 before the first entry."""
        begun = [step for step in self.arrivals if step.at <= at]
        return max(begun, key=lambda step: step.at).rate if begun else 0.0


def read(name: str) -> Scenario:
    """Read a built-in scenario, or a file; ConfigError has every problem."""
    path = FOLDER / f"{name}.yaml" if name in BUILT_IN else Path(name)
    try:
        data = path.read_bytes()
    except OSError as error:
        known = f" (a file, or one of {', '.join(BUILT_IN)})"
        raise document.refused(name, f"cannot be read: {error.strerror}{known}") from None
    return parse(document.decode(data, name), name)


def parse(text: str, file: str) -> Scenario:
    """Read a scenario's text; ConfigError has every problem, in the order of the file."""
    problems: set[Problem] = set()

    def report(mark: Mark, message: str) -> None:
        problems.add(Problem(file, mark.line, mark.column, document.dotted(mark.path), message))

    scenario = load.build(Scenario, document.read(text, file), report)
    if problems:
        raise ConfigError(
            tuple(sorted(problems, key=lambda found: (found.line, found.column, found)))
        )
    return scenario
