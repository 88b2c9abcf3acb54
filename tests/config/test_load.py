from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.config import layers
from proxy.config.fields import When
from proxy.config.listening import DataListener
from proxy.config.load import load, parse
from proxy.config.problem import ConfigError
from proxy.config.schema import (
    Breaker,
    Budget,
    Config,
    Fallback,
    Policy,
    Pool,
    Retry,
    RouteMatch,
    Timeouts,
)

REPOSITORY = Path(__file__).parent.parent.parent


def config(text, env=None):
    return parse(text, "f", {} if env is None else env)


def upstream(text="", env=None, *, defaults=""):
    """The one upstream of a file; *text* is its block beside url."""
    rest = f", {text}" if text else ""
    head = f"defaults: {{{defaults}}}\n" if defaults else ""
    return config(f"{head}upstreams: {{u: {{url: 'http://h'{rest}}}}}", env).upstreams["u"]


def problems(text, env=None):
    with pytest.raises(ConfigError) as refused:
        config(text, env)
    return [str(problem) for problem in refused.value.problems]


def wrong(text, *, defaults=""):
    """What is told of the block of one upstream, without file and position."""
    with pytest.raises(ConfigError) as refused:
        upstream(text, defaults=defaults)
    return [
        f"{it.path.removeprefix('upstreams.u.')}: {it.message}" for it in refused.value.problems
    ]


# The example


def test_the_shipped_example_checks_without_environment():
    found = load(REPOSITORY / "config" / "proxy.yaml", env=None)

    assert found.warnings == ()
    assert found.upstreams["openai"].routes[0].policy.timeouts.total == 20
    assert found.upstreams["qdrant"].listen.port == 6334


def test_the_shipped_example_runs_with_its_keys():
    found = load(REPOSITORY / "config" / "proxy.yaml", env={"OPENAI_API_KEY": "sk-canary"})

    assert found.upstreams["openai"].auth.value.get_secret_value() == "Bearer sk-canary"
    assert found.admin.token is None
    assert "canary" not in repr(found) + str(found)


def test_the_shipped_example_says_which_key_is_missing():
    with pytest.raises(ConfigError, match=r"openai\.auth\.value: \$\{OPENAI_API_KEY\} is not set"):
        load(REPOSITORY / "config" / "proxy.yaml", env={})


# Precedence


def test_built_in_values_are_those_of_the_kind():
    llm, vectordb, http = (upstream(f"kind: {kind}") for kind in ("llm", "vectordb", "http"))

    assert upstream() == http
    assert http.policy == Policy()
    assert (http.breaker, http.budget) == (Breaker(), Budget())
    assert llm.policy.timeouts == Timeouts(first_byte=None, idle=300, total=570)
    assert vectordb.policy.timeouts == Timeouts(connect=2, first_byte=15)
    assert llm.policy.retry == Retry(unsafe_methods="always")
    assert vectordb.policy.retry == Retry(fallback_wait=1)
    assert [it.replay_limit for it in (llm, vectordb, http)] == [8 << 20, 8 << 20, 1 << 20]


def test_the_nearest_value_wins_key_by_key():
    found = upstream(
        "kind: llm, timeouts: {idle: 2s}, retry: {max_retries: 2, budget: {ratio: 1}}, routes:"
        " [{match: {path: /a}, timeouts: {idle: 3s}, retry: {retry_on: [503]}}, {match: {path: /b}}]",
        defaults="timeouts: {idle: 1s, connect: 1s}, retry: {max_retries: 1, jitter: false,"
        " budget: {min_per_second: 9}}, breaker: {window: 5s}, rewrite_client_errors: false",
    )
    near, far = (route.policy for route in found.routes)

    assert found.policy.timeouts == Timeouts(connect=1, first_byte=None, idle=2, total=570)
    assert near.timeouts == Timeouts(connect=1, first_byte=None, idle=3, total=570)
    assert near.retry == Retry(max_retries=2, jitter=False, unsafe_methods="always", retry_on=[503])
    assert far == found.policy
    assert found.policy.rewrite_client_errors is False
    assert found.budget == Budget(ratio=1, min_per_second=9)
    assert found.breaker == Breaker(window=5)


