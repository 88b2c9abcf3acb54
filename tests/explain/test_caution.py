"""What works otherwise than somebody might think."""

import pytest
from explain.explaining import explained

from proxy.config.load import parse
from proxy.explain.caution import target_cautions

HTTP = "upstreams:\n  x:\n    url: http://a\n    {}\n"
LLM = "upstreams:\n  x:\n    url: http://a\n    kind: llm\n    {}\n"


def warned(tmp_path, text):
    return [(one.line, one.path, one.message) for one in explained(tmp_path, text).warnings]


@pytest.mark.parametrize("kind", ["llm", "vectordb", "http"])
def test_the_built_in_values_need_no_warning(tmp_path, kind):
    assert warned(tmp_path, f"upstreams: {{x: {{kind: {kind}, url: 'http://a'}}}}") == []


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        (
            HTTP.format("timeouts: {total: 3s, first_byte: none}"),
            "timeouts.total",
            "(3s) is not longer than one attempt: connect alone may take 5s",
        ),
        (
            HTTP.format("timeouts: {total: 5s}"),
            "timeouts.total",
            "(5s) is not longer than one attempt: connect alone may take 5s",
        ),
        (
            HTTP.format("timeouts: {total: 32s}"),
            "timeouts.total",
            "(32s) is shorter than one attempt: connect and first_byte may take 35s",
        ),
        (
            HTTP.format("timeouts: {first_byte: 2m}"),
            "timeouts.first_byte",
            "(2m) never ends a call: total (1m) is over by then",
        ),
        (
            HTTP.format("retry: {max_retries: 9}"),
            "retry.max_retries",
            "(9) allows retries that can never fit: of total (1m) the waits before retry 7 leave",
        ),
        (
            HTTP.format(
                "timeouts: {first_byte: 50s}\n    retry: {base_delay: 30s, retry_on: [timeout]}"
            ),
            "retry.retry_on",
            "has timeout, after which a retry can never fit: first_byte and the wait take 1m5s",
        ),
        (
            HTTP.format("retry: {unsafe_methods: always}"),
            "retry.unsafe_methods",
            "repeats every POST and PATCH",
        ),
        (
            HTTP.format("hedge: {delay: 30s}"),
            "hedge.delay",
            "(30s) never comes: first_byte (30s) is over by then",
        ),
        (
            HTTP.format("hedge: {delay: 2m}\n    timeouts: {first_byte: none}"),
            "hedge.delay",
            "(2m) never comes: total (1m) is over by then",
        ),
        (LLM.format("timeouts: {total: 10m}"), "timeouts.total", "is not below 10m"),
        (LLM.format("timeouts: {total: none}"), "timeouts.total", "is not below 10m"),
        (
            HTTP.format("breaker: {failure_on: []}"),
            "breaker.failure_on",
            "is empty: the circuit never opens",
        ),
        (
            HTTP.format("breaker: {window: 1s, min_requests: 30000}"),
            "breaker.min_requests",
            "can never be reached: it takes 30,000 calls a second",
        ),
        (
            HTTP.format("limits: {connections: 4}\n    breaker: {window: 60s}"),
            "breaker.min_requests",
            "can never be reached while the upstream hangs: at most 8 calls end within window",
        ),
    ],
)
def test_what_contradicts_its_purpose_is_told_with_its_place(tmp_path, text, path, words):
    found = [one for one in warned(tmp_path, text) if one[1] == f"upstreams.x.{path}"]

    assert [one[2] for one in found if words in one[2]] != []


def test_a_warning_has_the_line_that_set_the_value_and_a_built_in_one_has_none(tmp_path):
    (first,) = warned(tmp_path, HTTP.format("retry: {max_retries: 9}"))
    (second,) = warned(tmp_path, HTTP.format("limits: {connections: 4}"))

    assert (first[0], second[0]) == (4, None)


@pytest.mark.parametrize(
    "keys",
    [
        "retry: {unsafe_methods: always, max_retries: 0}",
        "breaker: {mode: disabled, failure_on: []}",
        "timeouts: {total: none}",
        "timeouts: {total: none, first_byte: none}",
        "hedge: {delay: 29s}",
    ],
)
def test_what_does_no_harm_is_not_told(tmp_path, keys):
    assert warned(tmp_path, HTTP.format(keys)) == []


def test_a_timeout_that_leaves_room_for_a_retry_is_no_warning(tmp_path):
    assert warned(tmp_path, HTTP.format("retry: {retry_on: [timeout]}")) == []


def test_a_route_is_told_only_what_its_upstream_was_not(tmp_path):
    text = HTTP.format(
        "retry: {unsafe_methods: always}\n    routes:\n"
        "    - match: {path: /a}\n      timeouts: {total: 2s}\n    - match: {path: /b}"
    )

    paths = [path for _, path, _ in warned(tmp_path, text)]

    assert paths.count("upstreams.x.retry.unsafe_methods") == 1
    assert "upstreams.x.routes[0].timeouts.total" in paths
    assert [path for path in paths if "routes[1]" in path] == []


FALLBACK = """
upstreams:
  a:
    url: "https://a"
    {}
    fallback: [{{upstream: b, {}}}]
  b: {{url: "{}"}}
"""
AUTH = "auth: {header: x-api-key, value: sk-x}"


def test_a_fallback_that_wants_a_key_and_gets_none_is_told(tmp_path):
    (told,) = warned(tmp_path, FALLBACK.format(AUTH, "set: {}", "https://b"))

    assert told[:2] == (6, "upstreams.a.fallback[0]")
    assert told[2].startswith("gets no credential")


@pytest.mark.parametrize(
    ("auth", "keys", "url"),
    [
        ("kind: http", "set: {}", "https://b"),
        (AUTH, "forward_credentials: true", "https://b"),
        (AUTH, "set: {}", "http://b"),
        (AUTH, "set: {}", 'https://b", headers: {set: {x-api-key: sk-y}}, kind: "http'),
        (AUTH, "set: {}", 'https://b", auth: {header: x-api-key, value: sk-y}, kind: "http'),
    ],
)
def test_a_fallback_that_has_a_key_or_needs_none_is_not_told(tmp_path, auth, keys, url):
    assert warned(tmp_path, FALLBACK.format(auth, keys, url)) == []


def test_a_fallback_whose_name_is_not_known_yet_is_not_told():
    text = f"upstreams: {{a: {{url: 'https://a', {AUTH}, fallback: [{{upstream: '${{X}}'}}]}}}}"
    config = parse(text, "f", None)

    assert list(target_cautions(config.upstreams["a"], config)) == []


def test_what_check_warns_of_is_told_too_and_of_one_upstream_only_its_own(tmp_path):
    text = """
admin: {host: 0.0.0.0}
upstreams:
  a: {url: "http://a"}
"""
    everything = explained(tmp_path, text)
    one = explained(tmp_path, text, "a")

    assert [warning.path for warning in everything.warnings] == ["admin.host"]
    assert one.warnings == ()
