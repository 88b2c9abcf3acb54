"""What is switched off though it is written, and what one guard keeps back and another does not."""

import pytest

from proxy.config.load import parse


def warned(text, env=()):
    found = parse(text, "f", None if env is None else dict(env))
    return [(one.line, one.path, one.message) for one in found.warnings]


def places(text):
    return [path for _, path, _ in warned(text)]


def upstream(keys, defaults="{}"):
    """A file of one upstream, whose keys begin in its third line."""
    return f"defaults: {defaults}\nupstreams:\n  u: {{url: 'http://h', {keys}}}"


# What is written, and off


@pytest.mark.parametrize(
    ("keys", "path", "words"),
    [
        ("cache: {stale_if_error: 1h}", "cache.ttl", "so no answer is kept"),
        ("cache: {}", "cache.ttl", "so no answer is kept"),
        ("hedge: {max: 2}", "hedge.delay", "so no second attempt is made"),
        ("guard: {patterns: [email]}", "guard.pii", "so nothing is guarded"),
        (
            "routes: [{match: {path: /x}, cache: {shared: true}}]",
            "routes[0].cache.ttl",
            "so no answer is kept",
        ),
    ],
)
def test_a_block_without_the_key_that_switches_it_on_is_told_once(keys, path, words):
    [(line, where, message)] = warned(upstream(keys))

    assert (line, where) == (3, f"upstreams.u.{path}")
    assert words in message


@pytest.mark.parametrize(
    "keys",
    [
        "kind: llm",
        "cache: {ttl: none, shared: true}",
        "cache: {ttl: 5m}",
        "cache: null",
        "hedge: {delay: none, max: 2}",
        "guard: {pii: none, patterns: [email]}",
        "guard: {max_prompt_chars: 9, fields: [x]}",
        "cache: {shared: true}, routes: [{match: {path: /x}, cache: {ttl: 5m}}, {match: {}}]",
    ],
)
def test_a_block_that_is_on_or_said_to_be_off_is_not_told(keys):
    assert warned(upstream(keys)) == []


def test_what_defaults_say_waits_for_an_upstream_that_switches_it_on():
    defaults = "{cache: {redis: 'redis://h'}}"

    assert places(upstream("kind: llm", defaults)) == ["defaults.cache.ttl"]
    assert places(upstream("cache: {ttl: 5m}", defaults)) == []
    assert places(upstream("routes: [{match: {}, cache: {ttl: 5m}}]", defaults)) == []


def test_what_comes_from_defaults_alone_is_not_told_of_each_upstream():
    text = upstream("cache: {ttl: 5m}", "{cache: {shared: true}}") + "\n  v: {url: 'http://v'}"

    assert warned(text) == []


def test_a_key_that_repeats_what_defaults_say_is_not_new():
    text = upstream("cache: {shared: true}", "{cache: {shared: true}}")

    assert places(text) == ["defaults.cache.ttl"]


def test_a_switch_that_a_variable_turns_is_believed():
    assert warned(upstream("cache: {ttl: '${X}', shared: true}"), env=None) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [("batch:", ["batch"]), ("batch: {}", []), ("batch: null", []), ("batch: ~", []), ("", [])],
)
def test_a_batch_that_was_left_empty_is_told_how_it_is_written(text, told):
    assert places(f"{text}\nupstreams: {{}}") == told


# What one guard keeps back, and another does not


def fallback(guard, other, extra=""):
    return (
        f"upstreams:\n  a: {{url: 'http://a', {guard},\n    fallback: [{{upstream: b{extra}}}]}}\n"
        f"  b: {{url: 'http://b', {other}}}"
    )


@pytest.mark.parametrize("pii", ["redact", "block"])
def test_a_fallback_that_lets_out_what_is_kept_back_is_told(pii):
    [(line, path, message)] = warned(fallback(f"guard: {{pii: {pii}}}", "kind: http"))

    assert (line, path) == (3, "upstreams.a.fallback[0].upstream")
    assert message.startswith("PII that a keeps back goes out through b, whose guard has pii: none")


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ("{pii: report}", "has pii: report"),
        ("{pii: block, patterns: [email, ip]}", "lacks api_key, credit_card, iban, phone, us_ssn"),
        ("{pii: block, fields: [messages, input]}", "lacks prompt in fields"),
        ("{pii: block, phone_regions: [DE]}", "lacks US in phone_regions"),
        ("{pii: block, oversize: pass}", "passes what is too large"),
    ],
)
def test_a_guard_that_sees_less_is_told_with_what_it_lacks(other, reason):
    [(_, _, message)] = warned(fallback("guard: {pii: redact}", f"guard: {other}"))

    assert f"through b, whose guard {reason}" in message


@pytest.mark.parametrize(
    ("guard", "other"),
    [
        ("{pii: redact}", "{pii: block}"),
        ("{pii: redact}", "{pii: none}"),
        ("{pii: report}", "{pii: none, patterns: [ip]}"),
        ("{max_prompt_chars: 9}", "{pii: report}"),
        ("{pii: block, patterns: [email]}", "{pii: block, patterns: [email, ip]}"),
        ("{pii: block, patterns: [ip]}", "{pii: block, patterns: [ip], phone_regions: [DE]}"),
        ("{pii: block, oversize: pass}", "{pii: block}"),
    ],
)
def test_a_guard_that_keeps_back_as_much_or_is_said_to_be_none_is_not_told(guard, other):
    assert warned(fallback(f"guard: {guard}", f"guard: {other}")) == []


def test_guards_in_defaults_are_the_same_for_all():
    assert warned("defaults: {guard: {pii: block}}\n" + fallback("kind: http", "kind: http")) == []


def test_a_route_is_compared_with_what_its_requests_meet_there():
    route = "routes: [{{match: {{path: {}, methods: [POST]}}, guard: {{pii: {}}}}}]"
    guarded = route.format("/v1/chat", "block")

    assert len(warned(fallback(guarded, "kind: http"))) == 1
    assert warned(fallback(guarded, route.format("/v1", "redact"))) == []
    assert len(warned(fallback(guarded, route.format("/v1/files", "redact")))) == 1
    assert len(warned(fallback("guard: {pii: block}", guarded))) == 1
    assert len(warned(fallback("guard: {pii: block}", f"{guarded}, guard: {{pii: redact}}"))) == 0
    assert len(warned(fallback("guard: {pii: block}", route.format("/v1", "report")))) == 1


def test_a_fallback_at_another_path_meets_the_guard_of_that_path():
    other = "routes: [{match: {path: /safe}, guard: {pii: block}}]"

    assert warned(fallback("guard: {pii: block}", other, ", path: /safe")) == []
    assert len(warned(fallback("guard: {pii: block}", other, ", path: /other"))) == 1


def test_members_of_a_pool_are_told_of_where_another_is_guarded():
    text = """
upstreams:
  a: {url: "http://a", guard: {pii: block}}
  b: {url: "http://b"}
  c: {url: "http://c", guard: {pii: none}}
  d: {url: "http://c", guard: {pii: redact}}
pools:
  p: {members: [b, a, c, d]}
  q: {members: [a, d]}
"""
    [(line, path, message)] = warned(text)

    assert (line, path) == (8, "pools.p.members[0]")
    assert "PII that a keeps back goes out through b" in message


def test_upstreams_that_a_variable_names_are_no_leak():
    text = """
upstreams:
  a: {url: "http://a", guard: {pii: block}, fallback: [{upstream: "${X}"}]}
pools: {p: {members: [a, "${X}"]}}
"""
    assert warned(text, env=None) == []