def test_null_takes_a_key_or_a_block_back_to_its_built_in_value():
    defaults = "timeouts: {idle: 1s, total: 5s}, retry: {max_retries: 9}, breaker: {window: 5s}"
    found = upstream(
        "kind: llm, timeouts: {idle: null}, retry: ~, breaker: , routes:"
        " [{match: {path: /a}, timeouts: null}, {match: {path: /b, methods: ~}}]",
        defaults=defaults,
    )

    assert found.policy.timeouts == Timeouts(first_byte=None, idle=300, total=5)
    assert found.policy.retry == Retry(unsafe_methods="always")
    assert found.breaker == Breaker()
    assert found.routes[0].policy.timeouts.total == 570
    assert config("watch: ~\nlisten: {port: ~}\ndefaults:\nupstreams: {}").listen.port == 8080


def test_a_block_can_come_after_a_null():
    assert upstream("timeouts: {idle: 2s}", defaults="timeouts: null").policy.timeouts.idle == 2


def test_settings_built_from_python_have_the_built_in_values_too():
    assert Retry(max_retries=1).retry_on == Retry().retry_on
    assert Retry(retry_on=["connect", 503]).retry_on == {"connect", 503}


# What values become


def test_every_kind_of_value_is_read_by_its_key():
    found = config(
        """
listen: {host: "[::1]", port: "${PORT}", token: t}
log: {level: debug, format: json}
drain: {delay: 250ms}
watch: false
limits: {replay_memory: 1GiB, header_size: 8KiB}
upstreams:
  u:
    url: http://h/base/
    auth: {header: x-api-key, value: "${KEY}"}
    headers: {set: {X-Team: no}, remove: [User-Agent]}
    rewrite_client_errors: [401, 403]
    replay_limit: 64KiB
    forward: {client: true}
    egress: http://proxy:3128
    limits: {connections: 5}
    timeouts: {total: none}
    retry: {max_retries: "${RETRIES:-7}", exponential_base: 1.5, retry_on: [timeout, 418]}
    fallback:
      - upstream: v
        path: /v2
        when: [404, "400:context_length_exceeded"]
        forward_credentials: true
        set: {model: m, n: 2, t: 0.5, s: "2", b: true, z: null, l: [1, {a: x}], e: 1e3, d: "${KEY}"}
    routes: [{match: {methods: [GET, PURGE]}}]
  v: {url: "http://v"}
""",
        {"PORT": "9", "KEY": "k"},
    )
    u = found.upstreams["u"]
    fallback = u.fallback[0]

    assert (found.listen.host, found.listen.port, found.watch) == ("::1", 9, False)
    assert found.limits.replay_memory == 1 << 30
    assert found.drain.delay == 0.25
    assert str(u.url) == "http://h/base"
    assert u.headers.set == {"X-Team": "no"}
    assert u.policy.rewrite_client_errors == {401, 403}
    assert u.policy.timeouts.total is None
    assert u.policy.retry.max_retries == 7
    assert u.policy.retry.retry_on == {"timeout", 418}
    assert str(u.egress) == "http://proxy:3128"
    assert fallback.when == (When(404, None), When(400, "context_length_exceeded"))
    assert fallback.set == {
        "model": "m", "n": 2, "t": 0.5, "s": "2", "b": True, "z": None, "l": [1, {"a": "x"}],
        "e": 1000.0, "d": "k",
    }  # fmt: skip
    assert u.routes[0].match.methods == {"GET", "PURGE"}


def test_a_route_is_a_prefix_of_whole_segments_however_it_ends():
    found = upstream("routes: [{match: {path: /v1/}}, {match: {path: /}}]")

    assert [route.match.path for route in found.routes] == ["/v1", ""]


def test_what_blames_the_upstream_can_be_chosen():
    found = upstream("breaker: {failure_on: [cut, 408, 500]}")

    assert found.breaker.failure_on == {"cut", 408, 500}


def test_a_frozen_block_stays_as_it_is():
    with pytest.raises(ValueError, match="frozen"):
        upstream().policy.retry.max_retries = 1


@pytest.mark.parametrize(("text", "meant"), [("true", True), ("false", False), ("[]", frozenset())])
def test_rewriting_can_be_on_off_or_for_some(text, meant):
    assert upstream(f"rewrite_client_errors: {text}").policy.rewrite_client_errors == meant


