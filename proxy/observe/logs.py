"""Log lines; the door to structlog and orjson, and the way in for every stdlib logger.

Rule 1: a key reaches a line only if `events` lists it, and text others wrote only scrubbed.
Rule 2: nothing is formatted for a level that is off, and nobody waits for a line to be written.
Until `configure` is called nothing is said at all, and structlog's own global settings are never
touched: in somebody else's process those are theirs.
"""

import atexit
import json
import logging
import os
from collections.abc import Callable
from typing import Any, BinaryIO, Literal, cast

import orjson
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor

from proxy.observe import events, scrub
from proxy.observe.sink import Sink

Level = Literal["debug", "info", "warning", "error", "critical"]
Format = Literal["auto", "json", "console"]

Log = FilteringBoundLogger
"""A logger as others see it: `log.warning(event, key=value)`."""

LEVELS: dict[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}
# structlog knows no level above it; what is left is formatted, and goes nowhere.
_SILENT = logging.CRITICAL
_FREE_TEXT = ("error", "message")


class _Pipeline:
    """What a line goes through, from the call to the sink."""

    def __init__(self, threshold: int, render: Processor, write: Callable[[bytes], None]) -> None:
        self.threshold = threshold
        self.wrapper = structlog.make_filtering_bound_logger(threshold)
        self.processors: list[Processor] = [
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _keep_known,
            _scrub_free_text,
            render,
        ]
        self.output = _Output(write)

    def logger(self, values: dict[str, Any]) -> Log:
        lazy = structlog.wrap_logger(
            self.output, processors=self.processors, wrapper_class=self.wrapper
        )
        return cast("Log", lazy.bind(**values))


class _Output:
    """The last logger in structlog's chain: whatever the level, a line is a line."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = write


def _write(line: bytes) -> None:
    """Hand a line to the sink of this moment, which may not be the one the logger began with."""
    if _sink is not None:
        _sink.write(line)


def _json(_: Any, __: str, line: EventDict) -> bytes:
    try:
        return orjson.dumps(line, default=str, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        # Half a surrogate pair, or an integer beyond 64 bits: a line must not cost a request.
        return json.dumps(line, default=str).encode() + b"\n"


def _console(colors: bool) -> Processor:
    renderer = structlog.dev.ConsoleRenderer(
        colors=colors, exception_formatter=structlog.dev.plain_traceback
    )

    def render(logger: Any, name: str, line: EventDict) -> bytes:
        return f"{renderer(logger, name, line)}\n".encode("utf-8", "replace")

    return render


def _keep_known(_: Any, __: str, line: EventDict) -> EventDict:
    kept = {"event": line["event"], "level": line["level"], "timestamp": line["timestamp"]}
    unsaid = []
    for key, value in line.items():
        if key in events.KEYS:
            kept[key] = value
        else:
            unsaid.append(key)
    if unsaid:
        kept["unsaid"] = unsaid
    return kept


def _scrub_free_text(_: Any, __: str, line: EventDict) -> EventDict:
    for key in _FREE_TEXT:
        if key in line:
            line[key] = scrub.scrub(str(line[key]))
    if "exception" in line:
        line["exception"] = scrub.redact(line["exception"])
    return line


class _Foreign(logging.Handler):
    """Hands what stdlib loggers (aiohttp's, asyncio's) say to the same renderer."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 -- a library's bad format string is not our caller's fault
            message = str(record.msg)
        # structlog takes only its own five levels; a library's own level is rounded down.
        level = max((n for n in LEVELS.values() if n <= record.levelno), default=logging.DEBUG)
        get(logger=record.name).log(
            level, "library.message", message=message, exc_info=record.exc_info
        )


_pipeline = _Pipeline(_SILENT, _json, _write)
_foreign = _Foreign()
_sink: Sink | None = None
_stream: BinaryIO | None = None


def configure(level: Level, format: Format, stream: BinaryIO) -> None:
    """Send lines of *level* and above to *stream*, from now until `close`.

    Called again, it changes level, form and stream; a logger given out before keeps level and form.
    *auto* is for people on a terminal, JSON otherwise; NO_COLOR is heeded (no-color.org).
    """
    global _pipeline, _sink, _stream  # noqa: PLW0603 -- a process has one log, as it has one stderr
    close()
    render = _renderer(format, stream)
    _stream = stream
    # Unbuffered where there is a choice: a thread stuck in a buffer's lock would make the
    # interpreter abort when it flushes the standard streams at its end.
    _sink = Sink(getattr(stream, "raw", stream), _confession(render))
    _pipeline = _Pipeline(LEVELS[level], render, _write)
    logging.root.addHandler(_foreign)
    logging.root.setLevel(LEVELS[level])
    atexit.register(close)


def change(level: Level, format: Format) -> None:
    """Go on at another level and in another form, to where lines go already, if anywhere.

    No line is lost and nobody waits; loggers given out before keep theirs, as with `configure`.
    """
    global _pipeline  # noqa: PLW0603
    if _stream is not None:
        _pipeline = _Pipeline(LEVELS[level], _renderer(format, _stream), _write)
        logging.root.setLevel(LEVELS[level])


def close() -> None:
    """Write what is waiting, and fall silent."""
    global _pipeline, _sink, _stream  # noqa: PLW0603
    if _sink is None:
        return
    atexit.unregister(close)
    logging.root.removeHandler(_foreign)
    logging.root.setLevel(logging.WARNING)
    _pipeline = _Pipeline(_SILENT, _json, _write)
    _sink.close()
    _sink = _stream = None


def get(**values: Any) -> Log:
    """Give a logger whose lines all carry *values*."""
    return _pipeline.logger(values)


def enabled(level: str) -> bool:
    """Tell whether lines of *level* are written; gather nothing for a line that is not."""
    return LEVELS[level] >= _pipeline.threshold


def _renderer(format: Format, stream: BinaryIO) -> Processor:
    terminal = stream.isatty()
    readable = format == "console" or (format == "auto" and terminal)
    return _console(terminal and not os.environ.get("NO_COLOR")) if readable else _json


def _confession(render: Processor) -> Callable[[int], bytes]:
    lines: list[bytes] = []
    log = _Pipeline(logging.WARNING, render, lines.append).logger({})

    def confess(count: int) -> bytes:
        log.warning("log.lost", count=count)
        return lines.pop()

    return confess
