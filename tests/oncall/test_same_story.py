"""The on-call test: in the demo's outage, whoever is asked tells the same story, with the same times.

It is the demo's own config, trouble and traffic; only the proxy is a process, as `serve` runs it.
"""

import asyncio
import shutil
from collections import Counter
from contextlib import asynccontextmanager
from datetime import datetime
from urllib.parse import quote

import pytest
from clients.running import Served
from e2e.support import call
from page.browser import CHROMIUM, browsing
from prometheus.running import Prometheus

from proxy.demo import scenes, stage, traffic
from proxy.testing.upstream import Upstream

pytestmark = [
    pytest.mark.real_time,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed"),
]

PATIENCE = 20.0
"""Seconds for the play to come to a moment: a round of it is sixteen."""

CLOSE = 0.1
"""Seconds between a circuit's move and its line in the log; and the moment of the next probe is
told anew, from the clocks of the loop and the wall, each time somebody asks."""

SCRAPED = 1.0
"""Seconds that a scrape may be late: there is one every 0.2, if the machine is not busy."""

MOMENTS = [("llm", "open"), ("llm", "closed"), ("vectors", "open")]

WORDS = {
    "consecutive": "failures in a row",
    "failure_rate": "too large a share of failures",
    "probe_succeeded": "a probe succeeded",
    "probe_failed": "the probe failed",
}
EVENTS = {"open": "breaker.opened", "closed": "breaker.closed"}

QUERY = """
   octollm_proxy_breaker_state{{upstream="{0}"}} == 1
or octollm_proxy_breaker_open_until_timestamp_seconds{{upstream="{0}"}}
or octollm_proxy_breaker_transitions_total{{upstream="{0}"}} > 0
or label_replace(
     max_over_time((
       timestamp(octollm_proxy_breaker_state{{upstream="{0}",state="{1}"}})
         and octollm_proxy_breaker_state{{upstream="{0}",state="{1}"}} == 0
     )[1m:200ms]),
     "fact", "last seen otherwise", "", "")
"""

SHOWN = """(() => {
  const card = document.querySelector('[aria-labelledby="of-%(name)s"]');
  const line = [...document.querySelectorAll('#timeline .moved')]
    .find((one) => one.querySelector('strong').textContent === '%(name)s');
  return line && {
    state: card.dataset.state,
    since: card.querySelector('.state p').title,
    why: card.querySelector('.state p').textContent,
    next: card.querySelector('.next').title,
    moved: line.querySelector('time').dateTime,
    line: line.textContent,
  };
})()"""


@asynccontextmanager
async def demo(monkeypatch):
    """Serve the demo's config before the demo's two upstreams."""
    async with Upstream() as llm, Upstream() as vectors:
        for key, value in {
            "DEMO_PORT": "0",
            "DEMO_ADMIN_PORT": "0",
            "DEMO_LLM_URL": llm.url,
            "DEMO_VECTORS_URL": vectors.url,
        }.items():
            monkeypatch.setenv(key, value)
        with Served(stage.CONFIG) as proxy:
            yield proxy, {"llm": llm, "vectors": vectors}


@asynccontextmanager
async def playing(proxy, upstreams):
    """Let the demo's troubles and its callers go on."""
    async with asyncio.TaskGroup() as crew:
        parts = [
            crew.create_task(scenes.perform(upstreams, lambda _: None)),
            crew.create_task(traffic.call_on(proxy.addresses[0])),
        ]
        yield
        for part in parts:
            part.cancel()


async def get(base, path):
    return (await call(base, path)).json()


async def query(prometheus, name, state):
    """Ask Prometheus one thing: give state, next, moves by their grounds, and last seen otherwise."""
    asked = quote(QUERY.format(name, state))
    found = await get(prometheus.url, f"/api/v1/query?query={asked}")
    told = {"state": None, "next": None, "moves": Counter(), "before": 0.0}
    for series in found["data"]["result"]:
        labels, value = series["metric"], float(series["value"][1])
        if "reason" in labels:
            told["moves"][labels["from_state"], labels["to_state"], labels["reason"]] = value
        elif "fact" in labels:
            told["before"] = value
        elif "state" in labels:
            told["state"] = labels["state"]
        else:
            told["next"] = value
    return told


async def scraped(prometheus):
    """Wait for the first scrape, which is late: Prometheus looks for its targets every 5 s."""
    async with asyncio.timeout(PATIENCE):
        while not (await get(prometheus.url, "/api/v1/query?query=up==1"))["data"]["result"]:  # noqa: ASYNC110 -- another process
            await asyncio.sleep(0.05)


async def api(proxy, name):
    told = await get(proxy.admin, f"/api/v1/breakers/{name}")
    moves = (await get(proxy.admin, "/api/v1/transitions"))["transitions"]
    return told, [move for move in moves if move["upstream"] == name]


async def look(proxy, prometheus, page, name, state):
    """Ask all four as soon as each has heard of the move, and it has not moved on meanwhile."""
    async with asyncio.timeout(PATIENCE):
        while True:
            told, moves = await api(proxy, name)
            shown = await page.ask(SHOWN % {"name": name})
            counted = await query(prometheus, name, state)
            heard = moves and shown and {told["state"], shown["state"], counted["state"]} == {state}
            # The page hears of a state and of its move by two events.
            if heard and shown["moved"] == shown["since"] and (await api(proxy, name))[1] == moves:
                lines = [line for line in proxy.events if line.get("upstream") == name]
                logged = [line for line in lines if line["event"] == EVENTS[state]]
                return told, moves, shown, counted, logged[-1]
            await asyncio.sleep(0.05)


def unix(moment):
    return datetime.fromisoformat(moment).timestamp()


async def test_page_promql_log_and_api_tell_one_story_of_the_demos_outages(monkeypatch, tmp_path):
    async with demo(monkeypatch) as (proxy, upstreams):
        target = proxy.admin.removeprefix("http://")
        with Prometheus(tmp_path, target) as prometheus:
            async with browsing() as page:
                await page.open(proxy.admin)
                await scraped(prometheus)
                async with playing(proxy, upstreams):
                    looks = [await look(proxy, prometheus, page, *moment) for moment in MOMENTS]

    for told, moves, shown, counted, line in looks:
        since, last = unix(told["since"]), moves[0]

        assert last["to_state"] == told["state"]
        assert shown["since"] == shown["moved"] == last["at"] == told["since"]
        assert unix(line["timestamp"]) == pytest.approx(since, abs=CLOSE)
        assert -CLOSE < since - counted["before"] < SCRAPED

        assert told["reason"] == last["reason"] == line["reason"]
        assert WORDS[told["reason"]] in shown["why"]
        assert WORDS[told["reason"]] in shown["line"]
        grounds = ((move["from_state"], move["to_state"], move["reason"]) for move in moves)
        assert counted["moves"] == Counter(grounds)

        if told["state"] == "open":
            due = unix(told["next_probe"])
            assert unix(shown["next"]) == pytest.approx(due, abs=CLOSE)
            assert counted["next"] == pytest.approx(due, abs=CLOSE)
            assert since + last["open_seconds"] == pytest.approx(due, abs=CLOSE)
            assert line["open_ms"] == last["open_seconds"] * 1000
        else:
            assert (shown["next"], told["next_probe"], counted["next"]) == ("", None, 0)
