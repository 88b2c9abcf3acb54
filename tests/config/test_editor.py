"""The schema for editors takes what the loader takes, and says no where a person would want it."""

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from proxy.config.editor import json_schema

ROOT = Path(__file__).parents[2]
SCHEMA = json_schema()
FILES = sorted((ROOT / "config").glob("*.yaml"))

UPSTREAM = "upstreams: {{x: {{url: 'http://a', {}}}}}"

GOOD = [
    "listen: {port: '${PORT:-8080}'}\nupstreams: {}",
    "defaults:\nupstreams: {x: {url: 'http://a'}}",
    UPSTREAM.format("timeouts: {total: none, connect: 2.5, idle: 1m30s, first_byte: null}"),
    UPSTREAM.format("timeouts: {total: '${TOTAL}'}, retry: null"),
    UPSTREAM.format("retry: {retry_on: [connect, 503, '${STATUS}'], budget: {ratio: 0}}"),
    UPSTREAM.format("replay_limit: 8 MiB, rewrite_client_errors: [401]"),
    UPSTREAM.format("breaker: {mode: observe, timeout: 5}"),
    UPSTREAM.format("routes: [{match: {path: /v1, methods: [POST]}, retry: {max_retries: 1}}]"),
    UPSTREAM.format("headers: {set: {X-Number: 5}, remove: [Cookie]}"),
    UPSTREAM.format("fallback: [{upstream: y, set: {a: null, b: [1, {c: d}]}, when: [404]}]"),
    "upstreams: {x: {url: 'unix:/run/x.sock', kind: llm, provider: openai}}",
]

BAD = [
    "version: 1",
    "version: 2\nupstreams: {}",
    "upstreems: {}",
    "upstreams: {Name: {url: 'http://a'}}",
    "upstreams: {x: }",
    "upstreams: {x: {kind: llm}}",
    "upstreams: {x: {url: 'ftp://a'}}",
    "listen: {port: 70000}\nupstreams: {}",
    "admin: {tls: {}}\nupstreams: {}",
    "defaults: {url: 'http://a'}\nupstreams: {}",
    UPSTREAM.format("kind: llmm"),
    UPSTREAM.format("timeouts: {totl: 1s}"),
    UPSTREAM.format("timeouts: {total: 0}"),
    UPSTREAM.format("timeouts: {total: 1s1m}"),
    UPSTREAM.format("timeouts: {total: ''}"),
    UPSTREAM.format("timeouts: {total: 5 minutes}"),
    UPSTREAM.format("timeouts: {total: true}"),
    UPSTREAM.format("retry: {max_retries: -1}"),
    UPSTREAM.format("retry: {max_retries: 1.5}"),
    UPSTREAM.format("retry: {retry_on: [cut]}"),
    UPSTREAM.format("retry: {retry_on: [200]}"),
    UPSTREAM.format("retry: {retry_on: connect}"),
    UPSTREAM.format("breaker: {failure_rate: 0}"),
    UPSTREAM.format("breaker: {failure_on: [429]}"),
    UPSTREAM.format("routes: [{timeouts: {}}]"),
    UPSTREAM.format("routes: [{match: {}, breaker: {}}]"),
    UPSTREAM.format("routes: [{match: {}, retry: {budget: {}}}]"),
    UPSTREAM.format("routes: [{match: {methods: []}}]"),
    UPSTREAM.format("replay_limit: 8MB"),
]


def problems(text):
    return list(Draft202012Validator(SCHEMA).iter_errors(yaml.safe_load(text)))


def test_it_is_a_schema():
    Draft202012Validator.check_schema(SCHEMA)


def test_the_copy_for_editors_is_the_same():
    assert json.loads((ROOT / "config" / "schema.json").read_text()) == SCHEMA, (
        "octollm-proxy schema > config/schema.json"
    )


def test_the_example_names_it_in_its_first_line():
    first = (ROOT / "config" / "proxy.yaml").read_text().splitlines()[0]

    assert first == "# yaml-language-server: $schema=schema.json"


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_our_own_files_are_good(path):
    assert problems(path.read_text()) == []


@pytest.mark.parametrize("text", GOOD)
def test_what_the_loader_takes_is_good(text):
    assert problems(text) == []


@pytest.mark.parametrize("text", BAD)
def test_what_a_person_would_want_to_see_is_told(text):
    assert problems(text) != []


def test_every_example_is_good_in_its_place():
    for block in [SCHEMA, *SCHEMA["$defs"].values()]:
        for name, key in block.get("properties", {}).items():
            here = Draft202012Validator({**key, "$defs": SCHEMA["$defs"]})
            for example in key.get("examples", ()):
                assert (name, list(here.iter_errors(example))) == (name, [])
