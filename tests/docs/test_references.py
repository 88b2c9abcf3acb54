"""Every page leads only to what is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    *(
        ROOT / "docs" / f"{name}.md"
        for name in (
            "alerts",
            "architecture",
            "batch",
            "cache",
            "connections",
            "dependencies",
            "errors",
            "fallback",
            "guard",
            "hedging",
            "in-process",
            "limits",
            "pools",
            "standard",
        )
    ),
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
]
IDS = [page.name for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_a_link_leads_to_a_file(page):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    relative = [link for link in links if not link.startswith("http")]

    assert [link for link in relative if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_a_path_that_is_named_exists(page):
    paths = re.findall(
        r"`((?:proxy|tests|docs|config|benchmarks|requirements)/[\w./-]*+)(?!::)", page.read_text()
    )

    assert [path for path in paths if not (ROOT / path.rstrip(".")).exists()] == []
