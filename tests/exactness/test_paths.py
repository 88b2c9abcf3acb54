"""No trick in a path, a query or an authority leads out of the configured base path."""

from urllib.parse import unquote_to_bytes

import pytest
from e2e.support import connect, proxied
from exactness.readers import answers, strict

SEGMENTS = [
    b"..", b".", b"%2e%2e", b"%2E%2e", b".%2e", b"%2e.", b"%2e", b"..;", b"..;x=y", b".;", b"%2e%2e;",
    b"..%00", b"..%20", b"..%09", b"%252e%252e", b"..%252f", b"..%5c", b"..\\", b"\\..", b"%5c..",
    b"%5C%2e%2e", b"..%2f", b"%2f..", b"%2e%2e%2f", b"..%2F..", b"%00", b"%c0%ae%c0%ae", b"%c0%af",
    b"%u002e%u002e", b"...", b"....", b"..%c0%af", b"%ef%bc%8e%ef%bc%8e", b"~", b"%7e", b";", b"*",
]  # fmt: skip

TARGETS = [
    *(b"/up/" + s + b"/secret" for s in SEGMENTS),
    *(b"/up/x/" + s + b"/" + s + b"/" + s + b"/secret" for s in SEGMENTS),
    *(b"/up/" + s for s in SEGMENTS),
    *(b"/" + s + b"/up/secret" for s in SEGMENTS),
    *(b"/up" + s + b"/secret" for s in SEGMENTS),
    *(b"/up//" + s + b"/secret" for s in SEGMENTS),
    b"//evil.example/up/secret",
    b"/\\evil.example/up/secret",
    b"/up@evil.example/secret",
    b"/up:80@evil.example/secret",
    b"/up//evil.example/secret",
    b"/up/@evil.example/secret",
    b"/up/http://evil.example/secret",
    b"http://evil.example/up/secret",
    b"http://evil.example@x/up/secret",
    b"HTTP://evil.example:1/up/../secret",
    b"https://evil.example/up/x",
    b"http://evil.example",
    b"http://evil.example?/up/x",
    b"http://evil.example\\@x/up/x",
    b"http:///up/x",
    b"evil.example:80",
    b"/up?x=/../../secret",
    b"/up/?../../secret",
    b"/up/x?y=%2e%2e%2f&z=http://evil.example",
    b"/up/x;/../y",
    b"/up/x%23/../secret",
    b"/up/x%3f/../secret",
    b"/%75%70/secret",
    b"/UP/secret",
    b"/up%2fsecret",
    b"/up;x/secret",
    b"/-/secret",
]


def leads_to(path):
    """Where a server that decodes once or not at all, and then cleans up, would find *path*."""
    for text in (path, unquote_to_bytes(path), path.replace(b"\\", b"/"), unquote_to_bytes(path).replace(b"\\", b"/")):  # fmt: skip
        for cut in (text, text.partition(b"\0")[0]):
            kept = []
            for segment in (s.partition(b";")[0] for s in cut.split(b"/")):
                if segment == b"..":
                    del kept[-1:]
                elif segment not in (b"", b"."):
                    kept.append(segment)
            yield b"/" + b"/".join(kept)


@pytest.mark.parametrize("target", TARGETS)
async def test_no_target_leaves_the_base_path_or_the_upstream(target):
    async with strict() as (url, upstream), strict() as (other, elsewhere):
        text = """
version: 1
listen: {port: 0}
admin: {port: 0}
upstreams:
  up: {url: "${UP}/base/v1"}
  secret: {url: "${OTHER}"}
"""
        async with proxied(text, up=url, other=other) as proxy:
            reader, writer = await connect(proxy.addresses[""])
            writer.write(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            [told] = answers(await reader.read())
            writer.close()

    assert list(elsewhere.seen) + elsewhere.faults + upstream.faults == []
    if told.status == 200:
        [seen] = upstream.seen
        path = seen.target.partition("?")[0].encode()
        assert seen.header("host") == url.removeprefix("http://")
        assert all(
            place == b"/base/v1" or place.startswith(b"/base/v1/") for place in leads_to(path)
        )
    else:
        assert told.status in (400, 404)
        assert b"evil" not in told.body
        assert list(upstream.seen) == []
