"""One script of requests, sent through this proxy, nginx and Envoy to one recording upstream.

What the upstream saw and what the caller got is brought to one line each, so that the three can be
laid side by side. Who adds which header of its own is left out: only what was sent is followed.
"""

import asyncio
import contextlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from exactness.asking import CHUNKS, SMUGGLED, head
from exactness.readers import answers

GET = b"GET /up/x HTTP/1.1"
OLD = b"GET /up/x HTTP/1.0"

SCRIPT: dict[str, bytes] = {
    "a plain request": head(start=GET),
    "two pipelined": head(start=GET) + SMUGGLED,
    "chunks": head(b"Transfer-Encoding: chunked") + CHUNKS,
    "chunks with an extension": head(b"Transfer-Encoding: chunked") + b"5;a=b\r\nhello\r\n0\r\n\r\n",
    "chunks with a trailer": head(b"Transfer-Encoding: chunked", b"Trailer: X-T") + CHUNKS[:-2] + b"X-T: y\r\n\r\n",
    "a request right behind chunks": head(b"Transfer-Encoding: chunked") + CHUNKS + SMUGGLED,
    "a length and chunks": head(b"Content-Length: 5", b"Transfer-Encoding: chunked") + CHUNKS,
    "a length twice, alike": head(b"Content-Length: 5", b"Content-Length: 5") + b"hello",
    "a length twice, not alike": head(b"Content-Length: 5", b"Content-Length: 4") + b"hello",
    "a length with a sign": head(b"Content-Length: +5") + b"hello",
    "a coding that is unknown": head(b"Transfer-Encoding: gzip, chunked") + CHUNKS,
    "a coding with a tab": head(b"Transfer-Encoding: chunked\t") + CHUNKS,
    "chunks in HTTP/1.0": head(b"Transfer-Encoding: chunked", start=b"POST /up/x HTTP/1.0") + CHUNKS,
    "HTTP/1.0": head(start=OLD),
    "HTTP/1.2": head(start=b"GET /up/x HTTP/1.2"),
    "HTTP/2.0": head(start=b"GET /up/x HTTP/2.0"),
    "a bare LF": b"GET /up/x HTTP/1.1\nHost: x\n\n",
    "a folded field": head(b"X-A: b\r\n c", start=GET),
    "a space before the colon": head(b"X-A : b", start=GET),
    "a name with an underscore": head(b"X_A: b", start=GET),
    "NUL in a value": head(b"X-A: b\0c", start=GET),
    "a control character in a value": head(b"X-A: b\x01c", start=GET),
    "bytes beyond ASCII in a value": head(b"X-A: \xe9", start=GET),
    "an empty value": head(b"X-A:", start=GET),
    "a field twice": head(b"X-A: b", b"x-a: c", start=GET),
    "no Host": head(start=GET, host=b""),
    "Host twice": head(b"Host: y", start=GET),
    "TE": head(b"TE: trailers", start=GET),
    "a field named by Connection": head(b"Connection: X-A", b"X-A: b", start=GET),
    "Keep-Alive": head(b"Keep-Alive: timeout=5", start=GET),
    "Proxy-Connection": head(b"Proxy-Connection: keep-alive", start=GET),
    "Upgrade": head(b"Connection: Upgrade", b"Upgrade: h2c", start=GET),
    "Expect": head(b"Expect: 100-continue", b"Content-Length: 5") + b"hello",
    "an unknown Expect": head(b"Expect: y", start=GET),
    "absolute-form": head(start=b"GET http://evil.example/up/x HTTP/1.1"),
    "two slashes": head(start=b"GET /up//x HTTP/1.1"),
    "dot segments": head(start=b"GET /up/a/../x HTTP/1.1"),
    "encoded dot segments": head(start=b"GET /up/a/%2e%2e/x HTTP/1.1"),
    "an encoded slash": head(start=b"GET /up/a%2Fx HTTP/1.1"),
    "an encoded NUL": head(start=b"GET /up/a%00x HTTP/1.1"),
    "a percent sign alone": head(start=b"GET /up/a%x HTTP/1.1"),
    "a backslash": head(start=b"GET /up/a\\x HTTP/1.1"),
    "a fragment": head(start=b"GET /up/x#y HTTP/1.1"),
    "a query": head(start=b"GET /up/x?y=%20&z=/../ HTTP/1.1"),
    "a GET with a body": head(b"Content-Length: 5", start=GET) + b"hello",
    "HEAD": head(start=b"HEAD /up/x HTTP/1.1"),
    "TRACE": head(start=b"TRACE /up/x HTTP/1.1"),
    "CONNECT": head(start=b"CONNECT x:80 HTTP/1.1"),
    "OPTIONS *": head(start=b"OPTIONS * HTTP/1.1"),
    "an unknown method": head(start=b"BREW /up/x HTTP/1.1"),
}  # fmt: skip

_FOLLOWED = {
    *(b"x-a", b"x_a", b"te", b"trailer", b"transfer-encoding", b"content-length", b"upgrade"),
    *(b"keep-alive", b"proxy-connection", b"expect", b"http2-settings"),
}


