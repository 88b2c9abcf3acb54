"""The rules of config/prometheus: what promtool says of them, and what it cannot know."""

import re
import shutil
import subprocess

import pytest
import yaml
from prometheus.files import CASES, CONFIG, ROOT, RULES, documented, rules, strangers

ALERTS = rules("alert")
NAMES = [alert["alert"] for alert in ALERTS]
PAGE = (ROOT / "docs" / "alerts.md").read_text()

with_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed"
)


def promtool(*words):
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@with_promtool
def test_prometheus_takes_the_config_and_the_rules_it_names():
    promtool("check", "config", str(CONFIG))
    promtool("check", "rules", *map(str, RULES))


@with_promtool
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_the_rules_say_what_their_cases_expect(case):
    promtool("test", "rules", str(case))


def test_every_alert_is_seen_firing_with_its_words():
    seen = {
        told["alertname"]
        for case in CASES
        for test in yaml.safe_load(case.read_text())["tests"]
        for told in test.get("alert_rule_test", [])
        if told["exp_alerts"]
    }

    assert seen == set(NAMES)


@pytest.mark.parametrize(
    "rule", [*rules("record"), *ALERTS], ids=lambda rule: next(iter(rule.values()))
)
def test_a_rule_asks_only_for_what_is_counted_or_recorded(rule):
    assert strangers(rule["expr"]) == set()


def test_every_recorded_name_is_asked_for():
    dashboard = (ROOT / "config/grafana/dashboards/octollm-proxy.json").read_text()
    asked = dashboard + "".join(rule["expr"] for rule in [*rules("record"), *ALERTS])

    for rule in rules("record"):
        assert re.search(rf"\b{rule['record']}\b", asked), rule["record"]


@pytest.mark.parametrize("alert", ALERTS, ids=NAMES)
def test_an_alert_says_how_bad_what_and_where_to_read_on(alert):
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
    assert alert["annotations"]["runbook_url"].endswith(f"/alerts.md#{alert['alert'].lower()}")


def test_the_budget_is_the_same_wherever_it_stands():
    burns = [alert["expr"] for alert in ALERTS if "ErrorBudget" in alert["alert"]]
    found = re.findall(r"ratio_rate(\w+) > ([\d.]+) \* ([\d.]+)", " ".join(burns))

    assert {budget for _, _, budget in found} == {"0.01"}
    # the table of the SRE workbook, chapter 5
    assert [(window, factor) for window, factor, _ in found] == [
        *(("1h", "14.4"), ("5m", "14.4"), ("6h", "6"), ("30m", "6")),
        *(("1d", "3"), ("2h", "3"), ("3d", "1"), ("6h", "1")),
    ]


def test_the_page_has_a_section_for_each_alert_in_the_order_of_the_rules():
    assert re.findall(r"^## (Octollm\w+)$", PAGE, re.MULTILINE) == NAMES


@pytest.mark.parametrize("alert", ALERTS, ids=NAMES)
def test_a_section_says_what_it_means_what_to_look_at_and_what_to_do(alert):
    section = PAGE.partition(f"\n## {alert['alert']}\n")[2].partition("\n## ")[0]

    assert re.findall(r"^\*\*(.+?)\*\*", section, re.MULTILINE) == [
        "It means",
        "Look at",
        "Do",
    ]
    assert f"`{alert['labels']['severity']}`" in section


def test_the_page_names_those_that_page_somebody():
    (row,) = re.findall(r"^\| `critical` \|.*\| (.+) \|$", PAGE, re.MULTILINE)

    assert row.split(", ") == [
        alert["alert"] for alert in ALERTS if alert["labels"]["severity"] == "critical"
    ]


@pytest.mark.parametrize("query", documented("alerts"))
def test_a_query_of_the_page_asks_for_what_is_there(query):
    assert strangers(query) == set()
