"""A real Redis on a Unix socket, which can be killed, stopped and started again."""

import shutil
import signal
import subprocess
import tempfile

import pytest

needs_redis = pytest.mark.skipif(
    shutil.which("redis-server") is None, reason="redis-server is not installed"
)


class Server:
    """A redis-server that keeps nothing; not running until `start`."""

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory()  # a short path: those of sockets are limited
        self._path = f"{self._folder.name}/redis"
        self._process = None
        self.url = f"unix://{self._path}"

    def start(self):
        self._process = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", self._path, "--save", ""],
            stdout=subprocess.PIPE,
            text=True,
            cwd=self._folder.name,
        )
        log = iter(self._process.stdout)
        assert any("ready to accept connections" in line.lower() for line in log)

    def kill(self):
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def hang(self):
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.kill()
        self._folder.cleanup()
