import os
import subprocess
import sys
import time

import pytest
from simulate.support import config, told

from proxy.config.load import parse
from proxy.config.providers import PROVIDERS
from proxy.policy.transitions import State
from proxy.simulate import scenario
from proxy.simulate.figures import figures, quantile
from proxy.simulate.play import ASKED, play

OUTAGE = """
duration: 2m
arrivals: [{rate: 5}]
failures: [{at: 30s, lasts: 30s, kind: "500"}]
"""


def test_an_outage_opens_the_circuit_and_its_end_closes_it():
    record = play(config("breaker: {timeout: 5s}"), "up", told(OUTAGE), 1)

    states = [state for _, state in record.moves]
    assert states[0] is State.OPEN
    assert 30 < record.moves[0][0] < 35
    assert states[-1] is State.CLOSED
    assert 100 < record.rejections <= sum(call.outcome == "failed" for call in record.calls)
    assert record.good == sum(call.outcome == "served" for call in record.calls)


def test_two_configs_meet_the_same_callers():
    one, other = (play(config(f"breaker: {{mode: {mode}}}"), "up", told(OUTAGE), 1)
                  for mode in ("enforce", "disabled"))  # fmt: skip

    assert sorted(call.began for call in one.calls) == sorted(call.began for call in other.calls)
    assert len(one.attempts) < len(other.attempts)


def test_another_seed_is_another_story():
    one, other = (play(config(), "up", told(OUTAGE), seed) for seed in (1, 2))

    assert one != other


def test_a_caller_who_loses_patience_is_nobodys_success():
    hang = "duration: 10s\nfailures: [{at: 0s, lasts: 10s, kind: hang}]\ncallers: {patience: 2s}\n"

    record = play(config(), "up", told(hang), 1)

    assert {call.outcome for call in record.calls} == {"left"}
    assert {round(call.wait, 6) for call in record.calls} == {2.0}
    assert not record.moves


def test_a_fallback_answers_while_the_upstream_is_down():
    down = "duration: 2m\nfailures: [{at: 30s, lasts: 30s, kind: refused}]\n"
    spare = parse(
        'upstreams: {up: {kind: llm, url: "http://a", fallback: [{upstream: spare}]},'
        ' spare: {kind: llm, url: "http://b"}}',
        "test.yaml",
        {},
    )

    record = play(spare, "up", told(down), 1)

    assert {call.outcome for call in record.calls} == {"served"}
    assert len(record.calls) / 4 < record.elsewhere < len(record.calls)
    assert record.good + record.elsewhere == len(record.calls)


def test_a_pool_is_asked_and_one_of_its_members_fails():
    down = "duration: 2m\nfailures: [{at: 30s, lasts: 30s, kind: refused}]\n"
    pooled = parse(
        'upstreams: {up: {url: "http://a"}, spare: {url: "http://b"}}\n'
        "pools: {both: {members: [spare, up], strategy: weighted}}",
        "test.yaml",
        {},
    )

    record = play(pooled, "up", told(down), 1, "both")

    assert {call.outcome for call in record.calls} == {"served"}
    assert len(record.calls) / 2 < record.elsewhere < len(record.calls)
    assert State.OPEN in [state for _, state in record.moves]


def test_hedged_answers_are_counted_and_the_slowest_are_faster():
    slow = told("duration: 2m\nlatency: {p50: 100ms, p99: 5s}\n")
    vectors = 'upstreams: {{up: {{kind: vectordb, provider: qdrant, url: "http://a", {}}}}}\n'
    plain, hedged = (
        play(parse(vectors.format(keys), "test.yaml", {}), "up", slow, 1)
        for keys in ("hedge: {delay: none}", "hedge: {delay: 1s}")
    )

    assert plain.hedged == 0
    assert 0 < hedged.hedged == len(hedged.attempts) - len(hedged.calls)
    p99 = [quantile(sorted(call.wait for call in one.calls), 99) for one in (plain, hedged)]
    assert p99[1] < p99[0] / 2