# What is wrong


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("retry: {max_retires: 1}", "retry.max_retires: is not a key here (did you mean max_retries?)"),
        ("timeout: {idle: 1s}", "timeout: is not a key here (did you mean timeouts?)"),
        ("zzz: 1", "zzz: is not a key here"),
        ("policy: {}", "policy: is not a key here"),
        ("name: x", "name: is not a key here"),
        ("budget: {ratio: 1}", "budget: is not a key here"),
        ("timeouts: {idle: 1:30}", "timeouts.idle: '1:30' is not a duration (write 250ms, 2s, 1m30s, 1h or a number of seconds)"),
        ("timeouts: {total: 0}", "timeouts.total: '0' would leave no time at all (for no limit write none)"),
        ("timeouts: {total: -1s}", "timeouts.total: '-1s' is not a duration (write 250ms, 2s, 1m30s, 1h or a number of seconds)"),
        ("timeouts: 5", "timeouts: is not a block of keys, such as {connect: 5s}"),
        ("timeouts: {idle: {}}", "timeouts.idle: is not a duration (write 250ms, 2s, 1m30s, 1h or a number of seconds)"),
        ("retry: 5", "retry: is not a block of keys, such as {max_retries: 3}"),
        ("retry: {max_retries: 1e3}", "retry.max_retries: '1e3' is not a whole number (write digits only, such as 10)"),
        ("retry: {max_retries: 010}", "retry.max_retries: '010' begins with a zero, which YAML takes for octal (write it without)"),
        ("retry: {max_retries: 101}", "retry.max_retries: must be at most 100"),
        ("retry: {max_retries: -1}", "retry.max_retries: must be at least 0"),
        ("retry: {jitter: no}", "retry.jitter: 'no' is not true or false (write false)"),
        ("retry: {retry_on: 503}", "retry.retry_on: is not a list ([a, b], or a line with - for each)"),
        ("retry: {retry_on: [conect]}", "retry.retry_on[0]: 'conect' is not a status or one of connect, reset, timeout, protocol (did you mean connect?)"),
        ("retry: {retry_on: [cut]}", "retry.retry_on[0]: 'cut' is not retried: part of the answer has reached the caller by then"),
        ("retry: {retry_on: [200]}", "retry.retry_on[0]: '200' is not a status of 400 to 599"),
        ("retry: {retry_on: [[503]]}", "retry.retry_on[0]: is not a whole number (write digits only, such as 10)"),
        ("retry: {unsafe_methods: alway}", "retry.unsafe_methods: 'alway' is not one of always, auto, never (did you mean always?)"),
        ("retry: {unsafe_methods: []}", "retry.unsafe_methods: is not one piece of text"),
        ("retry: {base_delay: 2m}", "retry.base_delay: max_delay (1m) is below base_delay (2m), which would then never apply"),
        ("retry: {max_delay: 1s, base_delay: 2}", "retry.max_delay: max_delay (1s) is below base_delay (2s), which would then never apply"),
        ("breaker: {max_timeout: 5s}", "breaker.max_timeout: max_timeout (5s) is below timeout (1m); raise it to at least that"),
        ("breaker: {window: 0}", "breaker.window: must be above 0"),
        ("breaker: {failure_on: [404]}", "breaker.failure_on[0]: '404' is the caller's fault and says nothing about the upstream"),
        ("breaker: {failure_on: [429]}", "breaker.failure_on[0]: '429' belongs to a key, not to the upstream, and never opens a circuit"),
        ("breaker: {mode: off}", "breaker.mode: 'off' is not one of enforce, observe, disabled"),
        ("rewrite_client_errors: maybe", "rewrite_client_errors: 'maybe' is not true, false or a list of statuses, such as [401, 429]"),
        ("rewrite_client_errors: [500]", "rewrite_client_errors: names a status that is not a client error, 400 to 499"),
        ("rewrite_client_errors: {}", "rewrite_client_errors: is not true, false or a list of statuses, such as [401, 429]"),
        ("kind: vectr", "kind: 'vectr' is not one of llm, vectordb, http (did you mean vectordb?)"),
        ("provider: opneai", "provider: 'opneai' is not one of generic, openai, anthropic, qdrant, chroma, weaviate, pinecone, milvus, elasticsearch, opensearch (did you mean openai?)"),
        ("auth: {header: A}", "auth.value: is missing"),
        ("auth: {header: Host, value: x}", "auth.header: is a header that the proxy writes itself"),
        ("auth: {header: 'a b', value: x}", "auth.header: is not a header name (letters, digits and hyphens)"),
        ('auth: {header: A, value: "a\\nb"}', "auth.value: holds a control character or one that is not ASCII"),
        ('auth: {header: A, value: ""}', "auth.value: is empty (is its variable set?)"),
        ('auth: {header: A, value: "Bearer ${X:-}"}', "auth.value: begins or ends with white space (is its variable empty?)"),
        ("headers: {set: {Content-Length: 1}}", "headers.set.Content-Length: is a header that the proxy writes itself"),
        ("headers: {set: {Connection: x}}", "headers.set.Connection: is a header that the proxy writes itself"),
        ('headers: {set: {X: "a\\0"}}', "headers.set.X: holds a control character or one that is not ASCII"),
        ("headers: {set: []}", "headers.set: is not a block of keys (key: value)"),
        ("headers: {remove: [Host]}", "headers.remove[0]: is a header that the proxy writes itself"),
        ("capabilities: ['a,b']", "capabilities[0]: 'a,b' is not a capability (letters, digits and . _ : -)"),
        ("fallback: [{}]", "fallback[0].upstream: is missing"),
        ("fallback: [x]", "fallback[0]: is not a block of keys, such as {upstream: local}"),
        ("fallback: [null]", "fallback[0]: is not a block of keys, such as {upstream: local}"),
        ("hedge: 300ms", "hedge: is not a block of keys, such as {delay: 300ms}"),
        ("hedge: {delay: 0}", "hedge.delay: '0' is no time at all (to switch it off write none)"),
        ("cache: {ttl: 0s}", "cache.ttl: '0s' is no time at all (to switch it off write none)"),
        ("cache: {methods: [PUT, get]}", "cache.methods: can hold GET and POST alone, not PUT"),
        ("cache: {methods: [PUT, get]}", "cache.methods[1]: 'get' is not a method (write GET, POST … in capitals)"),
        ("limits: {rate: 100/m}", "limits.rate: is not a block of keys, such as {limit: 100, window: 60s}"),
        ("auth: sk-x", 'auth: is not a block of keys, such as {header: Authorization, value: "Bearer ${OPENAI_API_KEY}"}'),
        ("fallback: [{upstream: u}]", "fallback[0].upstream: is the upstream itself, which has just failed"),
        ("fallback: [{upstream: uu}]", "fallback[0].upstream: 'uu' is not an upstream (did you mean u?)"),
        ("fallback: [{upstream: u, when: ['400:']}]", "fallback[0].when[0]: '400:' is not a status or status:code, such as 404 or 400:context_length_exceeded"),
        ("fallback: [{upstream: u, when: [5xx]}]", "fallback[0].when[0]: '5xx' is not a status or status:code, such as 404 or 400:context_length_exceeded"),
        ("fallback: [{upstream: u, set: {a: no}}]", "fallback[0].set.a: 'no' is read as true or false by YAML (write true, false or \"quoted\")"),
        ("fallback: [{upstream: u, set: {a: 010}}]", "fallback[0].set.a: '010' is read as another number by YAML (write it plainly or \"quoted\")"),
        ("routes: [{}]", "routes[0].match: is missing"),
        ("routes: [x]", "routes[0]: is not a block of keys, such as {match: {…}}"),
        ("routes: x", "routes: is not a list ([a, b], or a line with - for each)"),
        ("routes: [{match: {path: v1}}]", "routes[0].match.path: 'v1' is not a path (begin with /, without query, special ones as %XX)"),
        ("routes: [{match: {methods: [post]}}]", "routes[0].match.methods[0]: 'post' is not a method (write GET, POST … in capitals)"),
        ("routes: [{match: {methods: []}}]", "routes[0].match.methods: is empty"),
        ("routes: [{match: {}, breaker: {}}]", "routes[0].breaker: belongs to the upstream; a route shares its circuit"),
        ("routes: [{match: {}, retry: {budget: {}}}]", "routes[0].retry.budget: belongs to the upstream; a route shares its budget"),
        ("routes: [{match: {}, url: x}]", "routes[0].url: is not a key here"),
        ("listen: {}", "listen.port: is missing"),
        ("listen: {port: 70000}", "listen.port: must be at most 65535"),
        ("listen: {host: 'a b', port: 1}", "listen.host: 'a b' is not a host name or an IP address"),
        ("replay_limit: 8MB", "replay_limit: '8MB' is not a size (write 64KiB, 8MiB, 1GiB or a number of bytes)"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_what_was_meant(text, told):
    assert told in wrong(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("version: 2\nupstreams: {}", "f:1:1: version: '2' is not a version of this format (write 1)"),
        ("version: 1", "f:1:1: upstreams: is missing"),
        ("upstreams:", "f:1:1: upstreams: is missing"),
        ("upstreams: 5", "f:1:1: upstreams: is not a block of keys (key: value)"),
        ("upstreams: {a: 5}", "f:1:13: upstreams.a: is not a block of keys, such as {url: https://api.openai.com}"),
        ("batch: true\nupstreams: {}", "f:1:1: batch: is not a block of keys, such as {items: 1000}"),
        ("shared: redis://h\nupstreams: {}", "f:1:1: shared: is not a block of keys, such as {redis: redis://127.0.0.1:6379/0}"),
        ("upstreams: {}\npools: {p: a}", "f:2:9: pools.p: is not a block of keys, such as {members: [local]}"),
        ("limits: {rate: {limit: 1}}\nupstreams: {}", "f:1:10: limits.rate: belongs to an upstream's limits, or to those of defaults"),
        ("upstreams: {a: }", "f:1:13: upstreams.a.url: is missing"),
        ("upstream: {}\nupstreams: {}", "f:1:1: upstream: is not a key here (did you mean upstreams?)"),
        ("warnings: []\nupstreams: {}", "f:1:1: warnings: is not a key here"),
        ("defaults: 5\nupstreams: {}", "f:1:1: defaults: is not a block of keys (timeouts, retry, breaker …)"),
        ("defaults: {url: x}\nupstreams: {}", "f:1:12: defaults.url: is not a key here"),
        ("defaults: {retry: {x: 1}}\nupstreams: {}", "f:1:20: defaults.retry.x: is not a key here"),
        ("admin: {token: ' x'}\nupstreams: {}", "f:1:9: admin.token: begins or ends with white space (is its variable empty?)"),
        ("upstreams: {A: {url: 'http://h'}}", "f:1:13: upstreams.A: is not a name (lower-case letters, digits, _ and -, beginning with one of the first two)"),
        ("upstreams: {-: {url: 'http://h'}}", "f:1:13: upstreams.-: begins with a hyphen (paths under /-/ are the proxy's)"),
        ("upstreams: {a: {url: 'http://h'}}\npools: {a: {members: [a]}}", "f:2:9: pools.a: is the name of an upstream too (both are served at /<name>/…)"),
        ("upstreams: {a: {url: 'http://h'}}\npools: {p: {members: [b]}}", "f:2:23: pools.p.members[0]: 'b' is not an upstream"),
        ("upstreams: {a: {url: 'http://h'}}\npools: {p: {members: [a, a]}}", "f:2:26: pools.p.members[1]: 'a' is named a second time"),
        ("upstreams: {a: {url: 'http://h'}}\npools: {p: {members: []}}", "f:2:13: pools.p.members: is empty"),
        ("listen: {port: 8081}\nupstreams: {}", "f:1:1: admin.port: 8081 is taken by listen already"),
        ("admin: {host: '::', port: 8080}\nupstreams: {}", "f:1:21: admin.port: 8080 is taken by listen already"),
        ("upstreams: {a: {url: 'http://h', listen: {host: localhost, port: 8080}}}", "f:1:60: upstreams.a.listen.port: 8080 is taken by listen already"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_file_is_told_where_it_stands(text, told):
    assert told in [
        line.replace("f:1:1: admin.port", "f:1:1: admin.port") for line in problems(text)
    ]


def test_all_problems_are_told_at_once_and_in_the_order_of_the_file():
    told = problems(
        "listen: {port: x}\nupstreams:\n  a: {url: x, fallback: [{upstream: b}]}\nz: 1\n"
    )

    assert [line.split(": ")[1] for line in told] == [
        "listen.port",
        "upstreams.a.url",
        "upstreams.a.fallback[0].upstream",
        "z",
    ]


def test_a_mistake_in_defaults_is_told_once_even_where_upstreams_override_it():
    ups = "{a: {url: 'http://h', retry: {max_retries: 1}}, b: {url: 'http://h'}}"

    assert problems(f"defaults: {{retry: {{max_retries: x}}}}\nupstreams: {ups}") == [
        "f:1:20: defaults.retry.max_retries: 'x' is not a whole number (write digits only, such as 10)"
    ]


def test_defaults_that_need_their_upstreams_are_no_mistake():
    found = upstream("retry: {max_delay: 5m}", defaults="retry: {base_delay: 2m}")

    assert found.policy.retry.max_delay == 300


def test_a_contradiction_with_an_unreadable_value_is_not_told():
    assert wrong("retry: {base_delay: 2m, max_delay: x}") == [
        "retry.max_delay: 'x' is not a duration (write 250ms, 2s, 1m30s, 1h or a number of seconds)"
    ]


def test_a_key_that_is_unknown_hides_nothing_else():
    assert len(wrong("retry: {a: 1, b: 2, max_retries: x}, foo: 1")) == 4


def test_two_upstreams_may_stand_in_for_each_other():
    found = config("""
upstreams:
  a: {url: "http://a", fallback: [{upstream: b}]}
  b: {url: "http://b", fallback: [{upstream: a}]}
""")

    assert found.warnings == ()


# Pools


TWO = "upstreams: {a: {url: 'http://h'}, b: {url: 'http://h'}}"


def pool(text, env=None):
    return config(f"{TWO}\npools: {{p: {{{text}}}}}", env).pools["p"]


def wrong_pool(text, env=None):
    """What is told of a pool whose members are upstreams, but for its own path."""
    with pytest.raises(ConfigError) as refused:
        pool(text, env)
    return [f"{it.path.removeprefix('pools.p.')}: {it.message}" for it in refused.value.problems]


def test_a_pool_that_says_nothing_else_asks_its_members_as_listed():
    found = pool("members: [a, b]")

    assert (found.strategy, found.weights, found.ramp) == ("priority", {}, 0)
    assert not found.forward_credentials


def test_a_pool_can_say_who_gets_how_much():
    found = pool("members: [a, b], strategy: weighted, weights: {a: 2.5}, ramp: 30s")

    assert (found.strategy, found.weights, found.ramp) == ("weighted", {"a": 2.5}, 30)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("strategy: wieghted", "strategy: 'wieghted' is not one of priority, weighted, least_in_flight (did you mean weighted?)"),
        ("strategy: weighted, weights: {a: 0}", "weights.a: must be above 0"),
        ("strategy: weighted, weights: {a: -1}", "weights.a: must be above 0"),
        ("strategy: weighted, weights: {a: x}", "weights.a: 'x' is not a number (write 3 or 0.5)"),
        ("strategy: weighted, weights: [1, 2]", "weights: is not a block of keys (key: value)"),
        ("strategy: least_in_flight, weights: {c: 1}", "weights.c: is not a member of the pool"),
        ("weights: {a: 1}", "strategy: is priority, to which weights mean nothing (write weighted or least_in_flight, or leave weights out)"),
        ("strategy: priority, weights: {a: 1}", "strategy: is priority, to which weights mean nothing (write weighted or least_in_flight, or leave weights out)"),
        ("ramp: -1s", "ramp: '-1s' is not a duration (write 250ms, 2s, 1m30s, 1h or a number of seconds)"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_pool_is_told_where_it_stands(text, told):
    assert wrong_pool(f"members: [a, b], {text}") == [told]


def test_a_weight_is_not_told_of_where_its_member_is():
    text = f"{TWO}\npools: {{p: {{members: [a, bb], strategy: weighted, weights: {{b: 2}}}}}}"

    assert problems(text) == [
        "f:2:26: pools.p.members[1]: 'bb' is not an upstream (did you mean b?)"
    ]


def test_a_weight_that_is_near_a_member_is_told_which():
    text = "upstreams: {local: {url: 'http://h'}}\n"
    text += "pools: {p: {members: [local], strategy: weighted, weights: {locla: 2}}}"

    assert problems(text) == [
        "f:2:61: pools.p.weights.locla: is not a member of the pool (did you mean local?)"
    ]


def test_what_is_unknown_of_a_pool_contradicts_nothing():
    found = parse(
        f"""{TWO}
pools:
  p: {{members: [a], strategy: "${{X}}", weights: {{a: 2}}}}
  q: {{members: [a, b], strategy: weighted, weights: {{a: "${{X}}", b: 3}}}}
  r: {{members: "${{X}}", strategy: weighted, weights: {{a: 1}}, ramp: "${{X}}"}}
""",
        "f",
        None,
    )

    assert found.pools["q"].weights == {"b": 3}


def test_a_pool_is_neither_fallen_back_to_nor_a_member():
    text = """
upstreams: {a: {url: 'http://h', fallback: [{upstream: p}]}}
pools:
  p: {members: [a, q]}
  q: {members: [a]}
"""
    assert problems(text) == [
        "f:2:46: upstreams.a.fallback[0].upstream: 'p' is a pool; name its members",
        "f:4:20: pools.p.members[1]: 'q' is a pool; name its members",
    ]


# Listeners


AUTH = "auth: {header: A, value: k}"


@pytest.mark.parametrize(
    "listen",
    [
        "{host: 127.0.0.1}",
        "{host: localhost}",
        "{host: 0.0.0.0, token: t}",
        "{host: '::', open: true}",
    ],
)
def test_our_keys_are_lent_where_callers_are_known_or_it_is_meant(listen):
    assert config(f"listen: {listen}\nupstreams: {{a: {{url: 'http://h', {AUTH}}}}}")


def test_a_listener_for_everyone_without_our_keys_is_no_mistake():
    assert config("listen: {host: 0.0.0.0}\nupstreams: {a: {url: 'http://h'}}")


def test_our_keys_are_not_lent_to_everyone():
    told = problems(f"listen: {{host: 0.0.0.0}}\nupstreams: {{a: {{url: 'http://h', {AUTH}}}}}")
    assert told == [
        (
            "f:1:10: listen.host: is reachable beyond loopback, where auth of a lends our key to every"
            " caller (set listen.token, or listen.open: true if that is meant)"
        )
    ]
    assert "lends our key" in wrong(f"{AUTH}, listen: {{host: 10.0.0.1, port: 1}}")[0]


def test_a_fallback_lends_its_key_to_the_listener_of_whom_it_stands_in_for():
    told = problems(
        "upstreams:\n"
        "  a: {url: 'http://h', listen: {host: 0.0.0.0, port: 9}, fallback: [{upstream: b}]}\n"
        f"  b: {{url: 'http://h', {AUTH}}}"
    )

    assert ["auth of b lends our key" in problem for problem in told] == [True]


def test_an_admin_listener_beyond_loopback_without_a_token_is_warned_of():
    found = config("admin: {host: 0.0.0.0}\nupstreams: {}")

    assert [str(it) for it in found.warnings] == [
        "f:1:9: admin.host: listens beyond loopback without a token: it will only serve reads"
    ]
    assert not config("admin: {host: 0.0.0.0, token: t}\nupstreams: {}").warnings


def test_listeners_on_ports_the_system_chooses_never_collide():
    assert config("listen: {port: 0}\nadmin: {port: 0}\nupstreams: {}")


# Secrets


def test_no_secret_is_in_a_problem():
    text = """
listen: {token: "canary\x01", port: "${S}"}
upstreams:
  a: {url: "http://u:canary@h", auth: {header: "canary canary", value: "canary\x01"},
      headers: {set: {X: "canary\x01"}}, retry: {max_retries: "${S}"}, timeouts: {idle: "${S}"},
      kind: "${S}", egress: "canary://", fallback: [{upstream: "${S}"}]}
"""
    told = "\n".join(problems(text.replace("\x01", "\\x01"), {"S": "canary"}))

    assert len(told.splitlines()) == 11
    assert "canary" not in told


# Files and environment


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml:1:1: cannot be read: No such file"):
        load(tmp_path / "nowhere.yaml")


def test_a_file_is_read_with_the_environment(tmp_path, monkeypatch):
    file = tmp_path / "f.yaml"
    file.write_text("upstreams: {a: {url: 'http://${OCTOLLM_TEST_HOST}'}}")
    monkeypatch.setenv("OCTOLLM_TEST_HOST", "h")

    assert load(file).upstreams["a"].url.host == "h"


def test_without_environment_everything_a_variable_can_stand_for_is_believed():
    text = """
listen: {port: "${X}", token: "${file:/x}", host: "${X}"}
admin: {port: "${X}"}
upstreams:
  a:
    kind: ${X}
    url: ${X}
    auth: {header: "${X}", value: "${X}"}
    capabilities: ["${X}"]
    headers: {set: {X-A: "${X}"}, remove: ["${X}"]}
    timeouts: {total: "${X}"}
    retry: {retry_on: ["${X}", 503], base_delay: 2s, max_delay: "${X}"}
    breaker: ${X}
    rewrite_client_errors: ["${X}", 401]
    routes: [{match: {path: "${X}", methods: ["${X}"]}}]
    fallback: [{upstream: "${X}", when: ["${X}"], set: {model: "${X}"}}]
    listen: {port: "${X}"}
  b: {url: "http://h", listen: {port: "${X}"}, routes: "${X}", limits: "${X}"}
pools: {p: {members: ["${X}"]}, q: {members: "${X}"}}
"""
    found = parse(text, "f", None)

    assert found.upstreams["a"].policy.retry.retry_on == {"unknown", 503}
    assert found.upstreams["a"].breaker == Breaker()
    assert str(found.upstreams["a"].url) == "http://localhost"


def test_an_item_that_is_wrong_keeps_its_number_beside_one_that_is_unknown():
    text = (
        "upstreams: {a: {url: 'http://h', fallback: [x, {y: 1}], retry: {retry_on: ['${X}', z]}}}"
    )
    with pytest.raises(ConfigError) as refused:
        parse(text, "f", None)

    assert [problem.path for problem in refused.value.problems] == [
        "upstreams.a.fallback[0]",
        "upstreams.a.fallback[1].upstream",
        "upstreams.a.fallback[1].y",
        "upstreams.a.retry.retry_on[1]",
    ]


def test_without_environment_what_is_plain_to_see_is_still_told():
    with pytest.raises(ConfigError, match="max_retires"):
        parse("upstreams: {a: {url: '${X}', retry: {max_retires: 1}}}", "f", None)


# The files it is made of


SECRET = "upstreams: {a: {url: http://h, auth: {header: x, value: '${file:%s}$${file:/no}'}}}"


def test_a_config_knows_the_files_it_is_made_of_and_tells_their_contents_apart(tmp_path):
    key = tmp_path / "key"
    found = []
    for content in ("one", "one\n", "two"):
        key.write_text(content)
        found.append(parse(SECRET % key, "f", {}))

    assert [list(config.files) for config in found] == [[str(key)]] * 3
    assert len({config.files[str(key)] for config in found}) == 3
    assert "files" not in repr(found[0])
    assert parse(SECRET % key, "f", {}) == found[2]


def test_a_file_that_cannot_be_used_names_those_that_could_mend_it(tmp_path):
    text = "listen: {tls: {certificate: /no/crt, key: /no/key, client_ca: /no/ca}}\n"
    with pytest.raises(ConfigError) as caught:
        parse(text + SECRET % "/no/secret", "f", {})

    assert list(caught.value.files) == ["/no/ca", "/no/crt", "/no/key", "/no/secret"]


# Whatever is written


def judged(text, env):
    try:
        return [parse(text, "f", env)]
    except ConfigError as refused:
        return refused.problems


@given(st.text())
@example("upstreams: {a: {url: http://h, retry: {[]: 1}}}")
@example("upstreams: {a: {url: x, <<: {b: 1}}}")
@example("? {a: b}\n: c")
def test_any_text_is_a_config_or_has_problems(text):
    assert judged(text, {})
    assert judged(text, None)


KEYS = sorted(
    layers.FILE_KEYS
    | layers.UPSTREAM_KEYS
    | layers.ROUTE_KEYS
    | {"budget", "policy", "name"}
    | {
        key
        for block in (Retry, Breaker, Timeouts, RouteMatch, Fallback, DataListener, Pool)
        for key in block.model_fields
    }
)
SCALARS = st.sampled_from(
    ["a", "b", "1", "0", "-1", "5s", "none", "true", "null", '""', "http://h", "/x", "'${X}'", "GET",
     "8MiB", "llm", "connect", "503", "429", "'404:x'", "no", "010", "'${Y:-1}'", '"\\0"']
)  # fmt: skip
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(st.sampled_from(KEYS), inner, max_size=4).map(
            lambda found: "{" + ", ".join(f"{key}: {value}" for key, value in found.items()) + "}"
        ),
    ),
    max_leaves=12,
)
BLOCKS = st.dictionaries(st.sampled_from(KEYS), TREES, max_size=6).map(
    lambda found: "{" + ", ".join(f"{key}: {value}" for key, value in found.items()) + "}"
)


@given(BLOCKS, BLOCKS, BLOCKS)
def test_any_tree_of_our_keys_is_a_config_or_has_problems(defaults, upstream, route):
    text = (
        f"defaults: {defaults}\nupstreams:\n  a: {upstream}\n  b: {{url: 'http://h',"
        f" routes: [{route}], fallback: [{route}]}}\n"
    )
    assert judged(text, {})
    assert judged(text, None)


@given(BLOCKS)
def test_any_file_of_our_keys_is_a_config_or_has_problems(text):
    assert judged(text, {})


def test_every_key_says_what_it_is_for():
    def silent(model, path=""):
        for name, field in model.model_fields.items():
            inner = field.annotation
            if isinstance(inner, type) and hasattr(inner, "model_fields"):
                yield from silent(inner, f"{path}.{name}")
            elif not field.description and name not in {"name", "warnings", "files"}:
                yield f"{path}.{name}"

    assert list(silent(Config)) == []


def test_a_json_schema_can_be_made_of_it():
    assert Config.model_json_schema()["properties"]["upstreams"]["description"]
