"""Who takes part: found where it is installed, and left out when it is gone."""

import json
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "benchmarks"))
import contenders
import process
from contenders import Contender
from scenarios import Place, Sample, Scenario, play

LISTEN = "import socket, sys; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); input()"

needs_taskset = pytest.mark.skipif(
    shutil.which("taskset") is None, reason="taskset is needed (Debian: util-linux)"
)


@pytest.fixture
def place(tmp_path):
    cpu = process.cpus()[0]
    return Place(cpu, cpu, tmp_path, upstream=9)


def sound(name: str, **limits) -> Contender:
    def command(folder, port, upstream):
        return [sys.executable, "-c", LISTEN, str(port)]

    return Contender(name, lambda: "1.0", command, **limits)


def broken(name: str) -> Contender:
    return Contender(name, lambda: "1.0", lambda *_: ["false"])


def asking(ask) -> Scenario:
    return Scenario("small-64", "A question", "request", ask)


@needs_taskset
def test_who_does_not_start_is_left_out_and_the_others_are_asked(place, capsys):
    series = play(asking(lambda *_: Sample(1.0)), [broken("a"), sound("b")], place, 1, rounds=2)

    assert [(one.name, len(one.samples), one.left_out) for one in series] == [
        ("(no proxy)", 2, False),
        ("a", 0, True),
        ("b", 2, False),
    ]
    assert "a is left out" in capsys.readouterr().err


@needs_taskset
@pytest.mark.parametrize("reason", [process.Gone("no answer"), FileNotFoundError("/proc/1/stat")])
def test_who_ends_while_it_is_asked_leaves_no_round_behind(place, reason):
    asked = []

    def ask(one, seconds):
        asked.append(one.name)
        if one.name == "a" and asked.count("a") == 3:
            raise reason
        return Sample(1.0)

    series = play(asking(ask), [sound("a")], place, 1, rounds=4)

    assert [(one.name, len(one.samples)) for one in series] == [("(no proxy)", 4), ("a", 0)]
    assert asked.count("a") == 3


def test_without_the_upstream_the_run_ends(place):
    def ask(one, seconds):
        raise process.Gone("no answer")

    with pytest.raises(SystemExit, match="no answer"):
        play(asking(ask), [], place, 1, rounds=1)


@needs_taskset
def test_who_cannot_take_part_in_a_scenario_is_not_asked(place):
    entrants = [sound("a", scenarios=("events",)), sound("b", scenarios=("small-64",))]

    series = play(asking(lambda *_: Sample(1.0)), entrants, place, 1, rounds=1)

    assert [one.name for one in series] == ["(no proxy)", "b"]


@pytest.mark.parametrize("name, found", [("@portkey-ai/gateway", "1.2.3"), ("another", None)])
def test_portkey_is_known_by_its_package_and_not_by_its_common_name(
    tmp_path, monkeypatch, name, found
):
    script = tmp_path / "build" / "start-server.js"
    script.parent.mkdir()
    script.touch()
    (tmp_path / "package.json").write_text(json.dumps({"name": name, "version": "1.2.3"}))
    monkeypatch.setenv("PORTKEY_GATEWAY", str(script))

    portkey = next(one for one in contenders.ALL if one.name == contenders.PORTKEY)

    assert portkey.version() == found


def test_portkey_is_told_by_a_header_where_to_go():
    portkey = next(one for one in contenders.ALL if one.name == contenders.PORTKEY)

    (line,) = portkey.headers(8080)

    name, _, value = line.partition(": ")
    assert name == "x-portkey-config"
    assert json.loads(value)["custom_host"] == "http://127.0.0.1:8080/small"
