"""Every key that a file can have is told of, and what is told is true."""

import re
from pathlib import Path

import pytest
import yaml

from config import rendering
from proxy.config import layers, reference
from proxy.config.load import parse
from proxy.config.reference import Block, Listing, Scalar, Table, inside

ROOT = Path(__file__).parents[2]
BLOCKS = {block.name: block for block in reference.blocks(reference.file())}
KEYS = [(block, key) for block in BLOCKS.values() for key in block.keys]
IDS = [f"{block.name}.{key.name}" for block, key in KEYS]

# Where a key of each block can be tried by itself: what stands before it, and how deep it is.
AROUND = {
    "rate_limit": "upstreams:\n  a:\n    url: http://a\n    limits:\n      rate:\n        ",
    "queue": "upstreams:\n  a:\n    url: http://a\n    limits:\n      concurrency: 1\n      queue:\n        ",
    "file": "upstreams: {x: {url: 'http://a'}}\n",
    "upstream": "upstreams:\n  x:\n    url: http://a\n    ",
    "data_listener": "upstreams: {x: {url: 'http://a'}}\nlisten:\n  ",
    "admin_listener": "upstreams: {x: {url: 'http://a'}}\nadmin:\n  ",
    "log": "upstreams: {x: {url: 'http://a'}}\nlog:\n  ",
    "drain": "upstreams: {x: {url: 'http://a'}}\ndrain:\n  ",
    "tracing": "upstreams: {x: {url: 'http://a'}}\ntracing:\n  ",
    "batch": "upstreams: {x: {url: 'http://a'}}\nbatch:\n  ",
    "shared": "upstreams: {x: {url: 'http://a'}}\nshared:\n  ",
    "limits": "upstreams: {x: {url: 'http://a'}}\nlimits:\n  ",
    "defaults": "upstreams: {x: {url: 'http://a'}}\ndefaults:\n  ",
    "timeouts": "upstreams:\n  x:\n    url: http://a\n    timeouts:\n      ",
    "retry": "upstreams:\n  x:\n    url: http://a\n    retry:\n      ",
    "route_retry": "upstreams:\n  x:\n    url: http://a\n    routes:\n    - match: {}\n      retry:\n        ",
    "budget": "upstreams:\n  x:\n    url: http://a\n    retry:\n      budget:\n        ",
    "stream": "upstreams:\n  x:\n    url: http://a\n    stream:\n      ",
    "cache": "upstreams:\n  x:\n    url: http://a\n    cache:\n      ",
    "guard": "upstreams:\n  x:\n    url: http://a\n    guard:\n      ",
    "hedge": "upstreams:\n  x:\n    url: http://a\n    hedge:\n      ",
    "breaker": "upstreams:\n  x:\n    url: http://a\n    breaker:\n      ",
    "header_rules": "upstreams:\n  x:\n    url: http://a\n    headers:\n      ",
    "forward": "upstreams:\n  x:\n    url: http://a\n    forward:\n      ",
    "upstream_limits": "upstreams:\n  x:\n    url: http://a\n    limits:\n      ",
    "route": "upstreams:\n  x:\n    url: http://a\n    routes:\n    - match: {}\n      ",
    "route_match": "upstreams:\n  x:\n    url: http://a\n    routes:\n    - match:\n        ",
    "listener": "upstreams:\n  x:\n    url: http://a\n    listen:\n      ",
    "auth": "upstreams:\n  x:\n    url: http://a\n    auth:\n      ",
    "upstream_tls": "upstreams:\n  x:\n    url: https://a\n    tls:\n      ",
    "listener_tls": "upstreams: {x: {url: 'http://a'}}\nlisten:\n  tls:\n    ",
    "pool": "upstreams: {local: {url: 'http://a'}}\npools:\n  p:\n    ",
    "fallback": "upstreams:\n  local: {url: 'http://b'}\n  x:\n    url: http://a\n    fallback:\n    - ",
}
# What must be given beside the one that is tried.
BESIDE = {
    "rate_limit": {"limit": "100", "window": "60s"},
    "auth": {"header": "Authorization", "value": "x"},
    "fallback": {"upstream": "local"},
    "listener_tls": {"certificate": "/a", "key": "/b"},
    "upstream_tls": {"certificate": "/a", "key": "/b"},
    "retry": {"max_delay": "1h"},
    "route_retry": {"max_delay": "1h"},
    "breaker": {"max_timeout": "1h"},
    "listener": {"port": "7777"},
    "pool": {"members": "[local]", "strategy": "weighted"},
}


