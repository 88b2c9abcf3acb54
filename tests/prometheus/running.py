"""A real Prometheus over a real proxy, which scrapes as fast as it can."""

import json
import math
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Self
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml
from prometheus.files import CONFIG, RULES

PATIENCE = 60


class Prometheus:
    """Debian's Prometheus with our own config but for its pace and its target."""

    def __init__(self, folder: Path, target: str) -> None:
        config = yaml.safe_load(CONFIG.read_text())
        config["global"] = {"scrape_interval": "200ms", "evaluation_interval": "200ms"}
        config["rule_files"] = [str(file) for file in RULES]
        config["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
        file = folder / "prometheus.yml"
        file.write_text(yaml.safe_dump(config))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = "127.0.0.1:{1}".format(*free.getsockname())
        self.url = f"http://{address}"
        self._command = [
            *("prometheus", f"--config.file={file}", f"--storage.tsdb.path={folder / 'tsdb'}"),
            f"--web.listen-address={address}",
        ]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stderr=subprocess.PIPE, text=True)
        said = self._read_until("Server is ready")
        assert any("Server is ready" in line for line in said), said
        self.began = time.time()
        # Nobody waits for the rest, but a full pipe would stop it.
        self._reader = threading.Thread(target=self._read_until, args=["\n\n"])
        self._reader.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._reader.join()
        assert self._process.stderr is not None
        self._process.stderr.close()

    def _read_until(self, wanted: str) -> list[str]:
        assert self._process.stderr is not None
        lines = []
        for line in self._process.stderr:
            lines.append(line)
            if wanted in line:
                break
        return lines

    def now(self, expression: str) -> list[float]:
        """Give the value of each series that *expression* has now."""
        found = self._ask("query", query=expression)
        return [float(series["value"][1]) for series in found]

    def since_its_start(self, expression: str) -> list[float]:
        """Give every finite value that *expression* had, of any series, each quarter of a second."""
        found = self._range(expression)
        values = [float(value) for series in found for _, value in series["values"]]
        return [value for value in values if math.isfinite(value)]

    def alerts(self) -> set[str]:
        """Give the names of the alerts that were pending or firing at some time."""
        return {series["metric"]["alertname"] for series in self._range("ALERTS")}

    def until(self, expression, meanwhile) -> None:
        """Do *meanwhile* again and again until *expression* has a series."""
        end = time.monotonic() + PATIENCE
        while not self.now(expression):
            assert time.monotonic() < end, expression
            meanwhile()

    def _range(self, expression: str) -> list[dict]:
        when = {"start": self.began, "end": time.time(), "step": 0.25}
        return self._ask("query_range", query=expression, **when)

    def _ask(self, kind: str, **words: object) -> list[dict]:
        with urlopen(f"{self.url}/api/v1/{kind}", urlencode(words).encode()) as answer:
            return json.load(answer)["data"]["result"]
