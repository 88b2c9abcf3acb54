"""The status page's files, and what a browser may do with them: nothing from anywhere else.

They are read once. Scripts and styles come from this listener alone, and no text ever becomes
markup: the page has no use for `innerHTML`, so browsers are told to refuse it (Trusted Types).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from aiohttp import web

PAGE: Final = Path(__file__).with_name("page")

TYPES: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types 'none'"
)


def routes() -> Iterator[web.RouteDef]:
    """Give the page at `/`, and the files it asks for beside it."""
    for file in sorted(PAGE.iterdir()):
        path = "/" if file.name == "index.html" else f"/page/{file.name}"
        yield _serving(path, file.read_bytes(), TYPES[file.suffix])


def _serving(path: str, body: bytes, content_type: str) -> web.RouteDef:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(
            body=body,
            content_type=content_type,
            charset="utf-8",
            headers={"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer"},
        )

    return web.get(path, handle)
