"""The dashboard as Grafana reads it, as far as that can be held to without Grafana."""

import re
from itertools import pairwise

import pytest
import yaml
from prometheus.files import DASHBOARD, GRAFANA, panels, queries, strangers

PANELS = panels()
TITLES = [panel["title"] for panel in PANELS]
ITSELF = "The proxy itself"
VARIABLES = {variable["name"] for variable in DASHBOARD["templating"]["list"]}


def test_its_rows_are_in_the_order_in_which_somebody_on_call_asks():
    assert [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"] == [
        *("Right now", "Callers", "Upstreams", "Breakers", "Retries", "Streams"),
        ITSELF,
    ]


def test_no_two_panels_have_one_id_or_one_place():
    places = [
        (x, y)
        for at in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]

    assert len(places) == len(set(places))
    assert max(x for x, _ in places) < 24
    assert len(ids) == len(set(ids))
    tops = [(panel["gridPos"]["y"], panel["gridPos"]["x"]) for panel in DASHBOARD["panels"]]
    assert all(one < next for one, next in pairwise(tops))


@pytest.mark.parametrize("panel", PANELS, ids=TITLES)
def test_a_panel_says_what_it_shows_and_in_what_unit(panel):
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    for at in panel["targets"]:
        assert at.get("legendFormat") or panel["type"] == "table"


@pytest.mark.parametrize(("title", "query"), queries())
def test_a_query_asks_for_what_is_counted_or_recorded(title, query):
    assert strangers(query) == set()
    assert set(re.findall(r"\$(\w+)", query)) <= VARIABLES | {"__rate_interval"}


def test_the_choice_of_upstreams_holds_for_all_but_alerts_and_the_proxy_itself():
    (itself,) = (panel["gridPos"]["y"] for panel in DASHBOARD["panels"] if panel["title"] == ITSELF)
    chosen = [panel for panel in PANELS if panel["gridPos"]["y"] < itself]

    deaf = {
        panel["title"]
        for panel in chosen
        for at in panel["targets"]
        if 'upstream=~"$upstream"' not in at["expr"]
    }
    assert deaf == {"Alerts"}


def test_it_leads_to_the_admin_page():
    (link,) = (link for link in DASHBOARD["links"] if "admin" in link["title"].lower())

    assert link["url"] == "${admin}/"
    assert "admin" in VARIABLES


def test_grafana_is_told_where_prometheus_and_the_dashboards_are():
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    (provider,) = yaml.safe_load(
        (GRAFANA / "provisioning/dashboards/octollm-proxy.yml").read_text()
    )["providers"]

    assert source["type"] == "prometheus"
    assert source["url"] == "http://prometheus:9090"
    assert provider["type"] == "file"
