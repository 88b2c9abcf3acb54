"""A proxy as a supervisor runs it: a process that is sent signals, and judged by how it ends."""

from clients.running import Served


class Running(Served):
    """A proxy whose end is the test's to bring about, and to judge."""

    @property
    def pid(self) -> int:
        return self._process.pid

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def ended(self) -> int:
        """Wait for its end, and give its exit code."""
        code = self._process.wait(10)
        self._reader.join()
        return code

    def __exit__(self, *exc: object) -> None:
        self._process.kill()  # nothing, where it has ended
        self.ended()
        assert self._process.stderr is not None
        self._process.stderr.close()
