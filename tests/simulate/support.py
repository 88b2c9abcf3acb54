"""Configs and scenarios that are quickly over."""

from proxy.config import schema
from proxy.config.load import parse
from proxy.simulate import scenario
from proxy.simulate.scenario import Scenario

CONFIG = """
version: 1
upstreams:
  up:
    kind: llm
    provider: openai
    url: "${UP:-http://127.0.0.1:9}"
"""


def config(more: str = "", url: str = "") -> schema.Config:
    """Give a config with one upstream, `up`; *more* are further keys of it, one a line."""
    lines = "".join(f"    {line}\n" for line in more.strip().splitlines())
    return parse(CONFIG + lines, "test.yaml", {"UP": url} if url else {})


def told(text: str) -> Scenario:
    return scenario.parse(text, "scenario.yaml")
