"""Where values came from."""

import pytest

from proxy.config.origin import BUILT_IN, Origin, Origins

TEXT = """\
defaults:
  timeouts: {total: 40s, idle: 10s}
  retry:
    budget: {ratio: 0.1}
upstreams:
  x:
    kind: llm
    url: http://a
    retry: {max_retries: 1, base_delay: null}
    timeouts:
      idle: 5s
    fallback: [{upstream: y}]
    routes:
    - match: {path: /v1}
      timeouts: {total: 5s}
  y: {url: "http://b"}
"""


@pytest.fixture
def origins(tmp_path):
    path = tmp_path / "proxy.yaml"
    path.write_text(TEXT)
    return Origins(path)


@pytest.mark.parametrize(
    ("steps", "origin"),
    [
        (("kind",), Origin("upstream", 7)),
        (("url",), Origin("upstream", 8)),
        (("policy", "timeouts", "total"), Origin("defaults", 2)),
        (("policy", "timeouts", "idle"), Origin("upstream", 11)),
        (("policy", "timeouts", "connect"), BUILT_IN),
        (("policy", "timeouts", "first_byte"), BUILT_IN),
        (("policy", "retry", "max_retries"), Origin("upstream", 9)),
        (("policy", "retry", "base_delay"), BUILT_IN),
        (("budget", "ratio"), Origin("defaults", 4)),
        (("breaker", "timeout"), BUILT_IN),
        (("fallback", 0, "upstream"), Origin("upstream", 12)),
        (("routes", 0, "policy", "timeouts", "total"), Origin("route", 15)),
        (("routes", 0, "policy", "timeouts", "idle"), Origin("upstream", 11)),
        (("routes", 0, "policy", "retry", "max_retries"), Origin("upstream", 9)),
        (("url", "deeper"), BUILT_IN),
    ],
)
def test_a_value_has_the_layer_and_the_line_that_set_it(origins, steps, origin):
    assert origins.of(("upstreams", "x", *steps)) == origin


def test_what_an_upstream_does_not_say_comes_from_defaults(origins):
    assert origins.of(("upstreams", "y", "policy", "timeouts", "idle")) == Origin("defaults", 2)
