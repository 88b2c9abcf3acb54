"""The command line as a shell and a supervisor see it: words, exit codes, signals."""

import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from clients.running import Served
from deploy.running import Running
from e2e.support import answer, call, connect, proxied, request

import proxy
from proxy import app
from proxy.cli import SCENARIOS, main
from proxy.simulate import scenario
from proxy.testing import script
from proxy.testing.upstream import Upstream

EXAMPLE = Path(__file__).parents[1] / "config" / "proxy.yaml"
MODULE = [sys.executable, "-m", "proxy"]
COMMAND = [str(Path(sys.executable).with_name("octollm-proxy"))]

GOOD = """
version: 1
listen: {port: 0}
admin: {port: 0}
log: {format: json}
drain: {timeout: 30s}
upstreams:
  up: {url: "http://127.0.0.1:9"}
"""
BAD = """
version: 1
upstreams:
  up: {kind: llmm, url: "${NOWHERE}"}
  db: {url: "http://127.0.0.1:9", retyr: {}}
"""


@pytest.fixture(autouse=True)
def _only_the_examples_key(monkeypatch):
    for name in ("LISTEN_HOST", "ADMIN_HOST", "PROXY_CONFIG"):
        monkeypatch.delenv(f"OCTOLLM_{name}", raising=False)
    for name in ("ADMIN_TOKEN", "NOWHERE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "proxy.yaml"
        path.write_text(text)
        return path

    return write


def told(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


def test_a_good_file_is_said_to_be_good(written):
    path = written(GOOD)

    done = told("check", path)

    assert (done.exit_code, done.stdout, done.stderr) == (0, f"{path}: good, 1 upstream\n", "")


def test_every_problem_is_printed_at_once_with_its_place_and_what_was_meant(written):
    path = written(BAD)

    done = told("check", path)

    assert done.exit_code == 1
    assert done.stdout == ""
    assert [line.removeprefix(str(path)) for line in done.stderr.splitlines()] == [
        ":4:8: upstreams.up.kind: 'llmm' is not one of llm, vectordb, http (did you mean llm?)",
        ":4:20: upstreams.up.url: ${NOWHERE} is not set (set it, or write ${NOWHERE:-default})",
        ":5:35: upstreams.db.retyr: is not a key here (did you mean retry?)",
    ]


def test_the_example_is_good_without_its_keys_only_where_that_was_asked_for(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")

    strictly = told("check", EXAMPLE)
    leniently = told("check", EXAMPLE, "--without-env")

    assert strictly.exit_code == 1
    assert "${OPENAI_API_KEY} is not set" in strictly.stderr
    assert leniently.exit_code == 0
    assert leniently.stdout == f"{EXAMPLE}: good, 3 upstreams\n"


def test_check_warns_of_what_can_be_run_with(written):
    path = written("admin: {host: 0.0.0.0}\nupstreams: {up: {url: 'http://h'}}\n")

    done = told("check", path)

    assert (done.exit_code, done.stdout) == (0, f"{path}: good, 1 upstream\n")
    assert re.fullmatch(rf"warning: {re.escape(str(path))}:1:9: admin.host: .+\n", done.stderr)


@pytest.mark.parametrize(
    ("total", "note"),
    [("1m", ""), ("32s", "1 more thing worth a look"), ("5s", "2 more things worth a look")],
)
def test_check_says_how_much_explain_has_to_say(written, total, note):
    path = written(f"upstreams: {{up: {{url: 'http://h', timeouts: {{total: {total}}}}}}}\n")

    done = told("check", path)

    assert done.exit_code == 0
    assert done.stderr == (f"note: octollm-proxy explain {path} has {note}\n" if note else "")


def test_explain_says_of_a_pool_whom_to_name(written):
    path = written("upstreams: {up: {url: 'http://h'}}\npools: {both: {members: [up]}}\n")

    done = told("explain", path, "both")

    assert done.exit_code == 2
    assert "'both' is a pool; name one of its members (up), or leave it out" in done.stderr


def test_the_example_is_nothing_to_warn_of():
    assert told("check", EXAMPLE).stderr == ""


@pytest.mark.parametrize("words", [("check", "none.yaml"), ("serve", "-c", "none.yaml")])
def test_a_file_that_is_not_there_is_a_problem_like_any_other(words):
    done = told(*words)

    assert done.exit_code == 1
    assert done.stderr == "none.yaml:1:1: cannot be read: No such file or directory\n"


def test_serve_looks_where_its_help_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert told("serve").stderr.startswith("config/proxy.yaml:1:1: cannot be read")
    said = " ".join(told("serve", "--help").stdout.split())
    assert "[env var: OCTOLLM_PROXY_CONFIG; default: config/proxy.yaml]" in said


def test_the_environment_names_the_file_and_a_word_on_the_command_line_wins(written, monkeypatch):
    monkeypatch.setenv("OCTOLLM_PROXY_CONFIG", "named.yaml")

    assert told("serve").stderr.startswith("named.yaml:1:1: cannot be read")
    assert told("serve", "-c", "other.yaml").stderr.startswith("other.yaml:1:1: cannot be read")

    monkeypatch.setenv("OCTOLLM_PROXY_CONFIG", "")
    assert told("serve", "-c", written(BAD)).exit_code == 1


def test_a_bad_file_is_not_served(written):
    path = written(BAD)

    served = told("serve", "-c", path)

    assert served.exit_code == 1
    assert served.stderr == told("check", path).stderr


def test_the_help_names_each_command_and_each_command_has_its_own():
    overview = told("--help")
    commands = re.findall(r"^  (\w+)  ", overview.stdout.partition("Commands:")[2], re.MULTILINE)

    assert {"serve", "demo", "check"} <= set(commands)
    assert commands == sorted(main.commands)
    for name in commands:
        assert told(name, "--help").exit_code == 0
        assert told(name, "-h").stdout.startswith(f"Usage: main {name}")


def test_the_overview_says_each_command_in_a_whole_sentence_and_what_to_do_first():
    overview = told("--help").stdout
    sentences = re.findall(r"^  \w+  +(.*)$", overview.partition("Commands:")[2], re.MULTILINE)

    assert len(sentences) == len(main.commands)
    assert [line for line in sentences if line.endswith("...") or not line.endswith(".")] == []
    for command in ("check", "explain", "serve"):
        assert f"  octollm-proxy {command} " in overview
    assert "Exit codes:" in overview


def test_the_help_of_simulate_names_each_scenario_there_is():
    assert SCENARIOS == scenario.BUILT_IN
    unbroken = "".join(told("simulate", "--help").stdout.split())
    assert ",".join(SCENARIOS) in unbroken


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_of_a_shell_asks_the_command_by_its_name(shell):
    done = told("completion", shell)

    assert done.exit_code == 0
    assert f"_OCTOLLM_PROXY_COMPLETE={shell}_complete" in done.stdout


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
def test_bash_completes_a_command_and_an_option():
    program = f"""
        PATH={Path(sys.executable).parent}:$PATH
        eval "$(octollm-proxy completion bash)"
        for words in "octollm-proxy sim" "octollm-proxy serve --con"; do
            COMP_WORDS=($words) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)) COMPREPLY=()
            _octollm_proxy_completion octollm-proxy
            echo "${{COMPREPLY[@]}}"
        done
    """
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines() == ["simulate", "--config"]


@pytest.mark.parametrize(
    ("words", "needless"),
    [
        (["--version"], {"pydantic", "yaml", "aiohttp", "uvloop", "structlog"}),
        (["completion", "zsh"], {"pydantic", "yaml", "aiohttp", "uvloop", "structlog"}),
        (["check", str(EXAMPLE)], {"aiohttp", "uvloop", "structlog", "proxy.app", "proxy.demo"}),
        (["explain", str(EXAMPLE)], {"aiohttp", "uvloop", "proxy.app", "proxy.demo"}),
    ],
    ids=lambda it: it[0] if isinstance(it, list) else "",
)
def test_a_command_imports_what_it_needs(words, needless):
    program = (
        "import sys; from proxy.cli import main; main(sys.argv[1:], standalone_mode=False);"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=True
    )

    assert needless & set(done.stderr.split()) == set()


def test_serving_imports_no_demo_and_no_simulation():
    program = "import sys, proxy.app; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert {"proxy.demo", "proxy.simulate", "proxy.testing"} & set(done.stdout.split()) == set()


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("serv",),
        ("serve", "--port", "1"),
        ("serve", "x"),
        ("check",),
        ("demo", "--seconds", "0"),
        ("completion", "tcsh"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_told_from_a_wrong_file(words):
    done = told(*words)

    assert done.exit_code == 2
    assert done.stderr.startswith("Usage:")


@pytest.mark.parametrize("command", [COMMAND, MODULE], ids=["octollm-proxy", "python -m proxy"])
def test_the_command_and_the_module_are_the_same(command):
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)

    assert done.stdout == f"octollm-proxy, version {proxy.__version__}\n"


@pytest.mark.real_time
async def test_the_example_runs_and_is_ready(written):
    text, ports = re.subn(r"\bport: \d+", "port: 0", EXAMPLE.read_text())
    assert ports == 3

    with Served(written(text)) as running:
        ready = await call(running.admin, "/-/ready")
        unknown = await call(running.addresses[0], "/nobody/v1")

    assert (ready.status, ready.body) == (200, b"ready\n")
    assert (unknown.status, unknown.code) == (404, "ROUTE_NOT_FOUND")
    assert len(running.addresses) == 2  # the shared one, and qdrant's own
    assert "config.warning" not in {event["event"] for event in running.events}
    assert "sk-test" not in str(running.events)


def test_the_demo_is_a_command_that_can_be_told_how_long():
    done = told("demo", "--seconds", "0.2")

    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("octollm-proxy demo\n")


@pytest.mark.parametrize("listener", ["listen", "admin"])
def test_a_taken_address_is_named_in_one_sentence(written, listener):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        path = written(GOOD.replace(f"{listener}: {{port: 0}}", f"{listener}: {{port: {port}}}"))

        done = told("serve", "-c", path)

    assert done.exit_code == 1
    sentence = done.stderr.splitlines()[-1]
    assert sentence == f"Error: cannot listen on 127.0.0.1:{port}: Address already in use"
    assert '"proxy.started"' not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.real_time
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
async def test_a_call_in_flight_ends_well_before_the_proxy_does(written, number):
    async with Upstream() as upstream:
        upstream.always(script.ask(lambda seen: script.ok(bytes(seen.body))))
        with Running(written(GOOD.replace("http://127.0.0.1:9", upstream.url))) as running:
            reader, writer = await connect(running.addresses[0])
            whole = request(running.addresses[0], "/up/x", "POST", b"half of it")
            writer.write(whole[:-5])
            await upstream.asked()

            running.signal(number)
            assert running.tells("proxy.draining")
            ready = await call(running.admin, "/-/ready")
            writer.write(whole[-5:])
            echoed = await answer(reader)
            writer.close()

            assert running.ended() == 0
    assert ready.status == 503
    assert (echoed.status, echoed.body, echoed.whole) == (200, b"half of it", True)
    draining = next(event for event in running.events if event["event"] == "proxy.draining")
    assert (draining["in_flight"], draining["timeout_ms"]) == (1, 30_000)
    assert running.events[-1]["event"] == "proxy.stopped"


@pytest.mark.real_time
@pytest.mark.parametrize(
    ("patience", "signals"),
    [("30s", [signal.SIGTERM, signal.SIGINT]), ("10ms", [signal.SIGTERM])],
    ids=["a second signal", "drain.timeout over"],
)
async def test_calls_that_hang_are_cut_and_the_exit_code_says_so(written, patience, signals):
    async with Upstream() as upstream:
        upstream.always(script.hang())
        text = GOOD.replace("http://127.0.0.1:9", upstream.url).replace("30s", patience)
        with Running(written(text)) as running:
            reader, writer = await connect(running.addresses[0])
            writer.write(request(running.addresses[0], "/up/x"))
            await upstream.asked()

            for number in signals:
                running.signal(number)
                assert running.tells("proxy.draining")

            assert running.ended() == app.EXIT_CUT_SHORT == 3
            last = await answer(reader)
            writer.close()
    assert (last.status, last.code) == (503, "CAPACITY_EXCEEDED")
    assert running.events[-1]["event"] == "proxy.stopped"
    assert [event for event in running.events if event["level"] == "critical"] == []


def test_a_hangup_reloads_and_a_bad_file_is_told_and_does_no_harm(written):
    path = written(f"{GOOD}watch: false\n")
    with Running(path) as running:
        written(BAD)
        running.signal(signal.SIGHUP)
        assert running.tells("config.rejected")
        written(GOOD.replace("  up:", "  other:"))
        running.signal(signal.SIGHUP)
        assert running.tells("config.reloaded")
        running.signal(signal.SIGTERM)

        assert running.ended() == 0
    [rejected] = [event for event in running.events if event["event"] == "config.rejected"]
    [reloaded] = [event for event in running.events if event["event"] == "config.reloaded"]
    assert (rejected["file"], len(rejected["problems"])) == (str(path), 3)
    assert reloaded["upstreams"] == ["other"]


@pytest.mark.real_time
@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
async def test_a_listener_on_ipv6_is_told_as_a_url():
    text = GOOD.replace("listen: {port: 0}", 'listen: {host: "::1", port: 0}')

    async with proxied(text) as running:
        assert re.fullmatch(r"http://\[::1\]:\d+", running.addresses[""])
