"""The pages of docs/ as the site has them, where that differs from GitHub: hooks of MkDocs.

Pages are written for the repository. There they lead to its files (`../config/proxy.yaml`), their
anchors are GitHub's, and GitHub draws their diagrams. Here the README becomes the first page, what
is linked becomes a page that shows it, anchors are named as GitHub names them, and diagrams are
drawn while the site is built, so that no reader has to fetch what draws them.

It knows paths, links and fences, and nothing of what a page says.
"""  # noqa: INP001 -- beside the pages it is for, and no package

import posixpath
import re
from pathlib import Path

import mermaidx  # type: ignore[import-untyped]
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
DOCS = "docs/"

_LINK = re.compile(r"(?<=\]\()(?!\w+:)[^)#\s]+")
_DIAGRAM = re.compile(r"^```mermaid\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LANGUAGES = {".json": "json", ".yaml": "yaml", ".yml": "yaml"}


def on_config(config: MkDocsConfig) -> None:
    config.mdx_configs.setdefault("toc", {})["slugify"] = _anchor


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the README, what any page leads to, what that leads to, and so on."""
    sources = ["README.md", *(DOCS + page.src_uri for page in files.documentation_pages())]
    for source in sources:
        shown = _shown(source)
        if not source.startswith(DOCS):
            files.append(_generated(config, _place(source), shown))
        reached = {target for link in _LINK.findall(shown) if (target := _target(link, source))}
        sources += sorted(t for t in reached - {*sources} if not t.startswith(DOCS))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead its links to where the site has what they lead to, and draw its diagrams."""
    here = page.file.src_uri
    source = _source(here)

    def led(link: re.Match[str]) -> str:
        target = _target(link[0], source)
        return posixpath.relpath(_place(target), posixpath.dirname(here)) if target else link[0]

    def drawn(diagram: re.Match[str]) -> str:
        name = f"{here.removesuffix('.md')}-{diagram.start()}.svg"
        try:
            files.append(_generated(config, name, mermaidx.render(diagram[1]).svg()))
        except RuntimeError as error:
            raise PluginError(f"{source}: {error}") from error
        return f'![Diagram]({posixpath.basename(name)}){{ style="background: white" }}'

    return _DIAGRAM.sub(drawn, _LINK.sub(led, markdown))


def _anchor(heading: str, _separator: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _generated(config: MkDocsConfig, place: str, content: str) -> File:
    inclusion = InclusionLevel.NOT_IN_NAV  # unless the nav names it
    return File.generated(config, place, content=content, inclusion=inclusion)


def _target(link: str, source: str) -> str | None:
    """Give the path from the root that a link of *source* leads to, or None if nothing is there."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    return path if (ROOT / path).exists() else None


def _place(source: str) -> str:
    """Say where the site has a file of the repository."""
    if source.startswith(DOCS):
        return source.removeprefix(DOCS)
    if source == "README.md":
        return "index.md"
    return source if source.endswith(".md") else f"{source}.md"


def _source(place: str) -> str:
    """Say which file of the repository a page is, or shows."""
    if place == "index.md":
        return "README.md"
    return DOCS + place if (ROOT / DOCS / place).exists() else place


def _shown(source: str) -> str:
    """Give a page's own text, or a page that shows a file, or leads to all in a folder."""
    path = ROOT / source
    if path.suffix == ".md":
        return path.read_text()
    if path.is_dir():
        inside = sorted(
            child for child in path.iterdir() if child.is_dir() or child.suffix in _LANGUAGES
        )
        shown = "\n".join(f"- [{child.name}]({path.name}/{child.name})" for child in inside)
    else:
        shown = f"```{_LANGUAGES.get(path.suffix, 'text')}\n{path.read_text()}```"
    return f"---\nsearch: {{exclude: true}}\n---\n\n# {source}\n\n{shown}\n"
