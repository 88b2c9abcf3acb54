"""docs/ as a site: built without a warning, whole, and asking nobody else for anything."""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FETCHED = {"src", "srcset", "poster", "data"}  # and what a <link> leads to


def build(root, site):
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", site],
        cwd=root,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


class Page(HTMLParser):
    """What a page leads to, and what a browser fetches to show it."""

    def __init__(self, path):
        super().__init__()
        self.path = path
        self.links = []
        self.fetched = []
        self.classes = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in FETCHED or (tag, name) == ("link", "href"):
                self.fetched.append(value)
            elif (tag, name) == ("a", "href"):
                self.links.append(value)
            elif name == "class":
                self.classes.update((value or "").split())

    def missing(self, links):
        """Give those that lead into the site, and to nothing in it."""
        paths = {link: urlsplit(link) for link in links}
        inside = {link: unquote(url.path) for link, url in paths.items() if not url.scheme}
        return [link for link, path in inside.items() if not (self.path.parent / path).exists()]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT, folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site):
    # The page for what is not there names its files from the root of the server.
    return [Page(path) for path in site.rglob("*.html") if path.name != "404.html"]


def test_every_page_of_docs_is_there_and_the_readme_comes_first(site):
    names = {page.stem for page in DOCS.glob("*.md")}

    assert [name for name in names if not (site / name / "index.html").exists()] == []
    assert "Point your service at it" in (site / "index.html").read_text()


def test_a_link_leads_to_what_is_there(pages):
    missing = {str(page.path): page.missing(page.links + page.fetched) for page in pages}

    assert {page: links for page, links in missing.items() if links} == {}


def test_nothing_is_fetched_from_elsewhere(site, pages):
    fetched = {link for page in pages for link in page.fetched}
    styles = "".join(path.read_text() for path in site.rglob("*.css"))

    assert [link for link in fetched if urlsplit(link).netloc] == []
    assert re.findall(r"(?:@import|url\()\s*['\"]?(?:https?:)?//", styles) == []
    # The theme's script would fetch what draws these.
    assert not any("mermaid" in page.classes for page in pages)


def test_a_diagram_is_drawn_while_the_site_is_built(site):
    told = sum(page.read_text().count("```mermaid") for page in DOCS.glob("*.md"))

    assert len(list(site.rglob("*.svg"))) == told > 0


def test_a_file_outside_docs_that_is_linked_has_a_page(site):
    assert "OPENAI_API_KEY" in (site / "config" / "proxy.yaml" / "index.html").read_text()
    assert 'href="outage.yaml/"' in (site / "config" / "scenarios" / "index.html").read_text()


def small(root, text):
    """Make a repository of one page beside its README."""
    shutil.copytree(ROOT / "docs", root / "docs", ignore=shutil.ignore_patterns("*.md", "images"))
    config = (ROOT / "mkdocs.yml").read_text()
    nav = "nav: [index.md, page.md]\n"
    (root / "mkdocs.yml").write_text(
        re.sub(r"^nav:\n.*\Z", nav, config, flags=re.MULTILINE | re.DOTALL)
    )
    (root / "README.md").write_text("# Read me\n\n[A page](docs/page.md)\n")
    (root / "docs" / "page.md").write_text(text)
    return build(root, root / "site")


def test_a_small_site_is_built(tmp_path):
    done = small(tmp_path, "# `a.<b>[]`\n\n[Here](#ab) and [first](../README.md#read-me)\n")

    assert done.returncode == 0, done.stderr
    assert 'href="../#read-me"' in (tmp_path / "site" / "page" / "index.html").read_text()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("# A page\n\n[gone](../config/gone.yaml)\n", "../config/gone.yaml"),
        ("# A page\n\n[nowhere](#nowhere)\n", "#nowhere"),
        ("# A page\n\n```mermaid\nflowchart\n  a -->\n```\n", "docs/page.md: Mermaid"),
    ],
)
def test_a_page_with_a_mistake_stops_the_build_and_is_named(tmp_path, text, told):
    done = small(tmp_path, text)

    assert done.returncode != 0
    assert "page.md" in done.stderr
    assert told in done.stderr
