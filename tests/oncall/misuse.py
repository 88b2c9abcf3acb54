"""A proxy with a canary in every place where a secret can be, and calls that bring some more.

Each canary names the place it was put in, so that one that is found says where it has come from.
"""

import asyncio
import json
import re
import socket
from contextlib import asynccontextmanager

from e2e.support import answer, call, connect, proxied, request

from proxy.testing import script
from proxy.testing.script import Answer, event_stream, ok, reset, status
from proxy.testing.upstream import Upstream

CONFIG = """
version: 1
listen: {port: 0, token: canary-listen}
admin: {port: 0, token: canary-admin}
batch: {}
defaults:
  retry: {max_retries: 1, base_delay: 1ms, max_delay: 1ms}
  breaker: {failure_threshold: 1000, min_requests: 1000}
upstreams:
  openai:
    kind: llm
    provider: openai
    url: "${UP}"
    auth: {header: Authorization, value: Bearer canary-auth}
    headers: {set: {x-mine: canary-set}, remove: [x-theirs]}
    fallback: [{upstream: local, set: {user: canary-fallback}, path: /v1/other}]
  local: {kind: llm, provider: openai, url: "${UP}"}
  plain: {url: "${UP}", hedge: {delay: 1ms}}
  kept:
    url: "${UP}"
    cache: {ttl: 60s, stale_if_error: 1h, redis: "redis://canary-user:canary-redis@${REDIS}/0"}
  blocked: {url: "${UP}", guard: {pii: block}}
  marked: {url: "${UP}", guard: {pii: redact}}
  counted: {url: "${UP}", limits: {rate: {limit: 1, window: 1h}}}
  down: {url: "${UP}", breaker: {failure_threshold: 1}, retry: {max_retries: 0}}
  far: {url: "https://example.test", egress: "${UP}"}
  slow: {url: "${UP}", kind: vectordb, provider: qdrant, timeouts: {first_byte: 20ms}}
pools:
  chat: {members: [openai, local]}
shared: {redis: "redis://:canary-shared@${REDIS}/1"}
"""
TRACED = CONFIG + "tracing: {enabled: true}\n"

KEY = "sk-canary0123456789abcdefghij"
"""Looks like a key: where text is shown, only what looks like one can be known for one."""

CREDENTIALS = {
    "Proxy-Authorization": "Bearer canary-listen",
    "Authorization": "Bearer canary-authorization",
    "X-Api-Key": "canary-x-api-key",
    "Api-Key": "canary-api-key",
    "X-Goog-Api-Key": "canary-x-goog-api-key",
    "Cookie": "session=canary-cookie",
    "X-Mine": "canary-mine",
    "X-Theirs": "canary-theirs",
    "User-Agent": "canary-agent",
    "Referer": "http://canary-referer/",
    "Baggage": "user=canary-baggage",
}
QUERY = "?key=canary-key&token=canary-token&q=canary-query"
PROMPT = {
    "model": "m",
    "user": "canary-user-field",
    "messages": [{"role": "user", "content": f"canary-prompt of canary@example.com, {KEY}"}],
}
COMPLAINT = {
    "error": {
        "message": f"Incorrect API key provided: {KEY}; Authorization: Bearer canary-quoted;"
        " see https://me:canary-password@example.com/?token=canary-url",
        "type": "invalid_request_error",
        "code": KEY,
        "api_key": "canary-member",
        "headers": {"Cookie": "canary-member-cookie", "authorization": "Bearer canary-member-auth"},
        "echo": [{"url": f"/v1/x?key={KEY}"}],
    }
}
SAYS = {
    "x-debug": "canary-upstream-header",
    "set-cookie": "id=canary-upstream-cookie",
    "www-authenticate": 'Bearer realm="canary-upstream-realm"',
}

RELAYED = {"canary-answer", "canary-event"}
"""What an answer has brought to its caller, and nobody else, before it broke off."""

FOUND = re.compile(rb"(?:sk-)?canary[-\w]*")


def canaries(text: bytes) -> set[str]:
    return {one.decode() for one in FOUND.findall(text)}


@asynccontextmanager
async def misused(config: str = CONFIG):
    """Run the proxy, call it in every way, and give it with all that callers were answered."""
    async with Upstream() as upstream:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            redis = "{}:{}".format(*nobody.getsockname())
            async with proxied(config, up=upstream.url, redis=redis) as proxy:
                yield proxy, [told async for told in answers(proxy, upstream)]


