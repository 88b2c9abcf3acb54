"""What calls are held to before they are made, as a person is told of it."""

import dataclasses
import json

import pytest
from explain.explaining import explained

from proxy.explain.drawing import WIDTH, draw

TEXT = """\
upstreams:
  plain: {url: "http://a"}
  held:
    url: "http://b"
    limits:
      rate: {limit: 100, window: 60s, burst: 20, by: caller}
      concurrency: 4
      queue: {size: 50, timeout: 30s}
      throttle: false
    cache:
      ttl: 5m
      stale_if_error: 1h
      match: [{path: /v1/models}, {path: /v1/embeddings, methods: [POST]}]
      redis: redis://:planted@cache/0
    guard: {pii: redact, patterns: [phone, email], max_prompt_chars: 400000}
    routes:
    - match: {path: /own}
      cache: {shared: true, redis: null, stale_if_error: 0s, match: null, methods: [GET, POST]}
      guard: {pii: none, oversize: pass}
    - match: {path: /same}
      timeouts: {total: 50s}
    - match: {path: /off}
      cache: {ttl: none}
      guard: {pii: none, max_prompt_chars: null}
  strict: {url: "http://c", limits: {rate: {limit: 2, window: 1s}, concurrency: 1}, guard: {pii: report}}
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return explained(tmp_path_factory.mktemp("explained"), TEXT)


@pytest.fixture(scope="module")
def told(report):
    """Give what is told of each upstream, by its name, and of each route by its path."""
    drawn = draw(report)
    assert max(map(len, drawn.splitlines())) <= WIDTH
    parts = {}
    name = ""
    for line in drawn.splitlines():
        if line and not line.startswith((" ", "─")):
            name = line.split()[0]
        elif line.startswith("  route "):
            name = line.split()[-1]
        parts[name] = f"{parts.get(name, '')} {line}"
    return {name: " ".join(part.split()) for name, part in parts.items()}


def test_limits_are_told_by_what_one_can_expect_of_them(told):
    held = told["held"]

    assert "rate at most 120 calls of each caller in any 1m: 20 at once after a quiet time, then one each 600ms" in held  # fmt: skip
    assert "concurrency 4 attempts at a time: as many a second, where each takes a second" in held
    assert "line 50 more wait, 30s at most; the last of a full line is served where an attempt takes 2s400ms or less" in held  # fmt: skip
    assert "after a 429 not heeded by other calls (throttle: false)" in held


def test_without_a_burst_or_a_line_that_is_said(told):
    assert "at most 4 calls of all callers together in any 1s: 2 at once" in told["strict"]
    assert "line none: who finds no place is turned away at once" in told["strict"]


def test_a_cache_is_told_by_what_it_keeps_for_how_long_and_for_whom(told):
    assert "cache GET /v1/models; POST /v1/embeddings for 5m, or less where the upstream says so, and 1h more while it fails; apart for each credential in 256MiB of memory, and in a Redis that is waited for 50ms at most" in told["held"]  # fmt: skip
    assert "cache GET, POST every path for 5m, or less where the upstream says so; the same for everybody in 256MiB of memory" in told["/own"]  # fmt: skip


def test_a_guard_is_told_by_what_it_looks_for_and_what_becomes_of_it(told):
    held, own = told["held"], told["/own"]

    assert "guard email, phone in messages, input, prompt go out as marks" in held
    assert "prompt at most 400,000 characters in messages, input, prompt" in held
    assert "bodies must be JSON; above 1MiB, or compressed, they are refused" in held
    assert "they are passed unseen" in own
    assert " guard email" not in own


def test_what_is_off_or_the_same_is_not_told(told):
    plain = told["plain"]

    assert "Before it is asked after a 429 calls with that credential leave it alone, as long as it says and 1m at most Its circuit" in plain  # fmt: skip
    for path in ("/same", "/off"):
        assert "of memory" not in told[path]
        assert "must be JSON" not in told[path]


def test_no_address_of_a_store_is_told(report):
    assert "planted" not in draw(report) + json.dumps(dataclasses.asdict(report))


@pytest.mark.parametrize(
    ("settings", "path", "words"),
    [
        (
            "timeouts: {total: 9s, first_byte: 1s}, retry: {max_retries: 0}, limits: {concurrency: 1, queue: {timeout: 10s}}",
            "limits.queue.timeout",
            "(10s) never ends a wait: total (9s) is over by then",
        ),
        (
            "guard: {pii: block}, replay_limit: 64KiB",
            "guard.inspect_limit",
            "(1MiB) is above replay_limit (64KiB): what is between cannot be looked into",
        ),
        (
            "routes: [{match: {path: /x}, guard: {pii: block, inspect_limit: 2MiB}}]",
            "routes[0].guard.inspect_limit",
            "(2MiB) is above replay_limit (1MiB): what is between cannot be looked into",
        ),
    ],
)
def test_what_contradicts_its_purpose_is_told(tmp_path, settings, path, words):
    warnings = explained(tmp_path, f"upstreams: {{x: {{url: 'http://a', {settings}}}}}").warnings

    assert [(one.path, one.message) for one in warnings] == [(f"upstreams.x.{path}", words)]
