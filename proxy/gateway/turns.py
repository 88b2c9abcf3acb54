"""One request at several upstreams, one after the other, until one of them answers.

Nothing of a failed answer has gone out when the next one is asked, so answers are never spliced.
Where all fail, the caller is told of the first: it is the one that was asked for.
"""

import asyncio
import json
from collections.abc import Coroutine, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from math import inf
from typing import TYPE_CHECKING, Any

from proxy import errors
from proxy.cache.collecting import Collecting
from proxy.errors import OctoLLMError, Severity
from proxy.gateway import credentials, routing
from proxy.gateway.attempt import Order
from proxy.gateway.call import Call
from proxy.gateway.destination import Destination, Target
from proxy.gateway.errand import Errand
from proxy.gateway.runtime import Runtime
from proxy.gateway.upstream import Plan
from proxy.observe import catalogue, logs
from proxy.policy.deadline import Deadline
from proxy.policy.fallback import moves_on
from proxy.wire.body import Replay, Whole
from proxy.wire.message import Body, Exchange, Reply

if TYPE_CHECKING:  # loaded where there is a guard, and nowhere else
    from proxy.gateway.screen import Screen

_NO_BODY: AbstractContextManager[None] = nullcontext()

_TICK = 0.001
"""uvloop's clock counts milliseconds: by it, a timer can ring as much too early."""


@dataclass(slots=True)  # frozen, it would cost every request two microseconds
class Work:
    """One request at *targets*, whoever of them is asked; *rest* is path and query as they came.

    *plan* is what holds for it at the first of them.
    """

    call: Call
    runtime: Runtime
    destination: Destination
    targets: Sequence[Target]
    plan: Plan
    deadline: Deadline
    rest: str
    path: str
    body: Replay | None = None
    reply: Reply = field(init=False)

    async def ask(self, body: Body | None, reply: Reply) -> int:
        """Ask the targets in turn, and give the status of the answer that was relayed.

        Raises the first one's error where nobody answers.
        """
        self.reply = reply
        with self._kept(body) as self.body:
            failures: list[_Failure] = []
            left = self.targets
            if left[0].set or self.destination.interchangeable:
                left = await self._able()
            while True:
                target, left = left[0], left[1:]
                try:
                    return await self._at(target, left)
                except OctoLLMError as error:
                    if reply.started or not (left or failures):
                        raise
                    failures.append(_Failure.of(target, error, self.call))
                    left = await self._fit(left, error)
                    if not left:
                        raise failures[0].for_all(failures, self.call) from None
                    self._tell(left[0], error)
                    if isinstance(reply, Collecting) and not self.destination.interchangeable:
                        reply.keep_nothing()  # what a fallback says is not the upstream's answer

    async def _able(self) -> Sequence[Target]:
        """Give who is left from the first on that can be asked. Raises ArmUnavailableError."""
        able, soonest = self.targets, None
        if able[0].set:
            able = await self._fit(able)
        elif able[0].unavailable_for(self.call):  # in a pool who can be asked stands before others
            soonest = min(target.unavailable_for(self.call) for target in able)
        if soonest or not able:
            needed = self.call.fields.get(b"x-required-capabilities", b"")
            raise errors.ArmUnavailableError(routing.capabilities(needed), retry_after=soonest)
        return able

    def _at(self, target: Target, left: Sequence[Target]) -> Coroutine[None, None, int]:
        """Take up the request for *target*; what is then awaited gives the answer's status."""
        upstream = target.upstream
        if upstream.rate is not None:
            upstream.take_rate(self.call)  # before a body that is then for nothing is read
        order = self._order(target, left, self.body)
        if target.set or order.plan.screen is not None:
            return self._changed_at(target, order, left)
        return self._errand(order, left).run()

    async def _changed_at(self, target: Target, order: Order, left: Sequence[Target]) -> int:
        """Ask *target* with another body, or with this one after it was looked into."""
        data = await self._changed(target, order)
        if data is None:
            return await self._errand(order, left).run()
        with Replay(Whole(data), len(data), self.runtime.memory) as body:
            return await self._errand(replace(order, body=body), left).run()

    async def _changed(self, target: Target, order: Order) -> bytes | None:
        """Give the body for this target, where it is another than came; None: it goes as it is."""
        data, screen = None, order.plan.screen
        if target.set:
            document = _object_in(self.body)
            assert document is not None  # else it would not be asked
            # Pure ASCII: half of a surrogate pair is JSON, and no UTF-8.
            data = json.dumps(document | target.set, separators=(",", ":")).encode()
        if screen is None or self.body is None:
            return data
        came = await self._come(self.body, screen) if data is None else data
        metrics = order.upstream.metrics
        return await screen.passed(order.call, came, metrics, kept=self.body.whole) or data

    async def _come(self, body: Replay, screen: "Screen") -> bytes | None:
        """Wait for a body that *screen* is to read; None where it cannot read it.

        Raises TimeoutError where the call's time is over first, and CapacityExceededError where
        there is no memory to keep it in.
        """
        if screen.can_read(self.call, body.length):
            size = await self._receive(screen.limit)
            if not body.ended and self._is_over():
                total = (self.deadline.at or 0) - self.deadline.began
                raise errors.TimeoutError("the call", total, sent=False)
            if size <= min(screen.limit, body.limit) and not body.whole:
                message = "there is no memory left in which this body could be looked into"
                raise errors.CapacityExceededError(message, retry_after=1, sent=False)
        return _all_of(body)

    def _kept(self, body: Body | None) -> AbstractContextManager[Replay | None]:
        """Keep a body for other attempts while it streams; no body needs no keeping."""
        if body is None:
            return _NO_BODY
        limit = self.targets[0].upstream.settings.replay_limit
        return Replay(body, limit, self.runtime.memory)

    def _errand(self, order: Order, left: Sequence[Target]) -> Errand:
        if not self.destination.interchangeable:
            return Errand(order)
        peers = (self._order(peer, left[n:], order.body) for n, peer in enumerate(left, 1))
        # What was let out, or marked, for one may not be so for another.
        return Errand(order, (peer for peer in peers if peer.plan.guard == order.plan.guard))

    def _order(self, target: Target, left: Sequence[Target], body: Replay | None) -> Order:
        upstream, rest, path, plan = target.upstream, self.rest, self.path, self.plan
        if target.path is not None:
            path = target.path
            rest = path + "".join(rest.partition("?")[1:])
        if path is not self.path or target is not self.targets[0]:
            plan = upstream.plan(self.call.request.method, path)
        if upstream.origin.our_credential or not target.callers_key:
            rest = credentials.without_key(rest)
        return Order(
            call=self.call,
            runtime=self.runtime,
            upstream=upstream,
            plan=plan,
            deadline=self.deadline,
            path=path,
            target=routing.join(upstream.base_path, rest),
            body=body,
            reply=self.reply,
            callers_key=target.callers_key,
            others=Others(left, self.call, self.body) if left else None,
        )

    async def _fit(
        self, left: Sequence[Target], error: OctoLLMError | None = None
    ) -> Sequence[Target]:
        """Give who is left from the first on that can be asked, after *error* if there was one."""
        for number, target in enumerate(left):
            if error is not None and not moves_on(error, target.when):
                continue
            if target.set:
                await self._receive()
            if _fits(target, self.body) and not self._is_over():
                return left[number:]
        return ()

    def _is_over(self) -> bool:
        remaining = self.deadline.remaining(self.runtime.around.clock())
        return remaining is not None and remaining <= _TICK

    async def _receive(self, limit: float = inf) -> int:
        """Wait for the rest of the body, as far as time, `replay_limit` and *limit* allow.

        Gives how many bytes there are, if one had to wait for them.
        """
        if self.body is None or self.body.ended or not self.body.whole:
            return 0
        if b"expect" in self.call.fields:
            self.reply.interim(100, ())  # there is no upstream yet that could say it
        call, reader, size = self.call, self.body.open(), 0
        began = call.stopwatch()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self.deadline.at):
                    while size <= limit and self.body.whole and (chunk := await reader.read()):
                        size += len(chunk)
        finally:
            call.elsewhere += call.stopwatch() - began
        return size

    def _tell(self, target: Target, error: OctoLLMError) -> None:
        """Count and log that *target* is asked now."""
        call, name = self.call, target.upstream.name
        reason = catalogue.reroute(error)
        call.metrics.moved_on(name, reason)
        if call.span is not None:
            call.span.note("fallback.taken", target=name, reason=reason)
        level = Severity.DEBUG if error.condition is None else Severity.INFO
        if logs.enabled(level):
            facts = call.identity | {"target": name, "reason": reason}
            getattr(call.log, level)("fallback.taken", **facts)


