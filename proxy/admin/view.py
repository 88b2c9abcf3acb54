"""What there is to see, as JSON: the one place that page, API and live stream read from.

Rule 1: whatever is told of a circuit is told once, in `View.breaker`; so page, API and metrics can
not disagree about its state, since when, why, and when next.
Rule 2: to look changes nothing. Rule 3: no header, query, body or credential has a way in here;
text that others wrote comes scrubbed.
Times are UTC in ISO 8601, as in the log, unless a name says seconds.
"""

import asyncio
import math
import platform
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

from proxy import __version__
from proxy.admin.masked import masked
from proxy.config import schema
from proxy.observe.counting import UpstreamMetrics
from proxy.observe.history import STEP, Acted, Changed, Failed, History, Moved, Step, total
from proxy.observe.metrics import BreakerReading, Metrics
from proxy.observe.scrub import scrub
from proxy.policy.breaker import Breaker
from proxy.policy.budget import RetryBudget
from proxy.policy.transitions import Reason, State

Json = dict[str, Any]


class Upstream(Protocol):
    """What is looked at of an upstream that is alive."""

    @property
    def settings(self) -> schema.Upstream: ...
    @property
    def breaker(self) -> Breaker: ...
    @property
    def budget(self) -> RetryBudget: ...
    @property
    def metrics(self) -> UpstreamMetrics: ...


class Runtime(Protocol):
    """What is looked at of the config that is in force."""

    @property
    def config(self) -> schema.Config: ...
    @property
    def upstreams(self) -> Mapping[str, Upstream]: ...
    def breakers(self) -> Iterable[BreakerReading]: ...


class View:
    """What an operator can see of the *runtime* of the moment, and of its recent past."""

    def __init__(self, runtime: Callable[[], Runtime], history: History, metrics: Metrics) -> None:
        self._runtime = runtime
        self._metrics = metrics
        self._figures: dict[str, Figures] = {}
        self.history = history

    def find(self, name: str) -> Upstream | None:
        """Give the upstream of this name."""
        return self._runtime().upstreams.get(name)

    def version(self) -> Json:
        """Tell what is running, and since when."""
        return {
            "version": __version__,
            "python": platform.python_version(),
            "started": written(self.history.started),
        }

    def now(self) -> str:
        """Tell the time that all others here are to be compared with."""
        return written(self.history.wall())

    def config(self) -> Json:
        """Give the config in force, without its secrets."""
        return masked(self._runtime().config)

    # Upstreams and pools

    def upstreams(self) -> list[Json]:
        """Tell of every upstream how it is doing, in the order of the config."""
        return [self._upstream(reading) for reading in self._runtime().breakers()]

    def upstream(self, name: str) -> Json | None:
        """Tell the same of one, and its figures of the last five minutes."""
        for reading in self._runtime().breakers():
            if reading.upstream == name:
                return {**self._upstream(reading), "series": self._of(name).series}
        return None

    def pools(self) -> list[Json]:
        """Tell of every pool what was asked of it; how its members do is theirs."""
        return [
            {"name": name, "members": list(pool.members), **self._doing(name)}
            for name, pool in self._runtime().config.pools.items()
        ]

    def series(self) -> dict[str, Json]:
        """Give the figures of the last five minutes of every upstream and pool."""
        config = self._runtime().config
        return {name: self._of(name).series for name in (*config.upstreams, *config.pools)}

    async def watch(self) -> None:
        """Keep the figures growing, until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(self.history.until_next_look())

    def look(self) -> None:
        """Let the figures grow by what has happened since the last look."""
        runtime = self._runtime()
        ratios = {reading.upstream: reading.failure_ratio for reading in runtime.breakers()}
        self.history.look(ratios | dict.fromkeys(runtime.config.pools, 0.0))
        self._figures.clear()

    def _upstream(self, reading: BreakerReading) -> Json:
        upstream = self._runtime().upstreams[reading.upstream]
        return {
            "name": reading.upstream,
            "kind": upstream.settings.kind,
            "provider": upstream.settings.provider,
            "url": str(upstream.settings.url),
            "breaker": self._breaker(reading),
            "retries_left": math.floor(upstream.budget.left),
            **self._doing(reading.upstream),
        }

    def _doing(self, name: str) -> Json:
        return {
            "in_flight": self._metrics.upstream(name).in_flight.count,
            "last_5_minutes": self._of(name).whole,
            "last_failures": [_failed(one) for one in self.history.last_failures(name)],
        }

    def _of(self, name: str) -> "Figures":
        """Give the figures of a name; they are worked out once after each look, if at all."""
        if name not in self._figures:
            self._figures[name] = Figures.of(self.history.series(name))
        return self._figures[name]

    # Breakers

    def breakers(self) -> list[Json]:
        """Tell of every circuit where it stands."""
        return [self._breaker(reading) for reading in self._runtime().breakers()]

    def breaker(self, name: str) -> Json | None:
        """Tell of one circuit where it stands."""
        return next((one for one in self.breakers() if one["upstream"] == name), None)

    def _breaker(self, reading: BreakerReading) -> Json:
        name = reading.upstream
        upstream = self._runtime().upstreams[name]
        since, reason = self._since(reading)
        return {
            "upstream": name,
            "state": reading.state,
            "since": since and written(since),
            "reason": reason,
            "next_probe": _moment(reading.open_until),
            "failure_ratio": round(reading.failure_ratio, 3),
            "held": self._held(name, upstream.breaker),
            "mode": upstream.breaker.mode,
            "mode_set": self._mode_set(name, upstream),
        }

    def _since(self, reading: BreakerReading) -> tuple[float | None, str | None]:
        """Tell since when it is as it is, and why; None where it has never been otherwise."""
        last = self.history.last_move(reading.upstream)
        if last is None:
            return None, None
        if last.to_state == reading.state:
            return last.at, last.reason
        if (last.to_state, reading.state) == (State.OPEN, State.HALF_OPEN):
            # No call has come yet that would make it move: its time is simply over, or that of who
            # has since forced it open where it was open already.
            said = self._said(
                reading.upstream,
                lambda acted: acted.action == "force-open" and acted.at >= last.at,
            )
            return (said and said.until) or last.at + last.open_for, Reason.TIMEOUT_ELAPSED
        return None, None  # that was another circuit: the url has changed since

    def _held(self, name: str, breaker: Breaker) -> Json | None:
        hold = breaker.held
        if hold is None:
            return None
        said = self._said(name, lambda acted: acted.hold == hold)
        return {"state": hold.state, **_by(said)}

    def _mode_set(self, name: str, upstream: Upstream) -> Json | None:
        mode = upstream.breaker.mode
        if mode == upstream.settings.breaker.mode:
            return None
        return _by(self._said(name, lambda acted: acted.mode == mode))

    def _said(self, name: str, fits: Callable[[Acted], bool]) -> Acted | None:
        """Find the operator's latest word on this circuit that fits."""
        words = reversed(self.history.actions)
        return next((acted for acted in words if acted.upstream == name and fits(acted)), None)

    # What happened

    def transitions(self) -> list[Json]:
        """Give the last moves of all circuits, the newest first."""
        return [_moved(move) for move in reversed(self.history.moves)]

    def failures(self) -> list[Json]:
        """Give the last requests that failed, the newest first; not those that were turned away."""
        return [_failed(one) for one in reversed(self.history.failures)]

    def timeline(self) -> list[Json]:
        """Give moves, config changes and operators' words together, the newest first."""
        history = self.history
        told = [{"kind": "started", "at": written(history.started)}]
        told += [{"kind": "moved", **_moved(move)} for move in history.moves]
        told += [{"kind": "config", **_changed(change)} for change in history.changes]
        told += [{"kind": "action", **acted(action)} for action in history.actions]
        # Of what happened in one millisecond, the cause was noted first.
        return sorted(told, key=lambda one: str(one["at"]))[::-1]


