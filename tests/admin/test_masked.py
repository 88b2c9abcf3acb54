import json

import pytest

from proxy.admin.masked import HIDDEN, masked
from proxy.config import reference
from proxy.config.load import parse

CONFIG = """
version: 1
listen: {token: canary-listen}
admin: {token: canary-admin}
upstreams:
  openai:
    kind: llm
    url: https://api.openai.com/base
    auth: {header: Authorization, value: Bearer canary-auth}
    headers: {set: {x-mine: canary-header}, remove: [x-theirs]}
    fallback: [{upstream: local, set: {model: small, user: canary-body, temperature: 0}}]
    retry: {budget: {ratio: 0.5}}
    routes: [{match: {path: /v1/embeddings}, timeouts: {total: 20s}}]
  local: {url: "http://127.0.0.1:11434", breaker: {timeout: 10s}}
pools:
  chat: {members: [openai, local], strategy: weighted, weights: {openai: 3}}
"""


@pytest.fixture
def told():
    return masked(parse(CONFIG, "test.yaml", {}))


def test_no_secret_is_shown_and_that_there_is_one_is(told):
    assert "canary" not in json.dumps(told)
    assert told["admin"]["token"] == HIDDEN
    assert told["upstreams"]["openai"]["auth"] == {"header": "Authorization", "value": HIDDEN}
    assert told["upstreams"]["local"]["auth"] is None


def test_of_a_table_the_names_and_the_numbers_are_shown(told):
    openai = told["upstreams"]["openai"]

    assert openai["headers"] == {"set": {"x-mine": HIDDEN}, "remove": ["x-theirs"]}
    assert openai["fallback"][0]["set"] == {"model": HIDDEN, "user": HIDDEN, "temperature": 0}
    assert told["pools"]["chat"]["weights"] == {"openai": 3.0}


def test_values_are_the_effective_ones_where_the_file_would_have_them(told):
    openai, local = told["upstreams"]["openai"], told["upstreams"]["local"]

    assert openai["url"] == "https://api.openai.com/base"
    assert openai["timeouts"]["total"] == 570.0
    assert openai["routes"][0]["timeouts"]["total"] == 20.0
    assert openai["retry"]["budget"]["ratio"] == 0.5
    assert local["timeouts"]["total"] == 60.0
    assert local["breaker"]["timeout"] == 10.0
    assert "budget" not in openai["routes"][0]["retry"]


def test_every_key_of_the_file_is_there(told):
    keys = {key.name for key in reference.file().keys} - {"defaults"}
    upstream = {key.name for key in reference.upstream().keys}

    assert told.keys() == keys
    assert told["upstreams"]["openai"].keys() == upstream