@dataclass(frozen=True, slots=True)
class Others:
    """The targets that are left while one is being asked; *body* is the request's own."""

    targets: Sequence[Target]
    call: Call
    body: Replay | None

    @property
    def heeded(self) -> frozenset[int]:
        """The statuses below 500 for which one of them might be asked."""
        named = (fault.status for target in self.targets for fault in target.when)
        return frozenset((408, 429, *named))

    def would_take(self, failure: OctoLLMError) -> bool:
        """Say whether one of them would be asked after *failure*, and could be now."""
        return any(
            moves_on(failure, target.when)
            and not target.unavailable_for(self.call)
            and _fits(target, self.body)
            for target in self.targets
        )


def _fits(target: Target, body: Replay | None) -> bool:
    """Say whether *target* can take a request with *body*, as far as that has come by now."""
    if body is None:
        return not target.set
    if not (target.set and body.ended):
        return body.whole
    return _object_in(body) is not None


def _object_in(body: Replay | None) -> dict[str, Any] | None:
    """Give the JSON object that *body* is; None where it is none, or is not here as a whole."""
    data = _all_of(body)
    try:
        content = None if data is None else json.loads(data)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _all_of(body: Replay | None) -> bytes | None:
    """Give a body that has come; None where it is not here as a whole."""
    if body is None or not (body.ended and body.whole):
        return None
    reader = body.open()
    data = bytearray()
    while chunk := reader.read_nowait():
        data += chunk
    return bytes(data)


@dataclass(frozen=True, slots=True)
class _Failure:
    """How asking one upstream ended, with all that a caller would be told of it."""

    upstream: str
    error: OctoLLMError
    exchange: Exchange | None
    verbatim: bytes | None
    declined: bool

    @classmethod
    def of(cls, target: Target, error: OctoLLMError, call: Call) -> "_Failure":
        """Take it out of *call*, so that the next upstream begins with a clean sheet."""
        failure = cls(target.upstream.name, error, call.exchange, call.verbatim, call.declined)
        call.exchange = call.verbatim = None
        call.declined = False
        return failure

    def for_all(self, failures: Sequence["_Failure"], call: Call) -> OctoLLMError:
        """Give this one's error as what the caller is told, with who else was tried."""
        call.answering = self.upstream
        call.exchange, call.verbatim, call.declined = self.exchange, self.verbatim, self.declined
        if len(failures) > 1:
            self.error.details["tried"] = [
                {"upstream": failure.upstream, "code": failure.error.error_code}
                for failure in failures
            ]
        return self.error
