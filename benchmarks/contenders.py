"""Who is compared: how each is started, at its leanest, and how it says its version.

Rule 1: every contender forwards everything to one upstream, keeps its connections to it, writes no
access log, and logs warnings at most.
Rule 2: who offers retries and the ejection of a failing upstream has them on, as we do.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent

ENVOY, CADDY, PORTKEY = "Envoy", "Caddy", "Portkey"


@dataclass(frozen=True)
class Contender:
    """A proxy. *command* gives how to start it, from a folder, its port and the upstream's."""

    name: str
    version: Callable[[], str | None]
    """None where it is not installed."""
    command: Callable[[Path, int, int], list[str]]
    prefix: str = ""
    """What goes before each path."""
    headers: Callable[[int], tuple[str, ...]] = lambda _: ()
    """The lines each request needs, given the upstream's port."""
    scenarios: tuple[str, ...] = ()
    """The keys of those it can take part in, where it is not all."""


def _of_program(name: str, *arguments: str) -> Callable[[], str | None]:
    def find() -> str | None:
        path = program(name)
        if path is None:
            return None
        done = subprocess.run(
            [path, *arguments], capture_output=True, text=True, check=False, cwd=ROOT
        )
        found = re.search(r"\d+\.\d+(\.\d+)?", done.stdout + done.stderr)
        return found[0] if found else "?"

    return find


