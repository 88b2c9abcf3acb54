import ast
import asyncio
import io
import json
import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.observe import events, logs
from proxy.observe.rejecting import Rejecting

DOCS = Path(__file__).parents[2] / "docs" / "logs.md"


def broken(message: str) -> Exception:
    """An exception that has been raised, so that it has a trace."""

    def fail() -> None:
        raise RuntimeError(message)

    with pytest.raises(RuntimeError) as caught:
        fail()
    return caught.value


class Terminal(io.BytesIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def stream():
    yield io.BytesIO()
    logs.close()


def told(stream: io.BytesIO) -> list[dict]:
    logs.close()
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_says_first_what_happened(stream):
    logs.configure("info", "auto", stream)
    logs.get(upstream="openai").bind(request_id="r1").info("request.completed", status=200)
    (line,) = told(stream)

    assert list(line) == ["event", "level", "timestamp", "upstream", "request_id", "status"]
    assert line["event"] == "request.completed"
    assert line["level"] == "info"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line["timestamp"])


def test_a_key_that_is_not_in_the_table_is_left_out_and_named(stream):
    logs.configure("info", "json", stream)
    logs.get().info("request.completed", status=200, authorization="Bearer canary")
    (line,) = told(stream)

    assert line["unsaid"] == ["authorization"]
    assert b"canary" not in stream.getvalue()


def test_what_others_wrote_is_scrubbed(stream):
    logs.configure("info", "json", stream)
    logs.get().warning("request.failed", error="Incorrect key: sk-0123456789abc\n")
    (line,) = told(stream)

    assert line["error"] == "Incorrect key: [removed]"


def test_a_fault_of_our_own_has_its_trace_without_credentials(stream):
    logs.configure("info", "json", stream)
    fault = broken("cannot call https://me:canary@h.example/x?key=canary")
    logs.get().critical("request.failed", exc_info=fault)
    (line,) = told(stream)

    assert line["level"] == "critical"
    assert "Traceback" in line["exception"]
    assert "RuntimeError: cannot call https://h.example/x" in line["exception"]
    assert b"canary" not in stream.getvalue()


def test_levels_that_are_off_say_nothing(stream):
    logs.configure("warning", "json", stream)
    log = logs.get()
    log.info("request.completed")
    log.warning("request.failed")

    assert (logs.enabled("info"), logs.enabled("warning")) == (False, True)
    assert [line["event"] for line in told(stream)] == ["request.failed"]


def test_nothing_is_said_before_anybody_says_where_to(capfd):
    logs.get().critical("request.failed")

    assert not logs.enabled("error")
    assert capfd.readouterr() == ("", "")


def test_configuring_again_changes_where_lines_go_for_those_who_had_a_logger(stream):
    logs.configure("info", "json", stream)
    log = logs.get()
    log.info("proxy.started")
    second = io.BytesIO()
    logs.configure("debug", "json", second)
    log.info("proxy.stopped")
    logs.close()
    log.info("proxy.draining")

    assert b"proxy.started" in stream.getvalue()
    assert b"proxy.stopped" in second.getvalue()
    assert b"proxy.draining" not in stream.getvalue() + second.getvalue()


@pytest.mark.parametrize("value", ["\ud800", 2**80, {1: "x"}, object(), b"x"])
def test_no_value_costs_a_request(stream, value):
    logs.configure("info", "json", stream)
    logs.get().info("config.rejected", problems=value)

    assert len(told(stream)) == 1


