"""A config file, alive in this process: the policies of each upstream, ready for calls.

What it reads of the file is `timeouts.total` and `stream_total`, `retry`, `breaker` and `routes`;
the rest is a proxy's.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Self

from proxy.config import load, schema
from proxy.config.providers import PROVIDERS
from proxy.inprocess.call import Call, Rules
from proxy.policy.breaker import Breaker, Transition
from proxy.policy.budget import RetryBudget
from proxy.policy.deadline import Deadline
from proxy.policy.retry import RetryPolicy
from proxy.semantics.requests import may_repeat, serves
from proxy.semantics.statuses import Origin


class Policies:
    """The policies of every upstream of a config, to be made once and shared by all calls.

    Circuits and budgets are this object's own: another process has others. *on_transition* hears of
    each move of a circuit, at once and inside the call that caused it, and must not raise.
    """

    def __init__(
        self,
        config: schema.Config,
        *,
        random: Random | None = None,
        on_transition: Callable[[Transition], None] = lambda _: None,
    ) -> None:
        chance = random or Random()
        self._upstreams = {
            name: _Upstream(settings, chance, on_transition)
            for name, settings in config.upstreams.items()
        }

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        env: Mapping[str, str] | None = os.environ,
        *,
        on_transition: Callable[[Transition], None] = lambda _: None,
    ) -> Self:
        """Read a config file; raises ConfigError, which has every problem in it.

        With *env* None, `${VAR}` without a default is no problem: a service that does not know the
        proxy's secrets does without.
        """
        return cls(load.load(path, env), on_transition=on_transition)

    @asynccontextmanager
    async def call(
        self, upstream: str, *, method: str = "POST", path: str = "/", stream: bool = False
    ) -> AsyncIterator[Call]:
        """Open a call to an upstream: its total deadline runs until the block ends.

        *method* and *path*, as the upstream sees them, choose the route's settings and say whether
        repeating does harm. With *stream*, an answer once begun has `timeouts.stream_total`.
        Raises TimeoutError (of `proxy.errors`) when the time is over, NetworkError where an answer
        breaks off in the block, and LookupError for an upstream that is not in the config.
        """
        if upstream not in self._upstreams:
            raise LookupError(f"the config has no upstream named {upstream!r}")
        rules = self._upstreams[upstream].rules(method, path)
        deadline = Deadline(rules.clock(), rules.timeouts.total)
        timer = asyncio.timeout_at(deadline.at)
        call = Call(rules, timer, deadline, stream=stream)
        try:
            async with timer:
                yield call
        except Exception as raised:
            failure = call.ended(raised)
            if failure is None:
                raise
            raise failure from raised
        else:
            call.completed()
        finally:
            call.left()  # a cancellation comes by here alone


class _Upstream:
    """One upstream's policies, by route; its breaker and its budget."""

    def __init__(
        self,
        settings: schema.Upstream,
        random: Random,
        on_transition: Callable[[Transition], None],
    ) -> None:
        self._settings = settings
        # The client brings its own key, so what an upstream says of it is the caller's to hear.
        self._origin = Origin(settings.kind, settings.provider, our_credential=False)
        self._breaker = Breaker(settings.name, settings.breaker, _now, on_transition)
        self._budget = RetryBudget(settings.budget, _now)
        everything = schema.Route(match=schema.RouteMatch(), policy=settings.policy)
        self._routes = [
            (route.match, route.policy, RetryPolicy(route.policy.retry, random))
            for route in (*settings.routes, everything)
        ]

    def rules(self, method: str, path: str) -> Rules:
        """Give what holds for this request: the first route that matches, else the upstream's."""
        policy, retry = next(
            (policy, retry) for match, policy, retry in self._routes if serves(match, method, path)
        )
        reads = PROVIDERS[self._settings.provider].reads
        return Rules(
            origin=self._origin,
            timeouts=policy.timeouts,
            retry=retry,
            may_repeat=may_repeat(method, path, reads, policy.retry.unsafe_methods),
            breaker=self._breaker,
            budget=self._budget,
            clock=_now,
            wall=time.time,
        )


def _now() -> float:
    return asyncio.get_running_loop().time()
