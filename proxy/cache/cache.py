"""The face of the cache: an answer from here, or one call for all who ask the same.

The stores are asked in turn, the nearest first; behind them stands the upstream, and behind the
upstream's failure an answer which is not fresh any more.
"""

import asyncio
import copy
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from proxy import errors
from proxy.cache import rules
from proxy.cache.collecting import Collecting
from proxy.cache.entry import Entry
from proxy.cache.flights import Flight, Flights, Impatient, Parted
from proxy.cache.memory import Memory
from proxy.errors import OctoLLMError
from proxy.wire.headers import Pair
from proxy.wire.message import Headers, Reply

if TYPE_CHECKING:  # redis-py is loaded where one is configured, and nowhere else
    from proxy.cache.redis import Redis

Result = Literal["hit", "stale", "miss", "coalesced"]


class Terms(Protocol):
    """What the config says of the answers of a route: seconds and bytes. No ttl: none is kept."""

    @property
    def ttl(self) -> float | None: ...
    @property
    def stale_if_error(self) -> float: ...
    @property
    def max_entry(self) -> int: ...
    @property
    def shared(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, as far as the cache needs to know."""

    key: bytes
    """`rules.key` of it."""
    accepted_age: float
    """`rules.accepted_age` of it, which was not None."""
    without: frozenset[bytes]
    """The names of fields that did not count in the key."""
    terms: Terms
    until: float | None = None
    """The loop's time at which its caller's deadline is over; None for no limit."""


class Served(NamedTuple):
    """An answer from here. The fields of *entry* and of `head` stand before the caller's own."""

    entry: Entry
    result: Result
    age: float

    def head(self) -> list[Pair]:
        """Give the fields of the answer, and what we have to say of it."""
        said = b"stale" if self.result == "stale" else b"hit"
        return [
            *self.entry.headers,
            (b"Age", b"%d" % self.age),
            (b"X-OctoLLM-Cache", said),
        ]


class Answered(NamedTuple):
    """The caller has its answer already, by its own reply; its status."""

    status: int
    result: Result = "miss"


Fetch = Callable[[Collecting], Awaitable[int]]
_Landed = Served | Answered


class Cache:
    """The stores of one size at one place, and the calls that are under way to fill them."""

    def __init__(self, memory: Memory, redis: "Redis | None", wall: Callable[[], float]) -> None:
        self.memory = memory
        self.redis = redis
        self._wall = wall
        self._flights: Flights[_Landed] = Flights()

    def find(self, question: Question) -> Served | None:
        """Give what is here and fresh, without waiting for anything."""
        entry, now = self.memory.get(question.key), self._wall()
        if entry is None or not _is_fresh(entry, question, now):
            return None
        return Served(entry, "hit", entry.age(now))

    async def answer(self, question: Question, reply: Reply, fetch: Fetch) -> Served | Answered:
        """Give an answer to *question*, which `find` has not, or say that *reply* has been given.

        *fetch* asks the upstream, answers the reply it is given, and gives the status or raises. It
        may outlive this call, and the caller, as long as others wait for the same: it must hold all
        it needs. Raises what *fetch* raised where there is nothing to serve instead.
        """
        try:
            return await self._ask(question, reply, fetch)
        except OctoLLMError as error:
            if reply.started or not _is_an_outage(error):
                raise
            entry, now = self.memory.get(question.key), self._wall()
            if entry is None or now >= entry.stale_until or entry.age(now) >= question.accepted_age:
                raise
            return Served(entry, "stale", entry.age(now))

    async def close(self) -> None:
        if self.redis is not None:
            await self.redis.close()

    async def _ask(self, question: Question, reply: Reply, fetch: Fetch) -> _Landed:
        """Ask together with all who ask the same."""
        key, clock = (question.key, question.accepted_age), asyncio.get_running_loop().time
        collecting, began = self._collecting(question, reply), clock()
        while True:
            first, patience = False, None if question.until is None else question.until - clock()

            def begin(flight: Flight[_Landed]) -> Coroutine[Any, Any, _Landed]:
                nonlocal first, collecting
                first, collecting = True, self._collecting(question, reply, flight.part)
                return self._fly(question, collecting, fetch)

            try:
                landed = await self._flights.join(key, begin, patience)
            except Parted:
                collecting.let_pass()
                return Answered(await fetch(collecting))
            except Impatient:
                raise errors.TimeoutError("the call", clock() - began) from None
            except OctoLLMError as error:
                if first:
                    raise
                if _is_its_own(error, shared=question.terms.shared):
                    continue
                raise _once_more(error) from error
            if isinstance(landed, Answered):
                return landed
            if not first:
                return landed._replace(result="coalesced")
            return Answered(collecting.deliver()) if landed.result == "miss" else landed

    async def _fly(self, question: Question, collecting: Collecting, fetch: Fetch) -> _Landed:
        """Ask the second store, then the upstream; keep what may be kept."""
        if self.redis is not None and question.accepted_age > 0:
            entry, now = await self.redis.get(question.key), self._wall()
            if entry is not None:
                self._learn(question.key, entry)
                if _is_fresh(entry, question, now):
                    return Served(entry, "hit", entry.age(now))
        status = await fetch(collecting)
        entry = collecting.entry
        if entry is None:
            collecting.let_pass()  # whatever it was, it was not for others
            return Answered(status)
        self.memory.put(question.key, entry)
        if self.redis is not None:
            self.redis.put(question.key, entry)
        return Served(entry, "miss", entry.age(self._wall()))

    def _learn(self, key: bytes, entry: Entry) -> None:
        """Keep what others have stored, unless we know better."""
        ours = self.memory.get(key)
        if ours is None or ours.born < entry.born:
            self.memory.put(key, entry)

    def _collecting(
        self, question: Question, reply: Reply, part: Callable[[], None] = lambda: None
    ) -> Collecting:
        terms = question.terms

        def lives(status: int, answer: Headers) -> rules.Lifetime | None:
            return rules.lifetime(
                self._wall(),
                status,
                answer,
                ttl=terms.ttl or 0.0,
                stale_if_error=terms.stale_if_error,
                without=question.without,
            )

        return Collecting(reply, lives, terms.max_entry, part)


def _is_fresh(entry: Entry, question: Question, now: float) -> bool:
    return now < entry.fresh_until and entry.age(now) < question.accepted_age


def _is_an_outage(error: OctoLLMError) -> bool:
    """Tell whether the upstream could not answer; a 404 is an answer, and a 429 is about a key."""
    if isinstance(error, errors.CircuitOpenError | errors.ArmUnavailableError):
        return True
    condition = error.condition
    answered = isinstance(condition, int) and condition < 500 and condition != 408
    return error.blames_upstream and not answered


_OF_A_CALLER = errors.TimeoutError | errors.ValidationError | errors.RateLimitError
_OF_A_CREDENTIAL = errors.AuthenticationError | errors.AuthorizationError | errors.RateLimitError


def _is_its_own(error: OctoLLMError, *, shared: bool) -> bool:
    """Tell whether an error is about who asked first: its deadline, its request, its rate.

    What the upstream says of its credential is, too, where those who wait have others: *shared*.
    """
    if error.condition is None:
        return isinstance(error, _OF_A_CALLER)
    return shared and isinstance(error, _OF_A_CREDENTIAL)


def _once_more(error: OctoLLMError) -> OctoLLMError:
    """Give an error to another caller, who has details of its own to add."""
    own = copy.copy(error)
    own.details = dict(error.details)
    return own