def fails(code: int) -> Answer:
    return status(code, COMPLAINT, SAYS)


def says(what: str) -> dict:
    return {"error": {"message": f"no such key: {what}", "type": "authentication_error"}}


CALLS = {
    "repeating our key": ("openai", 502, [status(401, says("canary-auth"))] * 2),
    "repeating the caller's": (
        "local",
        401,
        [status(401, says("canary-authorization/canary-x-api-key"))],
    ),
    "repeating it in a stream": (
        "local",
        401,
        [event_stream([b"data: %b\n\n" % script.encoded(says("canary-authorization"))])],
    ),
    "good": ("openai", 200, [ok("fine", SAYS)]),
    "retried": ("openai", 200, [fails(500), ok("fine")]),
    "fallen back": ("openai", 200, [fails(500), fails(503), ok("fine")]),
    "failed with its fallback": ("openai", 502, [fails(500)] * 4),
    "failed": ("local", 502, [fails(500)] * 2),
    "failed with our key": ("openai", 502, [fails(401), fails(403)]),
    "the caller's fault": ("local", 401, [fails(401)]),
    "unreadable": ("plain", 502, [status(500, f"<h1>{KEY}</h1>", SAYS)] * 2),
    "in plain text": ("plain", 502, [status(500, f"cookie: canary-plain; key={KEY}")] * 2),
    "told to wait": ("plain", 429, [status(429, COMPLAINT, SAYS, retry_after=3600)]),
    "after the wait": ("plain", 429, []),
    "reset": ("local", 502, [reset()] * 2),
    "not HTTP": (
        "local",
        502,
        [script.send(b"HTTP/1.1 200 OK\r\ncanary-garbage\x01: a\r\n\r\n")] * 2,
    ),
    "cut": ("local", 200, [script.short("canary-answer")] * 2),
    "kept": ("kept", 200, [ok("fine", SAYS)]),
    "kept before": ("kept", 200, []),
    "blocked": ("blocked", 400, []),
    "marked": ("marked", 200, [ok("fine")]),
    "counted": ("counted", 200, [ok("fine")]),
    "one too many": ("counted", 429, []),
    "opening": ("down", 502, [fails(500)]),
    "rejected": ("down", 503, []),
    "no way out": (
        "far",
        502,
        [status(407, COMPLAINT, {**SAYS, "proxy-authenticate": "canary"})] * 2,
    ),
    "silent": ("slow", 504, [script.hang()] * 2),
    "by a pool": ("chat", 200, [fails(500), fails(500), ok("fine")]),
    "nobody's": ("canary-nobody", 404, []),
}
"""What happens, to whom, with what status in the end; and what the upstream answers."""


async def answers(proxy, upstream):
    """Make every call there is, one after the other; give what they are and what came back."""
    base = proxy.addresses[""]
    for what, (name, expected, said) in CALLS.items():
        tell(upstream, said)
        method = "GET" if name == "kept" else "POST"
        told = await ask(base, f"/{name}/v1/canary-path{QUERY}", method)
        assert told.status == expected, what
        yield what, told
    events = [b"data: {}\n\n", b"data: canary-event\n\n", b"data: [DONE]\n\n"]
    stream = event_stream(events, headers=SAYS)
    broken = b"data: %b\n\n" % json.dumps(COMPLAINT).encode()
    for what, said in {
        "streamed": stream,
        "streamed and cut": stream.until(2) + reset(),
        "streamed to an error": event_stream([events[0], broken], headers=SAYS),
    }.items():
        tell(upstream, [said])
        yield what, await ask(base, f"/local/v1/chat/completions{QUERY}", stream=True)
    tell(upstream, [ok("fine", SAYS), fails(400)])
    yield "a batch", await batch(base, "POST /local/v1/x", "GET /local/v1/y")
    yield "a bad batch", await batch(base, "CANARY-METHOD /local/v1/x", "GET canary-no-path")
    for what, head_ in MALFORMED.items():
        yield what, await raw(base, head_)
    yield "without a token", await call(base, f"/openai/v1/x{QUERY}", headers={"A": "canary-a"})
    async for told in orders(proxy.addresses["admin"]):
        yield told


def tell(upstream, said):
    """Let *upstream* answer so, and then well: what was left of another call's is forgotten."""
    left = iter(said)
    upstream.always(lambda _: next(left, ok("fine")))


