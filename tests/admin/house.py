"""Upstreams with their circuits, and nothing behind them, for what looks at them and steers them."""

from dataclasses import dataclass

from proxy import errors
from proxy.admin.server import Admin
from proxy.admin.view import View
from proxy.config import schema
from proxy.config.listening import AdminListener
from proxy.config.load import parse
from proxy.observe.counting import UpstreamMetrics
from proxy.observe.history import STEP, History
from proxy.observe.metrics import BreakerReading, Metrics
from proxy.policy.breaker import Breaker
from proxy.policy.budget import RetryBudget
from proxy.testing.clock import Clock

CONFIG = """
version: 1
defaults: {breaker: {failure_threshold: 1, timeout: 30s}}
upstreams:
  openai: {kind: llm, provider: openai, url: "https://api.openai.com/base"}
  qdrant: {kind: vectordb, provider: qdrant, url: "http://127.0.0.1:6333"}
pools:
  chat: {members: [openai]}
"""

FAILED = errors.NetworkError("refused", condition="connect")


@dataclass
class Upstream:
    settings: schema.Upstream
    breaker: Breaker
    budget: RetryBudget
    metrics: UpstreamMetrics


class House:
    """A runtime as `View` wants it, whose clocks stand still until told."""

    def __init__(self, text=CONFIG, clock=None):
        self.clock = clock or Clock()
        self.wall = Clock(1_700_000_000.0)
        self.metrics = Metrics()
        self.history = History(self.metrics, self.clock, self.wall)
        self.config = parse(text, "test.yaml", {})
        self.upstreams = {name: self._upstream(one) for name, one in self.config.upstreams.items()}
        self.view = View(lambda: self, self.history, self.metrics)
        self.ready = True

    def _upstream(self, settings):
        tell = self.history.moved
        return Upstream(
            settings,
            Breaker(settings.name, settings.breaker, self.clock, tell),
            RetryBudget(settings.budget, self.clock),
            self.metrics.upstream(settings.name),
        )

    def breakers(self):
        for name, upstream in self.upstreams.items():
            breaker, until = upstream.breaker, upstream.breaker.open_until
            at = until - self.clock() + self.wall() if until else 0.0
            yield BreakerReading(name, breaker.state, breaker.failure_ratio, at)

    def breaker(self, name="openai"):
        return self.upstreams[name].breaker

    def pass_time(self, seconds):
        self.clock.advance(seconds)
        self.wall.advance(seconds)

    def trip(self, name="openai"):
        try:
            with self.breaker(name).admit():
                raise FAILED
        except errors.NetworkError:
            pass

    def answer(self, name="openai", *, code="", seconds=0.02):
        status = 502 if code else 200
        self.metrics.upstream(name).completed("GET", status, code, seconds, 0.0, attempts=1)
        self.metrics.upstream(name).attempt("status_5xx" if code else "success")

    def fail(self, error=FAILED, name="openai"):
        self.answer(name, code=error.error_code)
        self.history.failed(
            name, error, request_id="r1", method="POST", status=502, attempts=4, seconds=0.5
        )

    def step(self):
        """Let the figures of this moment be over."""
        self.pass_time(STEP)
        self.view.look()

    def admin(self, **settings):
        listener = AdminListener(**{"port": 0, **settings})
        return Admin(listener, self.metrics, lambda: self.ready, None, self.view)