class Figures(NamedTuple):
    """The last five minutes of one upstream or pool: as a whole, and step by step."""

    whole: Json
    series: Json

    @classmethod
    def of(cls, steps: list[Step]) -> "Figures":
        whole = total(steps)
        return cls(
            {
                "served": whole.served,
                "failed": whole.failed,
                "attempts": whole.attempts,
                "p50_seconds": _rounded(whole.quantile(0.5)),
                "p95_seconds": _rounded(whole.quantile(0.95)),
            },
            {
                "step_seconds": STEP,
                "served": [step.served for step in steps],
                "failed": [step.failed for step in steps],
                "attempts": [step.attempts for step in steps],
                "failure_ratio": [round(step.failure_ratio, 3) for step in steps],
                "p50_seconds": [_rounded(step.quantile(0.5)) for step in steps],
                "p95_seconds": [_rounded(step.quantile(0.95)) for step in steps],
            },
        )


def written(at: float) -> str:
    """Write a Unix time as the log does, to the millisecond."""
    text = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"


def acted(action: Acted) -> Json:
    """Tell what an operator has done."""
    return {
        "at": written(action.at),
        "upstream": action.upstream,
        "action": action.action,
        "mode": action.mode,
        "by": action.by,
        "reason": action.why,
        "until": action.until and written(action.until),
    }


def _by(said: Acted | None) -> Json:
    """Tell who said it, why, and how long it holds; all None where that is no longer known."""
    if said is None:
        return dict.fromkeys(("by", "reason", "at", "until"))
    told = acted(said)
    return {key: told[key] for key in ("by", "reason", "at", "until")}


def _moved(move: Moved) -> Json:
    return {
        "at": written(move.at),
        "upstream": move.upstream,
        "from_state": move.from_state,
        "to_state": move.to_state,
        "reason": move.reason,
        # JSON knows no infinity: None is until released.
        "open_seconds": move.open_for if math.isfinite(move.open_for) else None,
    }


def _changed(change: Changed) -> Json:
    return {"at": written(change.at), "result": change.result, "problems": list(change.about)}


def _failed(failed: Failed) -> Json:
    return {
        "at": written(failed.at),
        "upstream": failed.upstream,
        "request_id": failed.request_id,
        "method": failed.method,
        "status": failed.status,
        "code": failed.code,
        "message": scrub(failed.message),
        "attempts": failed.attempts,
        "duration_seconds": _rounded(failed.seconds),
    }


def _moment(at: float) -> str | None:
    return written(at) if at and math.isfinite(at) else None


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)