def program(name: str) -> str | None:
    """Find a program: beside this interpreter, on the path, or where only root looks."""
    places = (str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin")
    return shutil.which(name, path=os.pathsep.join(places))


def _naive(folder: Path, port: int, upstream: int) -> list[str]:  # noqa: ARG001
    return [sys.executable, str(HERE / "naive.py"), str(port), str(upstream)]


OURS = """
version: 1
listen: {{port: {port}}}
admin: {{port: 0}}
log: {{level: warning, format: json}}
upstreams:
  up:
    kind: llm
    provider: openai
    url: "http://127.0.0.1:{upstream}"
    auth: {{header: Authorization, value: "Bearer sk-benchmark"}}
    limits: {{connections: 8192, pending: 8192}}
"""


def _ours(folder: Path, port: int, upstream: int) -> list[str]:
    config = folder / "proxy.yaml"
    config.write_text(OURS.format(port=port, upstream=upstream))
    return [sys.executable, "-m", "proxy", "serve", "-c", str(config)]


NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr warn;
worker_processes 1; worker_rlimit_nofile 65536;
events {{ worker_connections 32768; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream up {{ server 127.0.0.1:{upstream}; keepalive 8192; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    keepalive_requests 1000000000; client_max_body_size 0; client_body_buffer_size 2m;
    location / {{
      proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_next_upstream error timeout http_503 non_idempotent; proxy_next_upstream_tries 4;
    }}
    location ~ /(events|idle) {{
      proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_read_timeout 600s;
    }}
  }}
}}
"""


def _nginx(folder: Path, port: int, upstream: int) -> list[str]:
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, port=port, upstream=upstream))
    return [program("nginx") or "nginx", "-c", str(config), "-e", "stderr"]


HAPROXY = """
global
  nbthread 1
  maxconn 8000
  tune.bufsize 65536
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  http-reuse always
  option http-no-delay
  retries 3
  retry-on conn-failure empty-response 503
frontend in
  bind 127.0.0.1:{port} backlog 4096
  default_backend up
backend up
  option redispatch
  server up 127.0.0.1:{upstream} observe layer7 error-limit 50 on-error fastinter
"""


def _haproxy(folder: Path, port: int, upstream: int) -> list[str]:
    config = folder / "haproxy.cfg"
    config.write_text(HAPROXY.format(port=port, upstream=upstream))
    return [program("haproxy") or "haproxy", "-db", "-q", "-f", str(config)]


def _envoy(folder: Path, port: int, upstream: int) -> list[str]:
    def address(port: int) -> dict[str, object]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

    most = {"max_connections": 8192, "max_pending_requests": 8192, "max_requests": 8192}
    kind = "type.googleapis.com/envoy.extensions.filters"
    manager = {
        "@type": f"{kind}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "stream_idle_timeout": "600s",
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{kind}.http.router.v3.Router"},
            }
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [
                        {
                            "match": {"prefix": "/"},
                            "route": {
                                "cluster": "up",
                                "timeout": "600s",
                                "retry_policy": {
                                    "retry_on": "5xx,reset,connect-failure,retriable-4xx",
                                    "num_retries": 3,
                                },
                            },
                        }
                    ],
                }
            ]
        },
    }
    cluster = {
        "name": "up",
        "type": "STATIC",
        "connect_timeout": "5s",
        "outlier_detection": {"consecutive_5xx": 5, "base_ejection_time": "60s"},
        "circuit_breakers": {"thresholds": [{**most, "track_remaining": False}]},
        "load_assignment": {
            "cluster_name": "up",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(upstream)}}]}],
        },
    }
    listener = {
        "name": "in",
        "address": address(port),
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": manager,
                    }
                ]
            }
        ],
    }
    config = folder / "envoy.json"
    config.write_text(
        json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}})
    )
    return [
        *(program("envoy") or "envoy", "-c", str(config), "--concurrency", "1"),
        *("--disable-hot-restart", "-l", "warning"),
    ]


CADDYFILE = """
{{
  admin off
  auto_https off
  log {{
    level WARN
  }}
}}
http://127.0.0.1:{port} {{
  bind 127.0.0.1
  reverse_proxy 127.0.0.1:{upstream} {{
    lb_retries 3
    fail_duration 60s
    max_fails 5
    unhealthy_status 5xx
    transport http {{
      keepalive_idle_conns 8192
      keepalive_idle_conns_per_host 8192
    }}
  }}
}}
"""


def _caddy(folder: Path, port: int, upstream: int) -> list[str]:
    config = folder / "Caddyfile"
    config.write_text(CADDYFILE.format(port=port, upstream=upstream))
    return [program("caddy") or "caddy", "run", "--adapter", "caddyfile", "--config", str(config)]


def _portkey_program() -> Path | None:
    named = os.environ.get("PORTKEY_GATEWAY") or program("gateway")
    return Path(named).resolve() if named else None


def _portkey_version() -> str | None:
    script = _portkey_program()
    package = script.parent.parent / "package.json" if script else None
    if package is None or not package.is_file():
        return None
    about = json.loads(package.read_text())
    # Others, too, call a program "gateway".
    return str(about["version"]) if about.get("name") == "@portkey-ai/gateway" else None


def _portkey(folder: Path, port: int, upstream: int) -> list[str]:  # noqa: ARG001
    command = [str(_portkey_program()), "--headless", f"--port={port}"]
    return ["env", "NODE_ENV=production", *command]


def _portkey_headers(upstream: int) -> tuple[str, ...]:
    host = f"http://127.0.0.1:{upstream}/small"
    config = {"provider": "openai", "custom_host": host, "retry": {"attempts": 3}}
    return (f"x-portkey-config: {json.dumps(config)}",)


NAIVE = Contender("naive aiohttp", lambda: version("aiohttp"), _naive)
OCTOLLM = Contender(
    "octollm-proxy", _of_program(sys.executable, "-m", "proxy", "--version"), _ours, prefix="/up"
)

ALL = (
    NAIVE,
    OCTOLLM,
    Contender(ENVOY, _of_program("envoy", "--version"), _envoy),
    Contender(CADDY, _of_program("caddy", "version"), _caddy),
    Contender("HAProxy", _of_program("haproxy", "-v"), _haproxy),
    Contender("nginx", _of_program("nginx", "-v"), _nginx),
    Contender(
        PORTKEY,
        _portkey_version,
        _portkey,
        # A header tells it where to go; the query, which it ignores, takes the path. Streams, and
        # paths it only passes on, it answers with 500 (1.15.2 on Node 20: immutable headers).
        prefix="/v1/chat/completions?",
        headers=_portkey_headers,
        scenarios=("small-64", "small-1"),
    ),
)
