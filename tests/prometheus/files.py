"""What config/ has for Prometheus and Grafana, and the PromQL in it."""

import json
import re
from pathlib import Path

import yaml

from proxy.observe import catalogue

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "config" / "prometheus"
CONFIG = FOLDER / "prometheus.yml"
RULES = sorted((FOLDER / "rules").glob("*.yml"))
CASES = sorted((FOLDER / "tests").glob("*.yml"))
GRAFANA = ROOT / "config" / "grafana"
DASHBOARD = json.loads((GRAFANA / "dashboards" / "octollm-proxy.json").read_text())


def rules(kind):
    """Give the rules of a kind, `record` or `alert`, in the order of the files."""
    groups = [group for file in RULES for group in yaml.safe_load(file.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"] if kind in rule]


def panels():
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def queries():
    """Give each query of the dashboard under the title it is shown with."""
    shown = [(panel["title"], at["expr"]) for panel in panels() for at in panel["targets"]]
    return shown + [(at["name"], at["expr"]) for at in DASHBOARD["annotations"]["list"]]


def documented(page):
    """Give each query of a page of docs/; a line that is indented goes on with the one before."""
    text = (ROOT / "docs" / f"{page}.md").read_text()
    blocks = re.findall(r"^```promql\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [query for block in blocks for query in re.split(r"\n(?! )", block.strip())]


RECORDED = {rule["record"] for rule in rules("record")}
COUNTED = {metric.name for metric in catalogue.ALL}


def strangers(expression):
    """Give the names of ours in *expression* that neither the proxy counts nor a rule records."""
    names = re.findall(r"[a-z0-9_:]*octollm_[a-z0-9_:]+", expression)
    plain = {re.sub(r"(?<=_seconds)_(bucket|sum|count)$", "", name) for name in names}
    return plain - COUNTED - RECORDED
