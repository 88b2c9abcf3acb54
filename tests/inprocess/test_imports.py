"""Importing the policies into a service does not import a server."""

import json
import subprocess
import sys

FORBIDDEN = (
    "aiohttp", "aiohappyeyeballs", "uvloop", "prometheus_client", "structlog", "orjson", "click",
    "httpx", "requests", "openai",
    "proxy.wire", "proxy.gateway", "proxy.admin", "proxy.app", "proxy.cli", "proxy.testing",
)  # fmt: skip


def test_no_server_no_metrics_and_no_client_is_imported():
    program = "import proxy.inprocess, sys, json; print(json.dumps(sorted(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    loaded = json.loads(printed.stdout)
    assert "proxy.inprocess.call" in loaded
    assert [m for m in loaded if m.startswith(FORBIDDEN) and not m.startswith("requests_")] == []
