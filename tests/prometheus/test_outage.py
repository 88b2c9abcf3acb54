"""Every query and every rule, asked of a real Prometheus that saw a real proxy in an outage."""

import json
import shutil
from contextlib import suppress
from datetime import datetime
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from clients.running import Served
from prometheus.files import documented, queries, rules
from prometheus.running import Prometheus

from proxy.testing.script import status, wait
from proxy.testing.upstream import Upstream

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is not installed"
)

PROXY = """
version: 1
listen: {port: 0}
admin: {port: 0}
log: {format: json}
defaults:
  retry: {max_retries: 1, base_delay: 20ms}
  breaker: {failure_threshold: 3, timeout: 2s}
upstreams:
  llm: {kind: llm, provider: openai, url: "LLM", fallback: [{upstream: spare}]}
  search: {url: "LLM"}
  trial: {url: "LLM", breaker: {mode: observe}}
  spare: {kind: llm, provider: openai, url: "SPARE"}
"""

CHAT = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": True})

RULES = [(rule["record"], rule["record"]) for rule in rules("record")]


def test_the_dashboard_and_the_rules_are_found():
    assert len(queries()) > 40
    assert len(RULES) > 10


@pytest.fixture(scope="module")
def outage(tmp_path_factory):
    """Prometheus and the proxy, after two circuits have opened and closed, and a config was bad."""
    folder = tmp_path_factory.mktemp("outage")
    file = folder / "proxy.yaml"
    with Upstream() as llm, Upstream() as spare:
        text = PROXY.replace("LLM", llm.url).replace("SPARE", spare.url)
        file.write_text(text)
        with (
            Served(file) as proxy,
            Prometheus(folder, proxy.admin.removeprefix("http://")) as prometheus,
        ):
            play(llm, proxy, prometheus, file)
            yield prometheus, proxy


@pytest.fixture(scope="module")
def prometheus(outage):
    return outage[0]


def play(llm, proxy, prometheus, file):
    """The outage: each scene lasts until Prometheus has seen it."""

    def calls():
        asked = ("llm/v1/chat/completions", CHAT), ("search/ok", None), ("trial/ok", None)
        for path, body in asked:
            # At a caller's pace, not as fast as we can.
            post(f"{proxy.addresses[0]}/{path}", body, script="" if body else "delay/50ms/ok")

    state = 'count(octollm_proxy_breaker_state{{state="{}",upstream!="spare"}} == 1) == 3'
    prometheus.until("job_upstream:octollm_proxy_failures:rate5m == 0", calls)

    llm.always(wait(0.02) + status(503))
    prometheus.until(state.format("open"), calls)
    prometheus.until('ALERTS{alertname="OctollmBreakerOpen"}', calls)

    text = file.read_text()
    file.write_text(text.replace("version: 1", "version: one"))
    post(f"{proxy.admin}/-/reload")
    prometheus.until('octollm_proxy_config_reloads_total{result="rejected"} > 0', calls)

    file.write_text(text)
    llm.always(None)
    prometheus.until(state.format("closed"), calls)
    prometheus.until(
        'rate(octollm_proxy_breaker_transitions_total{to_state="closed"}[5s]) > 0', calls
    )


def post(url, body=None, script=""):
    """Ask, and make do with whatever answer comes."""
    headers = {"Content-Type": "application/json"} | ({"X-Script": script} if script else {})
    with suppress(HTTPError), urlopen(Request(url, (body or "{}").encode(), headers)) as answer:
        answer.read()


@pytest.mark.parametrize(("title", "query"), [*queries(), *RULES])
def test_it_returns_data(prometheus, title, query):
    asked = query.replace("$upstream", ".*").replace("$__rate_interval", "5s")

    assert prometheus.since_its_start(asked)


@pytest.mark.parametrize("query", [*documented("alerts"), *documented("metrics")])
def test_a_query_of_the_docs_is_understood(prometheus, query):
    prometheus.now(query)  # or Prometheus answers 400


def test_prometheus_and_the_log_tell_the_same_time_of_the_next_probe(outage):
    prometheus, proxy = outage
    logged = [
        datetime.fromisoformat(told["timestamp"]).timestamp() + told["open_ms"] / 1000
        for told in proxy.events
        if told["event"] == "breaker.opened"
    ]
    seen = prometheus.since_its_start("octollm_proxy_breaker_open_until_timestamp_seconds > 0")

    assert seen
    assert all(min(abs(at - it) for it in logged) < 0.5 for at in seen)


def test_callers_saw_failures_of_what_has_no_fallback_only(prometheus):
    share = "job_upstream:octollm_proxy_failures_per_request:ratio_rate5m"

    assert max(prometheus.since_its_start(f'{share}{{upstream="search"}}')) > 0
    assert max(prometheus.since_its_start(f'{share}{{upstream="llm"}}')) == 0


def test_an_open_breaker_that_only_observes_is_told_as_such_and_wakes_nobody(prometheus):
    opened = 'octollm_proxy_breaker_state{state="open",upstream="trial"} == 1'
    alert = 'ALERTS{alertname="OctollmBreakerOpen",upstream="%s"}'
    enforcing = 'octollm_proxy_breaker_enforcing{upstream="%s"}'

    assert prometheus.since_its_start(opened)
    assert set(prometheus.since_its_start(enforcing % "trial")) == {0}
    assert set(prometheus.since_its_start(enforcing % "search")) == {1}
    assert prometheus.since_its_start(alert % "search")
    assert not prometheus.since_its_start(alert % "trial")


def test_an_outage_begins_the_alerts_that_are_meant_for_it(prometheus):
    begun = prometheus.alerts()

    assert begun >= {"OctollmBreakerOpen", "OctollmConfigRejected", "OctollmErrorBudgetBurnsFast"}
    assert begun.isdisjoint({"OctollmBreakerFlapping", "OctollmRetryAmplification"})
