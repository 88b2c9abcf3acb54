"""What is measured, and in which unit: each scenario asks one thing of a running contender.

The criterion is CPU time (user and system, of the contender's whole process tree) for each unit of
work: it says what a proxy costs even where the load's CPU, and not the proxy, was the limit.
"""

import resource
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import contenders
import load
from contenders import Contender
from load import Target
from process import Gone, Process, free_port

MIB = 1 << 20
NO_PROXY = "(no proxy)"


@dataclass(frozen=True)
class Place:
    """Where a run happens: the two CPUs, a folder for logs and configs, and the upstream's port."""

    contender_cpu: int
    load_cpu: int
    folder: Path
    upstream: int


@dataclass(frozen=True)
class Running:
    """A contender that listens; None stands for the upstream itself, with no proxy before it."""

    place: Place
    port: int
    contender: Contender | None = None
    process: Process | None = None

    @property
    def name(self) -> str:
        return self.contender.name if self.contender else NO_PROXY

    def target(self, path: str, method: str = "POST", body: int = 820) -> Target:
        if self.contender is None:
            return Target(self.port, path, method, body)
        headers = self.contender.headers(self.place.upstream)
        return Target(self.port, self.contender.prefix + path, method, body, headers)

    @contextmanager
    def watched(self) -> Iterator[list[float]]:
        """Give a list that holds the CPU seconds of the block once it has ended."""
        spent: list[float] = []
        before = self.process.cpu_seconds() if self.process else 0.0
        yield spent
        spent.append(self.process.cpu_seconds() - before if self.process else 0.0)


@dataclass(frozen=True)
class Sample:
    """One round: *cost* for each unit, units a second, and seconds of latency."""

    cost: float
    rate: float = 0.0
    p50: float = 0.0
    p99: float = 0.0
    failed: int = 0


@dataclass(frozen=True)
class Scenario:
    """A question, and how one round of its answer is found."""

    key: str
    title: str
    unit: str
    ask: Callable[[Running, int], Sample]
    """Given who is asked, and for how many seconds."""
    only: tuple[str, ...] = ()
    """Who is asked, where it is not everybody."""
    dead_upstream: bool = False
    once: bool = False
    """One round is enough: what is measured is counted and does not fluctuate."""


@dataclass
class Series:
    """All rounds of one contender in one scenario; none, where it was left out."""

    name: str
    samples: list[Sample] = field(default_factory=list)
    left_out: bool = False

    def median(self, what: Callable[[Sample], float]) -> float:
        return statistics.median(map(what, self.samples))

    def ratio(
        self, other: "Series", what: Callable[[Sample], float] = lambda sample: sample.cost
    ) -> float | None:
        """Give the median of a figure over the other's in the same round."""
        pairs = [
            (what(mine), what(theirs))
            for mine, theirs in zip(self.samples, other.samples, strict=True)
            if what(theirs)
        ]
        return statistics.median(mine / theirs for mine, theirs in pairs) if pairs else None


def play(
    scenario: Scenario, entrants: Sequence[Contender], place: Place, seconds: int, rounds: int
) -> list[Series]:
    """Start who takes part, let each warm up, and ask them in turn, round by round.

    Who ends or falls silent is left out: its series comes back empty.
    """
    with ExitStack() as stack:
        running = _begin(scenario, entrants, place, stack)
        if not scenario.only:
            running.insert(0, (Running(place, place.upstream), Series(NO_PROXY)))
        series = [record for _, record in running]
        if not scenario.once:
            _ask_all(scenario, running, 1)
            for record in series:
                record.samples.clear()
        for _ in range(1 if scenario.once else rounds):
            _ask_all(scenario, running, seconds)
    return series


def _begin(
    scenario: Scenario, entrants: Sequence[Contender], place: Place, stack: ExitStack
) -> list[tuple[Running | None, Series]]:
    begun: list[tuple[Running | None, Series]] = []
    for contender in entrants:
        if contender.name not in (scenario.only or (contender.name,)):
            continue
        if scenario.key not in (contender.scenarios or (scenario.key,)):
            continue
        record, running = Series(contender.name), None
        with _leaving_out(record):
            running = _start(contender, place, stack, dead=scenario.dead_upstream)
        begun.append((running, record))
    return begun


def _ask_all(
    scenario: Scenario, running: Sequence[tuple[Running | None, Series]], seconds: int
) -> None:
    for one, record in running:
        if one is not None and not record.left_out:
            with _leaving_out(record):
                record.samples.append(scenario.ask(one, seconds))


