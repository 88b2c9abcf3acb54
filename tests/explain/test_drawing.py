"""What a person sees."""

import dataclasses
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from explain.explaining import explained

from proxy.cli import main
from proxy.explain.drawing import WIDTH, draw

ROOT = Path(__file__).parents[2]

TEXT = """\
defaults:
  retry: {max_retries: 2, jitter: false}
upstreams:
  plain: {url: "http://a", routes: [{match: {path: /z}}]}
  rich:
    kind: llm
    url: https://b
    auth: {header: x-api-key, value: sk-planted}
    headers: {set: {X-Planted: sk-planted}}
    timeouts: {total: none, first_byte: 30s}
    breaker: {mode: observe, timeout: 10s, max_timeout: 40s}
    routes:
    - match: {path: /v1/embeddings, methods: [POST]}
      timeouts: {total: 20s}
      retry: {unsafe_methods: never}
    - match: {}
      retry: {retry_on: []}
  mute: {url: "http://c", breaker: {mode: disabled}, stream: {mode: verified}}
  many: {url: "http://d", retry: {max_retries: 20, base_delay: 1s, max_delay: 1s}}
  endless: {url: "http://e", timeouts: {total: none, connect: none}}
  still: {url: "http://f", breaker: {failure_on: []}, timeouts: {first_event: none}}
  first:
    url: "http://g"
    retry: {max_retries: 3}
    hedge: {delay: 300ms, max: 2}
    fallback:
    - {upstream: plain, set: {model: small}, path: /v2, when: ["400:too_long", 404]}
    - {upstream: rich}
    - {upstream: mute, forward_credentials: true}
    routes:
    - match: {path: /quick}
      timeouts: {first_byte: 5s}
  lasting: {url: "http://h", fallback: [{upstream: plain}], timeouts: {total: none, connect: none}}
  store: {url: "http://i", kind: vectordb, fallback: [{upstream: plain}], retry: {max_retries: 0}}
pools:
  both: {members: [still, rich]}
  drawn: {members: [many, endless], strategy: weighted, weights: {many: 3}, ramp: 30s}
  alone: {members: [mute]}
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return explained(tmp_path_factory.mktemp("explained"), TEXT)


@pytest.fixture(scope="module")
def drawn(report):
    return draw(report)


def lines_of(drawn):
    return [" ".join(line.split()) for line in drawn.splitlines()]


def test_it_fits_a_terminal_of_80_columns(drawn):
    assert max(map(len, drawn.splitlines())) <= WIDTH


def test_a_value_stands_beside_where_it_came_from(drawn):
    lines = lines_of(drawn)

    assert "max_retries 2 defaults, line 2" in lines
    assert "total none upstream, line 10" in lines
    assert "connect 5s built in for llm" in lines
    assert "window 1m built in" in lines
    assert "total 20s route, line 14" in lines
    assert "path" not in lines


def test_no_secret_is_shown(report, drawn):
    assert "sk-planted" not in drawn + json.dumps(dataclasses.asdict(report))
    assert "value (hidden) upstream, line 8" in lines_of(drawn)
    assert "set {X-Planted} upstream, line 9" in lines_of(drawn)


def test_attempts_are_drawn_on_one_axis(drawn):
    drawing = [line[25:].rstrip() for line in drawn.splitlines() if "attempt " in line[:14]][:3]

    assert drawing == [
        " ●",
        "          ●                   1s",
        "                            ● 2s",
    ]


def test_of_many_attempts_the_last_is_drawn_and_the_others_are_counted(drawn):
    lines = lines_of(drawn)

    assert "… 12 more" in lines
    assert [line for line in lines if line.startswith("attempt 21 ")] != []


def test_what_ends_the_wait_is_named(drawn):
    told = " ".join(drawn.split())

    assert "longest wait 1m (timeouts.total); for the first event of a stream 6m " in told
    assert "longest wait 1m (timeouts.total) Retry-After" in told
    assert "(all attempts and waits)" in told
    assert "longest wait without limit: total is none, and an attempt has no limit" in told
    assert "for the first event of a stream without limit" in told


def test_the_circuit_is_told_by_its_mode(drawn):
    told = " ".join(drawn.split())

    assert "Its circuit (disabled) many" in told
    assert "stays open 10s, doubled after each failed probe up to 40s" in told
    assert "(observe: all of this is counted and logged, nothing is rejected)" in told
    assert "every attempt fails opens at attempt 5, in call 2 (one call at a time)" in told
    assert "every attempt fails not within 2,000 attempts" in told


def test_a_route_names_what_it_is_for_and_what_it_changes(drawn):
    lines = lines_of(drawn)

    assert "route 1: POST /v1/embeddings" in lines
    assert "route 2: every path" in lines
    assert "POST, PATCH never repeated, but if nothing was sent" in lines


def section(drawn, upstream, title):
    lines = drawn[drawn.index(f"\n{upstream} (") :]
    return " ".join(lines[lines.index(title) :].split("Its circuit")[0].split())


def test_who_is_asked_instead_stands_with_what_is_changed_for_it(drawn):
    told = section(drawn, "first", "When it cannot answer")

    assert (
        "1. plain no credential; replaced in the body: model; at /v2; also for 400:too_long, 404"
        " 2. rich our credential 3. mute the caller's credential moves on when" in told
    )


def test_how_soon_another_is_asked_is_told_for_each_way_to_fail(drawn):
    told = section(drawn, "first", "When it cannot answer")

    assert "the next is asked after 3 attempts and 3s of waits at most" in told
    assert "if it fails late timeouts.total (1m) may end the call first, and nobody else" in told
    assert "if it is silent after 35s at most" in told


def test_what_has_no_limit_is_never_given_up_for_another(drawn):
    told = section(drawn, "lasting", "When it cannot answer")

    assert "if it is silent without limit: no timeout gives it up" in told


def test_a_route_hands_over_by_its_own_times(drawn):
    told = " ".join(drawn.partition("route 1: /quick")[2].split("lasting (")[0].split())

    assert "the next is asked after 3 attempts and 3s of waits at most" in told
    assert "if it fails late after 33s at most" in told
    assert "if it is silent after 10s at most" in told


def test_where_waits_are_asked_for_they_may_be_longer(tmp_path):
    text = (
        'upstreams: {a: {url: "http://a", retry: {base_delay: 100ms}, fallback: [{upstream: b}]},'
        ' b: {url: "http://b"}}'
    )
    told = " ".join(draw(explained(tmp_path, text)).split())

    assert "after 4 attempts and 700ms of waits at most, 3s where it says how long" in told


def test_of_a_vector_database_only_reads_move(drawn):
    told = section(drawn, "store", "When it cannot answer")

    assert "1. plain no credential for what only reads (fallback_writes: false)" in told
    assert "the next is asked after 1 attempt and 0s of waits at most" in told


def test_a_hedge_is_told_with_what_it_may_cost(drawn):
    told = section(drawn, "first", "A call whose")

    assert "hedge what only reads: 300ms of silence, and another attempt runs beside it" in told
    assert "requests upstream at most 4 for one call, 12 where all are hedged" in told


def test_a_pool_is_told_with_its_members(drawn):
    told = " ".join(drawn.replace("─", "").split())

    assert "pool both (priority)" in told
    assert "still no credential rich our credential pool drawn (weighted, ramp 30s)" in told
    assert "many weight 3; no credential endless weight 1; no credential" in told
    assert "pool both its next member" in section(drawn, "still", "When it cannot answer")
    assert "pool alone its next member" not in told


def test_a_file_without_warnings_ends_with_its_circuits(tmp_path):
    drawn = draw(explained(tmp_path, 'upstreams: {x: {url: "http://a"}}'))

    assert "second look" not in drawn


def test_the_command_draws_a_file_and_one_upstream_of_it():
    demo = str(ROOT / "config" / "demo.yaml")
    whole = CliRunner().invoke(main, ["explain", demo])
    one = CliRunner().invoke(main, ["explain", demo, "vectors"])

    assert (whole.exit_code, one.exit_code) == (0, 0)
    assert one.output.startswith("vectors (vectordb) http://127.0.0.1:9002")
    assert one.output.rstrip() in whole.output


def test_the_command_gives_the_same_as_data():
    demo = str(ROOT / "config" / "demo.yaml")
    told = CliRunner().invoke(main, ["explain", demo, "llm", "--json"])
    (upstream,) = json.loads(told.output)["upstreams"]

    total = next(value for value in upstream["values"] if value["key"] == "timeouts.total")
    assert total["value"] == 10
    assert total["origin"]["layer"] == "upstream"
    assert len(upstream["retrying"]["attempts"]) == 4


def test_the_command_does_without_an_environment_where_it_is_told_to(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    example = str(ROOT / "config" / "proxy.yaml")

    assert CliRunner().invoke(main, ["explain", example]).exit_code == 1
    assert CliRunner().invoke(main, ["explain", example, "--without-env"]).exit_code == 0


def test_an_upstream_that_is_not_there_is_wrong_usage():
    told = CliRunner().invoke(main, ["explain", str(ROOT / "config" / "demo.yaml"), "vecto"])

    assert told.exit_code == 2
    assert "did you mean vectors?" in told.output


def test_the_schema_is_printed_as_it_is_kept():
    told = CliRunner().invoke(main, ["schema"])

    assert told.output == (ROOT / "config" / "schema.json").read_text()