def test_a_token_and_a_body_that_is_cut_are_no_trouble():
    cut = "duration: 10s\nfailures: [{at: 0s, lasts: 10s, kind: cut}]\ncallers: {retries: 0}\n"
    guarded = config()
    listen = guarded.listen.model_copy(update={"token": "secret"})

    record = play(guarded.model_copy(update={"listen": listen}), "up", told(cut), 1)

    assert {call.outcome for call in record.calls} == {"failed"}
    assert record.attempts
    assert record.good == 0


@pytest.mark.parametrize("provider", PROVIDERS)
def test_what_is_asked_of_a_vector_database_is_known_as_a_read(provider):
    method, path = ASKED.get(provider, ("GET", "/"))

    if provider not in ("openai", "anthropic", "generic"):
        assert method == "POST"
        assert PROVIDERS[provider].reads.fullmatch(path)


def test_the_same_seed_gives_the_same_bytes_whatever_order_hashes_have(tmp_path):
    path = tmp_path / "proxy.yaml"
    path.write_text('version: 1\nupstreams: {up: {kind: llm, url: "http://127.0.0.1:9"}}\n')

    def run(hash_seed):
        page = tmp_path / "report.html"
        words = ["simulate", str(path), "--scenario", "cold-start", "--html", str(page)]
        shown = subprocess.run(
            [sys.executable, "-m", "proxy", *words],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
        )
        return shown.stdout, page.read_bytes()

    assert run("1") == run("2")


def test_twenty_requests_a_second_are_played_in_a_small_part_of_their_time():
    # A quarter of an hour, of which coverage takes most: without it an hour takes some ten seconds.
    quarter = "duration: 15m\nfailures: [{at: 5m, lasts: 5m, kind: refused}]\n"
    began = time.process_time()

    record = play(config(), "up", told(quarter), 1)

    assert time.process_time() - began < 15 * 60 / 20
    assert len(record.calls) == pytest.approx(18_000, rel=0.03)


@pytest.mark.parametrize("name", scenario.BUILT_IN)
def test_every_built_in_scenario_plays(name):
    story = scenario.read(name).model_copy(update={"duration": 60.0})

    shown = figures(play(config(), "up", story, 1), story)

    assert shown[0].value > 0


CALM = "duration: 1m\narrivals: [{rate: 20}]\nlatency: {p50: 500ms, p99: 600ms}\n"
PATIENT = CALM + "callers: {retries: 0}\n"


def test_a_rate_lets_through_what_it_says_and_the_others_are_counted():
    record = play(
        config("limits: {rate: {limit: 300, window: 60s, burst: 10}}"), "up", told(PATIENT), 1
    )

    served = sum(call.outcome == "served" for call in record.calls)
    assert 300 <= len(record.attempts) == served <= 310
    assert record.limited == len(record.calls) - served


def test_a_line_serves_what_places_alone_would_turn_away():
    alone, lined = (
        play(config(f"limits: {{concurrency: 11{queue}}}"), "up", told(PATIENT), 1)
        for queue in ("", ", queue: {size: 100, timeout: 20s}")
    )

    assert alone.limited > 50
    assert lined.limited == 0
    assert {call.outcome for call in lined.calls} == {"served"}
    assert max(call.wait for call in lined.calls) > max(
        call.wait for call in alone.calls if call.outcome == "served"
    )


def test_the_gate_keeps_calls_from_an_upstream_that_wants_to_be_left_alone():
    busy = PATIENT + 'failures: [{at: 20s, lasts: 10s, kind: "429", retry_after: 5s}]\n'
    heeding, asking = (
        play(config(f"limits: {{throttle: {throttle}}}"), "up", told(busy), 1)
        for throttle in ("true", "false")
    )

    def within(record):
        return sum(20 <= at < 30 for at in record.attempts)

    assert within(heeding) < within(asking) / 4


def test_no_answer_is_kept_because_all_ask_the_same():
    quick = 'upstreams: {up: {url: "http://a", cache: {ttl: 1h, stale_if_error: 1h}}}'

    record = play(parse(quick, "test.yaml", {}), "up", told(PATIENT), 1)

    assert len(record.attempts) == len(record.calls)


def test_a_guard_lets_a_simulated_call_pass():
    record = play(config("guard: {pii: block, max_prompt_chars: 10}"), "up", told(PATIENT), 1)

    assert {call.outcome for call in record.calls} == {"served"}