class Found(NamedTuple):
    """What one request led to, a line each."""

    upstream: str
    caller: str


class Recorder:
    """An upstream that keeps the bytes of each connection, and answers every request with ok."""

    def __init__(self) -> None:
        self.raw: list[bytearray] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kept = bytearray()
        self.raw.append(kept)
        answered = 0
        try:
            while data := await reader.read(65536):
                kept += data
                done = summaries(bytes(kept))
                for line in done[answered:]:
                    mute = line.startswith("HEAD ")
                    writer.write(
                        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + b"ok"[: 0 if mute else 2]
                    )
                answered = len(done)
        except ConnectionError:
            pass
        finally:
            writer.close()


def summaries(raw: bytes) -> list[str]:
    """Tell each whole request in *raw*: start line, the fields that are followed, body."""
    found = []
    while b"\r\n\r\n" in raw:
        first, *lines = raw.partition(b"\r\n\r\n")[0].split(b"\r\n")
        raw = raw.partition(b"\r\n\r\n")[2]
        fields = [line.partition(b":") for line in lines]
        kept = [
            b"%b: %b" % (name.lower(), value.strip())
            for name, _, value in fields
            if name.lower() in _FOLLOWED
        ]
        body = b""
        if any(line == b"transfer-encoding: chunked" for line in kept):
            chunks = re.match(
                rb"((?:[0-9a-f]+[^\r]*\r\n.*?\r\n)*?)(0[^\r]*\r\n(?:[^\r]+\r\n)*\r\n)",
                raw,
                re.DOTALL,
            )
            if chunks is None:
                break
            body, raw = chunks[0], raw[chunks.end() :]
        elif length := next(
            (int(line[16:]) for line in kept if line.startswith(b"content-length: ")), 0
        ):
            if len(raw) < length:
                break
            body, raw = raw[:length], raw[length:]
        text = first.decode("latin-1") + "".join(
            f"; {line.decode('latin-1')}" for line in sorted(kept)
        )
        found.append(text + (f"; body {body!r}" if body else ""))
    return found


async def ask(port: int, raw: bytes) -> str:
    """Send *raw*, and tell the statuses that came back."""
    method = raw.partition(b" ")[0].decode("latin-1")
    expected = 1 + raw.endswith(SMUGGLED)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    said = bytearray()
    told: list[str] = []
    try:
        async with asyncio.timeout(5):
            while len(told) < expected and (data := await reader.read(65536)):
                said += data
                with contextlib.suppress(ValueError):  # half a head
                    told = [str(each.status) for each in answers(bytes(said), method)]
    except (TimeoutError, ConnectionResetError):
        pass
    finally:
        writer.close()
    return ", ".join([*["100"] * said.count(b"HTTP/1.1 100 "), *told] or ["nothing"])


async def play(port: int, recorder: Recorder) -> dict[str, Found]:
    """Send the script through the proxy at *port*, one request after the other."""
    found = {}
    for name, raw in SCRIPT.items():
        before = [len(kept) for kept in recorder.raw]
        caller = await ask(port, raw)
        seen = []
        for number, kept in enumerate(recorder.raw):
            new = bytes(kept[before[number] if number < len(before) else 0 :])
            seen += summaries(new) or (["a part of it"] if new else [])
        found[name] = Found(" / ".join(seen) or "nothing", caller)
    return found


OURS = """
version: 1
listen: {{port: {port}}}
admin: {{port: 0}}
log: {{level: error, format: json}}
upstreams:
  up: {{url: "http://127.0.0.1:{upstream}/up", retry: {{max_retries: 0}}}}
"""

NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log crit;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream up {{ server 127.0.0.1:{upstream}; keepalive 8; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_request_buffering off; proxy_next_upstream off;
    }}
  }}
}}
"""


def _ours(folder: Path, port: int, upstream: int) -> list[str]:
    (folder / "proxy.yaml").write_text(OURS.format(port=port, upstream=upstream))
    return [sys.executable, "-m", "proxy", "serve", "-c", str(folder / "proxy.yaml")]


def _nginx(folder: Path, port: int, upstream: int) -> list[str]:
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, upstream=upstream))
    return [program("nginx") or "", "-c", str(folder / "nginx.conf"), "-e", "stderr"]


def _envoy(folder: Path, port: int, upstream: int) -> list[str]:
    def address(port: int) -> dict[str, object]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

    kind = "type.googleapis.com/envoy.extensions.filters"
    router = {"name": "router", "typed_config": {"@type": f"{kind}.http.router.v3.Router"}}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "up"}}
    manager = {
        "@type": f"{kind}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "http_filters": [router],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
    }
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    cluster = {
        "name": "up",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "up",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(upstream)}}]}],
        },
    }
    listener = {"name": "in", "address": address(port), "filter_chains": [chain]}
    config = {"static_resources": {"listeners": [listener], "clusters": [cluster]}}
    (folder / "envoy.json").write_text(json.dumps(config))
    options = ("--concurrency", "1", "--disable-hot-restart", "-l", "critical")
    return [program("envoy") or "", "-c", str(folder / "envoy.json"), *options]


COMMANDS: dict[str, Callable[[Path, int, int], list[str]]] = {
    "octollm-proxy": _ours,
    "nginx": _nginx,
    "Envoy": _envoy,
}


def program(name: str) -> str | None:
    """Find a program: beside this interpreter, on the path, or where only root looks."""
    beside = Path(sys.executable).parent / name
    return (
        str(beside) if beside.exists() else shutil.which(name) or shutil.which(f"/usr/sbin/{name}")
    )


def version(name: str) -> str | None:
    """Tell which version of another proxy is installed; None where it is not."""
    path = program(name.lower())
    if path is None:
        return None
    flag = "-v" if name == "nginx" else "--version"
    said = subprocess.run([path, flag], capture_output=True, text=True, check=False)
    found = re.search(r"[/ ](\d+\.\d+\.\d+)", said.stdout + said.stderr)
    return found[1] if found else None


@asynccontextmanager
async def running(name: str, folder: Path, upstream: int) -> AsyncIterator[int]:
    """Run a proxy in front of *upstream*, and give its port."""
    probe = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = probe.sockets[0].getsockname()[1]
    probe.close()
    await probe.wait_closed()
    process = await asyncio.create_subprocess_exec(
        *COMMANDS[name](folder, port, upstream), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(20):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                except OSError:
                    assert process.returncode is None, f"{name} does not start"
                    await asyncio.sleep(0.05)
        yield port
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def findings(name: str, folder: Path) -> dict[str, Found]:
    """Play the script through the proxy *name*, with an upstream of its own."""
    recorder = Recorder()
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        await recorder.serve(reader, writer)

    listener = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        async with running(name, folder, listener.sockets[0].getsockname()[1]) as port:
            return await play(port, recorder)
    finally:
        listener.close()
        await asyncio.gather(*tasks, return_exceptions=True)


# Why we differ from either of the others, or both.
REASONS = {
    "chunks": "nginx collects a body and gives it a length; we stream it",
    "chunks with an extension": "as above; an extension ends with its hop in all three",
    "chunks with a trailer": "the parser drops trailers, so nobody is promised any; the others drop them too, and promise",
    "a request right behind chunks": "our parser would put a trailer at the top of the next head, so a connection on which one is already here ends; the caller sends it again",
    "a coding with a tab": "no list of codings that a strict server would take; Envoy strips the tab",
    "chunks in HTTP/1.0": "Envoy is not told to take HTTP/1.0",
    "HTTP/1.0": "Envoy is not told to take HTTP/1.0",
    "HTTP/1.2": "there is none; nginx takes any 1.x",
    "HTTP/2.0": "Envoy is not told to take anything but HTTP/1.1",
    "a bare LF": "RFC 9112 2.2 lets a server take it, and smuggling lives on who does",
    "a folded field": "RFC 9112 5.2 lets a server refuse it; Envoy unfolds it",
    "a name with an underscore": "CGI and WSGI read X_A as X-A; nginx drops the field without a word, Envoy passes it",
    "a control character in a value": "RFC 9110 5.5 calls it invalid; nginx passes it",
    "Host twice": "RFC 9112 3.2 asks for 400",
    "TE": "trailers are dropped, so we do not ask for them",
    "a field named by Connection": "RFC 9110 7.6.1 asks for its removal; nginx passes it",
    "Proxy-Connection": "it belongs to no hop but the caller's; nginx passes it",
    "Expect": "the upstream is the one to say 100; the others say it themselves",
    "an unknown Expect": "417 says at once what an upstream might not; the others pass it",
    "dot segments": "servers disagree where they lead; refused, never resolved, so that the base path holds",
    "encoded dot segments": "as above",
    "an encoded NUL": "it cuts a path short in some servers; Envoy passes it",
    "a percent sign alone": "the path is the upstream's to judge; nginx has to decode it to find a location",
    "a backslash": "some servers take it for a slash; the others pass it",
    "a fragment": "it is no part of a target; nginx passes it",
    "TRACE": "the echo would show our key; 501 as for every method that is not served",
    "CONNECT": "no tunnel is offered; 501 where nginx says 400 and Envoy finds no route",
    "OPTIONS *": "it names no upstream; the status is a matter of taste",
    "an unknown method": "the parser knows the registered methods; so does Envoy's",
}


def cell(found: Found, ours: Found | None) -> str:
    """Write one finding for the table: what the caller got, and what the upstream saw."""
    if found == ours:
        return "the same"
    if found.upstream == "nothing":
        return found.caller
    seen = found.upstream.replace("|", "\\|").replace("`", "'").replace(" HTTP/1.1", "")
    return f"{found.caller}: `{seen}`"


def table(found: dict[str, dict[str, Found]]) -> str:
    """Draw the table of every request on which the proxies differ, ours first."""
    ours, *others = found
    lines = [f"| sent | {' | '.join(found)} | why |", "|---" * (len(found) + 2) + "|"]
    for name, mine in found[ours].items():
        if any(found[other][name] != mine for other in others):
            cells = [cell(mine, None), *(cell(found[other][name], mine) for other in others)]
            lines.append(f"| {name} | {' | '.join(cells)} | {REASONS.get(name, '')} |")
    return "\n".join(lines)