def test_the_keys_are_those_the_loader_takes():
    def names(block):
        return {key.name for key in BLOCKS[block].keys}

    assert names("file") == layers.FILE_KEYS
    assert names("upstream") == layers.UPSTREAM_KEYS
    assert names("route") == layers.ROUTE_KEYS
    assert names("defaults") == layers.RULE_KEYS
    assert "budget" in names("retry") - names("route_retry")


@pytest.mark.parametrize(("block", "key"), KEYS, ids=IDS)
def test_every_key_has_a_sentence(block, key):
    assert re.fullmatch(r".{8,}[.]", key.about, re.DOTALL)


@pytest.mark.parametrize(("block", "key"), KEYS, ids=IDS)
def test_every_key_that_is_no_block_has_an_example_that_can_be_loaded(block, key):
    if isinstance(inside(key.shape), Block):
        return
    assert key.example is not None
    tried = {**BESIDE.get(block.name, {}), key.name: key.example}
    around = AROUND[block.name]
    indent = " " * len(around.rpartition("\n")[2])
    if key.name == "url" and block.name == "upstream":
        around = around.replace("    url: http://a\n", "")
    lines = f"\n{indent}".join(f"{name}: {text}" for name, text in tried.items())

    parse(f"{around}{lines}\n", "example.yaml", None)


@pytest.mark.parametrize("kind", reference.KINDS)
def test_a_built_in_value_is_what_an_upstream_of_that_kind_has(kind):
    config = parse(f"upstreams: {{x: {{kind: {kind}, url: 'http://a'}}}}", "f", None)
    upstream = config.upstreams["x"]
    for block in ("timeouts", "retry", "stream", "breaker"):
        settings = getattr(upstream.policy, block, None) or upstream.breaker
        for key in BLOCKS[block].keys:
            if key.built_in:
                said = reference.say(key.shape, getattr(settings, key.name))
                assert (key.name, key.built_in[kind]) == (key.name, said)


def test_a_value_is_said_as_the_file_would_write_it_and_a_secret_not_at_all():
    config = parse(
        """
upstreams:
  x:
    url: http://a
    auth: {header: Authorization, value: sk-1}
    headers: {set: {X-Key: sk-2}}
    fallback: [{upstream: y, set: {model: sk-3}, when: [404, "400:too_long"]}]
    rewrite_client_errors: [429, 401]
    replay_limit: 1500
  y: {url: "http://b", rewrite_client_errors: false}
""",
        "f",
        None,
    )
    keys = {key.name: key for key in BLOCKS["upstream"].keys}
    upstream = config.upstreams["x"]

    def said(name, value):
        return reference.say(keys[name].shape, value)

    assert said("auth", upstream.auth) == "{header: Authorization, value: (hidden)}"
    assert said("headers", upstream.headers) == "{set: {X-Key}}"
    assert (
        said("fallback", upstream.fallback)
        == "[{upstream: y, set: {model}, when: [404, 400:too_long]}]"
    )
    rewriting = keys["rewrite_client_errors"].shape
    assert reference.say(rewriting, upstream.policy.rewrite_client_errors) == "[401, 429]"
    assert reference.say(rewriting, config.upstreams["y"].policy.rewrite_client_errors) == "false"
    assert said("replay_limit", upstream.replay_limit) == "1500"
    token = next(key for key in BLOCKS["data_listener"].keys if key.name == "token")
    assert reference.say(token.shape, None) == "none"
    assert isinstance(token.shape, Scalar)
    methods = BLOCKS["route_match"].keys[1].shape
    assert isinstance(methods, Listing)
    assert reference.say(methods, None) == "none"
    assert isinstance(BLOCKS["header_rules"].keys[0].shape, Table)


def test_the_document_is_drawn_from_the_keys():
    assert (ROOT / "docs" / "configuration.md").read_text() == rendering.page(), (
        "python tests/config/rendering.py > docs/configuration.md"
    )


def test_every_example_is_yaml():
    for _, key in KEYS:
        if key.example is not None:
            yaml.safe_load(f"{key.name}: {key.example}")
