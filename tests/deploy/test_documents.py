"""docs/deploy.md and docs/shutdown.md, held against what they speak of."""

import re
from pathlib import Path

import pytest

from proxy import cli
from proxy.app import EXIT_CUT_SHORT, EXIT_DRAINED
from proxy.config.load import parse
from proxy.config.schema import Drain

ROOT = Path(__file__).parents[2]
PAGES = {name: (ROOT / "docs" / f"{name}.md").read_text() for name in ("deploy", "shutdown")}
UPSTREAM = "upstreams: {up: {url: 'http://h'}}\n"


@pytest.mark.parametrize("name", PAGES)
def test_what_it_names_is_there(name):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", PAGES[name])
    paths = re.findall(r"`((?:proxy|tests|docs|config|benchmarks)/[\w./-]+)`", PAGES[name])

    assert links
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []
    assert [path for path in paths if not (ROOT / path).exists()] == []


def measured(section, column=1):
    """Give our figure in a table of docs/performance.md."""
    text = (ROOT / "docs/performance.md").read_text()
    table = text.partition(f"### {section}\n")[2].partition("\n### ")[0]
    (row,) = [line for line in table.splitlines() if line.startswith("| **octollm-proxy** |")]
    return float(row.split("|")[column + 1])


def test_what_one_process_carries_is_what_was_measured():
    table = PAGES["deploy"].partition("<!-- sizing -->")[2].partition("<!-- /sizing -->")[0]
    claims = dict(re.findall(r"^\| ([a-z][\w ]+) \| ([\d,]+) ", table, re.MULTILINE))
    said = {what: float(number.replace(",", "")) for what, number in claims.items()}
    request = measured("0.8 KiB POST answered by 1.3 KiB, 64 connections")
    event = measured("500 event streams of 20 events a second")
    idle = measured("5,000 idle event streams")

    # Rounded, and of another run than today's: good for planning, or to be written anew.
    assert said == {
        "small requests": pytest.approx(1e6 / request, rel=0.3),
        "events in streams": pytest.approx(1e6 / event, rel=0.3),
        "streams of 20 events a second": pytest.approx(1e6 / event / 20, rel=0.3),
        "memory of an idle stream": pytest.approx(idle, rel=0.3),
    }


def test_the_exit_codes_are_those_there_are():
    codes = dict(re.findall(r"^\| (\d) \| (.*) \|$", PAGES["shutdown"], re.MULTILINE))

    assert list(codes) == ["0", "1", "2", "3"]
    assert int(next(code for code in codes if "came to its end" in codes[code])) == EXIT_DRAINED
    assert int(next(code for code in codes if "second signal" in codes[code])) == EXIT_CUT_SHORT
    assert all(f"{code} " in str(cli.main.epilog) for code in codes)


def test_the_settings_shown_are_those_built_in():
    shown = re.findall(r"^```yaml\n(.*?)^```", PAGES["shutdown"], re.MULTILINE | re.DOTALL)

    assert [parse(text + UPSTREAM, "shutdown.md", {}).drain for text in shown] == [Drain()]


def test_the_start_up_table_was_measured():
    written = PAGES["deploy"].partition("<!-- startup: written by")[2].partition("startup: end")[0]

    assert len(re.findall(r"^\| `.*\| +\d+ \| \d+ \| \d+ \|$", written, re.MULTILINE)) == 3