@contextmanager
def _leaving_out(record: Series) -> Iterator[None]:
    """Go on without a contender that is gone; without the upstream there is nothing to measure."""
    try:
        yield
    except (Gone, OSError) as reason:  # /proc says nothing of a process that has ended
        if record.name == NO_PROXY:
            raise
        record.left_out = True
        record.samples.clear()
        print(f"{record.name} is left out: {reason}", file=sys.stderr, flush=True)


def _start(contender: Contender, place: Place, stack: ExitStack, *, dead: bool) -> Running:
    folder = place.folder / contender.name.replace(" ", "-")
    folder.mkdir(exist_ok=True)
    port = free_port()
    upstream = free_port() if dead else place.upstream
    command = contender.command(folder, port, upstream)
    started = stack.enter_context(Process(command, place.contender_cpu, folder / "stderr.log"))
    started.listening(port)
    return Running(place, port, contender, started)


def _requests(running: Running, target: Target, connections: int, seconds: int) -> Sample:
    place = running.place
    with running.watched() as spent:
        saw = load.requests(target, connections, seconds, place.load_cpu, place.folder / "wrk.log")
    if not saw.requests:
        raise Gone(f"{running.name} answered nothing")
    return Sample(
        cost=spent[0] / saw.requests,
        rate=saw.requests / saw.seconds,
        p50=saw.p50,
        p99=saw.p99,
        failed=saw.unwelcome + saw.lost,
    )


def _small(connections: int) -> Callable[[Running, int], Sample]:
    def ask(running: Running, seconds: int) -> Sample:
        return _requests(running, running.target("/small"), connections, seconds)

    return ask


def _large(running: Running, seconds: int) -> Sample:
    sample = _requests(running, running.target("/large", "GET", 0), 64, seconds)
    return _by(sample, 65536 / MIB)


def _upload(running: Running, seconds: int) -> Sample:
    return _by(_requests(running, running.target("/small", body=MIB), 16, seconds), 1)


def _by(sample: Sample, mib: float) -> Sample:
    """Turn a sample by request into one by MiB."""
    return Sample(sample.cost / mib, sample.rate * mib, sample.p50, sample.p99, sample.failed)


def _rejections(running: Running, seconds: int) -> Sample:
    sample = _requests(running, running.target("/small"), 64, seconds)
    return Sample(sample.cost, sample.rate, sample.p50, sample.p99)  # every answer is a 503


def _events(running: Running, seconds: int) -> Sample:
    place, target = running.place, running.target("/events", "GET", 0)
    log = place.folder / "streams.log"
    with load.Streams(target, EVENT_STREAMS, place.load_cpu, log) as streams:
        streams.events()
        with running.watched() as spent:
            saw = streams.events_of(seconds)
    if not saw.events:
        raise Gone(f"{running.name} let no event through")
    return Sample(
        cost=spent[0] / saw.events,
        rate=saw.events / seconds,
        p50=saw.p50,
        p99=saw.p99,
        failed=EVENT_STREAMS - saw.streams,
    )


def _idle(running: Running, seconds: int) -> Sample:
    place, watched = running.place, running.process
    count = min(IDLE_STREAMS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2 - 500)
    if watched is None:
        return Sample(0.0)
    _requests(running, running.target("/small"), 64, seconds)
    before = watched.memory()
    log = place.folder / "streams.log"
    with load.Streams(running.target("/idle", "GET", 0), count, place.load_cpu, log) as streams:
        saw = streams.events()
        return Sample((watched.memory() - before) / count / 1024, failed=count - saw.streams)


EVENT_STREAMS = 500
IDLE_STREAMS = 5000

ALL = (
    Scenario("small-64", "0.8 KiB POST answered by 1.3 KiB, 64 connections", "request", _small(64)),
    Scenario("small-1", "The same, 1 connection", "request", _small(1)),
    Scenario("small-1000", "The same, 1,000 connections", "request", _small(1000)),
    Scenario("large", "64 KiB answers, 64 connections", "MiB", _large),
    Scenario("upload", "1 MiB uploads, 16 connections", "MiB", _upload),
    Scenario("events", "500 event streams of 20 events a second", "event", _events),
    Scenario(
        "rejection",
        "An open breaker, 64 connections",
        "rejection",
        _rejections,
        only=(contenders.OCTOLLM.name,),
        dead_upstream=True,
    ),
    Scenario("idle", "5,000 idle event streams", "KiB", _idle, once=True),
)