async def ask(base, target, method="POST", **more):
    body = None if method == "GET" else json.dumps({**PROMPT, **more}).encode()
    fields = {**CREDENTIALS, "Content-Type": "application/json", "X-Request-ID": "fine"}
    return await call(base, target, method, body, fields)


async def batch(base, *items):
    asked = [
        {
            "id": f"{number}",
            "method": item.partition(" ")[0],
            "path": item.partition(" ")[2] + QUERY,
            "headers": {"X-Api-Key": "canary-item"},
            **({"body": PROMPT} if item.startswith("POST") else {}),
        }
        for number, item in enumerate(items)
    ]
    body = json.dumps({"requests": asked, "concurrency": 1}).encode()
    fields = {**CREDENTIALS, "Content-Type": "application/json"}
    return await call(base, "/-/batch", "POST", body, fields)


_FIELDS = b"".join(f"{name}: {value}\r\n".encode() for name, value in CREDENTIALS.items())
MALFORMED = {
    "no HTTP": b"canary-hello\r\n\r\n",
    "a bad field": b"GET /openai/x?key=canary-key HTTP/1.1\r\nHost: x\r\nX canary-bad: a\r\n%b\r\n"
    % _FIELDS,
    "a bad value": b"GET /openai/x HTTP/1.1\r\nHost: x\r\nAuthorization: canary\x01bad\r\n\r\n",
    "a bad length": b"POST /openai/x HTTP/1.1\r\nHost: x\r\nContent-Length: canary-no\r\n\r\n",
    "a bad chunk": b"POST /openai/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n%b\r\n"
    b"canary-chunk\r\n" % _FIELDS,
    "a tunnel": b"CONNECT canary-host:443 HTTP/1.1\r\nHost: x\r\n%b\r\n" % _FIELDS,
    "a wish": b"GET /local/x HTTP/1.1\r\nHost: x\r\nX-OctoLLM-Timeout: canary-wish\r\n%b\r\n"
    % _FIELDS,
    "a need": b"GET /chat/x HTTP/1.1\r\nHost: x\r\nX-Required-Capabilities: %b\r\n%b\r\n"
    % (KEY.encode(), _FIELDS),
    "too much": b"GET /openai/x HTTP/1.1\r\nHost: x\r\nX-Big: canary-big%b\r\n\r\n"
    % (b"x" * 70_000),
}


async def raw(base, data):
    reader, writer = await connect(base)
    try:
        writer.write(data)
        return await answer(reader)
    finally:
        writer.close()


async def orders(base):
    """Order what is allowed and what is not, in ways that are right and wrong."""
    reason = json.dumps({"reason": f"using {KEY}, password: canary-reason"}).encode()
    for token in ("canary-wrong", "canary-admin"):
        fields = {"Authorization": f"Bearer {token}", "User-Agent": "canary-agent"}
        for action, body, media in (
            ("release", reason, "application/json"),
            ("release", b'{"member": "canary-value"}', "application/json"),
            ("mode", b'{"reason": "x", "mode": "canary-mode"}', "application/json"),
            ("release", b"canary-text", "text/plain"),
            ("canary-action", reason, "application/json"),
        ):
            target = f"/api/v1/breakers/local/{action}{QUERY}"
            told = await call(base, target, "POST", body, {**fields, "Content-Type": media})
            yield f"{action} by {token}", told
    yield "bad at the admin's", await raw(base, MALFORMED["a bad field"])
    yield "no page", await call(base, f"/canary-page{QUERY}", headers=CREDENTIALS)


def pages(proxy):
    """Give every page of the admin listener that can be read to its end."""
    return sorted(
        {
            route.resource.canonical.replace("{name}", name)
            for route in proxy._admin.application().router.routes()
            if route.method == "GET" and not route.resource.canonical.endswith("/live")
            for name in proxy.config.upstreams
        }
    )


async def read(proxy, page, accept="*/*"):
    told = await call(proxy.addresses["admin"], page, headers={"Accept": accept})
    assert told.status == 200, page
    return repr(told.headers).encode() + told.body


async def listen(proxy):
    """Give the first of each topic of the live stream."""
    base = proxy.addresses["admin"]
    reader, writer = await connect(base)
    writer.write(request(base, "/api/v1/live"))
    told = b""
    async with asyncio.timeout(10):
        for topic in (b"event: state", b"event: series", b"event: timeline"):
            told += await reader.readuntil(topic)
        told += await reader.readuntil(b"\n\n")
    writer.close()
    return told
