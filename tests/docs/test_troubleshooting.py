"""docs/troubleshooting.md knows every code, and sends nobody to what is not there."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from textwrap import dedent

import pytest
from docs.keys import keys
from prometheus.files import strangers

from proxy import errors
from proxy.admin import openapi
from proxy.observe.events import EVENTS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "troubleshooting.md").read_text()
SECTIONS = dict(re.findall(r"^### (\w+)\n(.*?)(?=^### |\Z)", TEXT, re.DOTALL | re.MULTILINE))
QUERIES = [
    query
    for block in re.findall(r"^ *```promql\n(.*?)^ *```", TEXT, re.DOTALL | re.MULTILINE)
    for query in dedent(block).splitlines()
]
KEYS = keys()


def test_every_code_has_its_place_in_the_order_of_the_taxonomy():
    branches = {"UNKNOWN_ERROR"}
    codes = dict.fromkeys(cls.error_code for cls in errors.taxonomy())

    assert list(SECTIONS) == [*(code for code in codes if code not in branches), *branches]


@pytest.mark.parametrize("code", SECTIONS)
def test_a_code_is_told_from_who_said_it_to_what_to_change(code):
    points = re.findall(r"^- \*\*(\w+)\*\*", SECTIONS[code], re.MULTILINE)

    assert points == ["Who", "Look", "Usually", "Change"]


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_asks_for_what_is_there(query):
    assert "octollm_" in query
    assert strangers(query) == set()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_can_read_the_queries(tmp_path):
    rules = [{"record": f"query:{n}", "expr": query} for n, query in enumerate(QUERIES)]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "page", "rules": rules}]}))

    done = subprocess.run(["promtool", "check", "rules", file], capture_output=True, check=False)

    assert done.returncode == 0, done.stderr.decode()


def test_metrics_outside_of_queries_are_there_too():
    assert strangers(TEXT) == set()


def test_an_address_of_the_admin_api_is_one():
    paths = openapi.document()["paths"]
    asked = re.findall(r"/api/v1(/\w+)", TEXT)

    assert [path for path in asked if path not in paths] == []
    assert len(asked) >= 3


def test_a_line_of_the_log_that_is_named_is_written():
    families = "|".join({event.partition(".")[0] for event in EVENTS})
    named = set(re.findall(rf"`((?:{families})\.\w+)`", TEXT)) - KEYS

    assert named - set(EVENTS) == set()
    assert len(named) >= 5


def test_a_key_that_is_to_be_changed_is_one_of_the_config():
    blocks = "|".join({key.partition(".")[0] for key in KEYS})
    named = set(re.findall(rf"`((?:{blocks})\.\w+)", TEXT)) - set(EVENTS) - {"proxy.log"}

    assert named - KEYS == set()
    assert len(named) > 20