def test_a_person_at_a_terminal_gets_lines_for_people(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    logs.configure("info", "auto", stream)
    logs.get(upstream="openai").error("request.failed", exc_info=broken("oh"), error="\ud800x")
    logs.close()
    text = stream.getvalue().decode()

    assert "\x1b[" in text
    assert "request.failed" in text
    assert "RuntimeError: oh" in text
    assert not text.startswith("{")


def test_no_color_is_heeded(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    logs.configure("info", "auto", stream)
    logs.get().info("proxy.started")
    logs.close()

    assert b"\x1b[" not in stream.getvalue()


def test_libraries_speak_through_the_same_renderer(stream):
    logs.configure("info", "json", stream)
    logging.getLogger("aiohttp.server").warning("bad token %s", "sk-0123456789abc")
    logging.getLogger("asyncio").debug("not told")
    logging.getLogger("asyncio").log(35, "a level of its own")
    logging.getLogger("asyncio").error("it broke", exc_info=broken("oh"))
    lines = told(stream)

    assert {line["event"] for line in lines} == {"library.message"}
    assert [(line["logger"], line["level"], line["message"]) for line in lines] == [
        ("aiohttp.server", "warning", "bad token [removed]"),
        ("asyncio", "warning", "a level of its own"),
        ("asyncio", "error", "it broke"),
    ]
    assert "RuntimeError: oh" in lines[2]["exception"]


def test_a_library_that_formats_badly_is_heard_all_the_same(stream):
    logs.configure("info", "json", stream)
    # Not through a logger: pytest's own handler would raise.
    logs._foreign.handle(
        logging.LogRecord("asyncio", logging.ERROR, "", 0, "badly %d formatted", ("x",), None)
    )

    assert told(stream)[0]["message"] == "badly %d formatted"


def test_a_library_with_a_level_below_debug_is_heard_at_debug(stream):
    logs.configure("debug", "json", stream)
    chatty = logging.getLogger("chatty")
    chatty.setLevel(1)
    chatty.log(5, "psst")

    assert told(stream)[-1]["level"] == "debug"


def test_lines_that_were_lost_are_owned_up_to(stream):
    logs.configure("info", "json", stream)
    logs._sink._lost = 3
    logs.get().info("proxy.started")
    lines = told(stream)

    assert [(line["event"], line.get("count")) for line in lines] == [
        ("proxy.started", None),
        ("log.lost", 3),
    ]


def test_the_last_lines_of_a_process_are_written():
    program = (
        "import sys; from proxy.observe import logs;"
        "logs.configure('info', 'json', sys.stderr.buffer); logs.get().info('proxy.stopped')"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    assert json.loads(run.stderr)["event"] == "proxy.stopped"


def test_the_documentation_has_the_tables():
    assert events.table() in DOCS.read_text()


def test_every_key_the_contract_promises_may_be_said():
    promised = (
        "event level timestamp request_id upstream method status code attempts duration_ms "
        "upstream_ms outcome upstream_request_id"
    )
    assert set(promised.split()) <= events.KEYS.keys()


def test_every_line_in_the_code_is_an_event_with_keys_of_the_table():
    for file in (Path(logs.__file__).parents[1]).rglob("*.py"):
        for call in ast.walk(ast.parse(file.read_text())):
            match call:
                case ast.Call(
                    func=ast.Attribute(attr="debug" | "info" | "warning" | "error" | "critical"),
                    args=[ast.Constant(value=str(event)), *_],
                    keywords=keywords,
                ):
                    keys = {keyword.arg for keyword in keywords} - {None, "exc_info"}
                    assert event in events.EVENTS, f"{file.name}: {event}"
                    assert keys <= events.KEYS.keys(), f"{file.name}: {event} {keys}"


async def test_rejections_are_one_line_a_second_with_their_count(stream):
    logs.configure("info", "json", stream)
    rejecting = Rejecting(logs.get(upstream="openai"), "breaker.rejecting")
    for _ in range(10):
        rejecting.add()
    await asyncio.sleep(0.99)
    rejecting.add()
    await asyncio.sleep(0.02)
    rejecting.add()
    rejecting.add()
    rejecting.tell()
    rejecting.tell()
    lines = told(stream)

    assert [line["count"] for line in lines] == [1, 10, 2]
    assert {(line["event"], line["upstream"]) for line in lines} == {
        ("breaker.rejecting", "openai")
    }


async def test_the_last_rejections_are_told_though_none_follows(stream):
    logs.configure("info", "json", stream)
    rejecting = Rejecting(logs.get(), "cache.failing")
    for error in ("first", "second", "third"):
        rejecting.add(error=error)
    await asyncio.sleep(60)
    rejecting.add(error="much later")
    rejecting.add(error="at the end")
    rejecting.stop()
    rejecting.stop()
    await asyncio.sleep(60)
    lines = told(stream)

    assert [(line["count"], line["error"]) for line in lines] == [
        *((1, "first"), (2, "third"), (1, "much later"), (1, "at the end"))
    ]


def test_level_and_form_can_change_while_lines_are_written(stream):
    logs.configure("warning", "json", stream)
    before = logs.get()
    logs.change("debug", "json")
    logs.get().debug("retry.scheduled")
    before.info("proxy.started")  # keeps its level
    logging.getLogger("somebody").info("heard")
    logs.change("info", "console")
    logs.get().info("proxy.draining")
    logs.close()
    first, second, third = stream.getvalue().splitlines()

    assert [json.loads(line)["event"] for line in (first, second)] == [
        "retry.scheduled",
        "library.message",
    ]
    assert b"proxy.draining" in third
    assert not third.startswith(b"{")


def test_where_nothing_is_said_a_change_says_nothing():
    logs.change("debug", "json")

    assert not logs.enabled("error")
