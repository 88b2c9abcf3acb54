"""The report as a page: what it says, and what a browser makes of it."""

import re
import shutil
import subprocess
import zlib
from html.parser import HTMLParser

import pytest
from simulate.support import config, told

from proxy.simulate import page
from proxy.simulate.play import play
from proxy.simulate.record import Record, Run

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

# Of each scheme: what was served, and what was not.
COLOURS = {
    "0": {b"\x4f\xb6\x7d", b"\xef\x6e\x65"},
    "1": {b"\x2f\x8f\x5b", b"\xd1\x48\x3f"},
}

STORY = told(
    "about: '<b>30 %</b> & more'\n"
    "duration: 2m\n"
    "arrivals: [{rate: 10}]\n"
    'failures: [{at: 30s, lasts: 30s, kind: "503"}]\n'
)


@pytest.fixture(scope="module")
def shown():
    runs = [
        Run(name, "outage at up", STORY, 1, play(config(more), "up", STORY, 1))
        for name, more in (("<one>.yaml", ""), ("other.yaml", "breaker: {mode: disabled}"))
    ]
    return page.render(runs)


class Balanced(HTMLParser):
    """Fails where an element is closed that is not the innermost open one."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_it_is_whole_and_asks_for_nothing_from_elsewhere(shown):
    reader = Balanced()
    reader.feed(shown)

    assert reader.open == []
    assert not re.search(r"https?:|//|url\(|@import|<script|<link|<img|src=|href=", shown)


def test_what_others_named_is_escaped(shown):
    assert "&lt;one&gt;.yaml" in shown
    assert "&lt;b&gt;30 %&lt;/b&gt; &amp; more" in shown
    assert "<one>" not in shown


def test_each_config_has_a_chart_and_both_share_a_table(shown):
    assert shown.count("<svg") == 2
    assert shown.count("<table") == 1
    assert "<th>difference</th>" in shown
    assert "<title>breaker: open</title>" in shown


def test_a_record_of_nothing_can_be_shown():
    quiet = told("duration: 1m\n")

    alone = page.render([Run("proxy.yaml", "nothing at up", quiet, 7, Record(0.0))])

    assert "<th>" not in alone
    assert 'd=""' in alone


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize(
    ("scheme", "paper"), [("0", b"\x15\x18\x1b"), ("1", b"\xff\xff\xff")], ids=["dark", "light"]
)
def test_a_browser_shows_it_in_light_and_in_dark(shown, tmp_path, scheme, paper):
    report, picture = tmp_path / "report.html", tmp_path / "picture.png"
    report.write_text(shown, encoding="utf-8")

    subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            f"--user-data-dir={tmp_path}/profile", "--window-size=600,500",
            f"--blink-settings=preferredColorScheme={scheme}",
            f"--screenshot={picture}", report.as_uri(),
        ],
        capture_output=True, check=True, timeout=60,
    )  # fmt: skip

    pixels, width = decode(picture.read_bytes())
    assert pixels[0][:3] == paper
    seen = {bytes(row[at : at + 3]) for row in pixels for at in range(0, 3 * width, 3)}
    assert seen >= COLOURS[scheme]


def decode(png):
    """Give the rows of a PNG of 8-bit RGB, and how many pixels are in one."""
    width = int.from_bytes(png[16:20], "big")
    assert png[24:26] == b"\x08\x02"
    packed, at = b"", 8
    while at < len(png):
        size = int.from_bytes(png[at : at + 4], "big")
        if png[at + 4 : at + 8] == b"IDAT":
            packed += png[at + 8 : at + 8 + size]
        at += size + 12
    data, rows = zlib.decompress(packed), []
    above = bytes(3 * width)
    for begin in range(0, len(data), 3 * width + 1):
        above = unfiltered(data[begin], data[begin + 1 : begin + 3 * width + 1], above)
        rows.append(above)
    return rows, width


def unfiltered(kind, row, above):
    """Undo one row's filter (PNG, 9.2)."""
    out = bytearray(row)
    for at in range(len(row)):
        left = out[at - 3] if at >= 3 else 0
        up, corner = above[at], above[at - 3] if at >= 3 else 0
        near = left + up - corner
        paeth = min((left, up, corner), key=lambda found: abs(near - found))
        guess = (0, left, up, (left + up) // 2, paeth)[kind]
        out[at] = (row[at] + guess) & 255
    return bytes(out)
