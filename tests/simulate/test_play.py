import os
import subprocess
import sys
import time

import pytest
from simulate.support import config, told

from proxy.config.providers import PROVIDERS
from proxy.policy.transitions import State
from proxy.simulate import scenario
from proxy.simulate.figures import figures
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


def test_an_hour_of_twenty_requests_a_second_takes_less_than_a_minute():
    hour = "duration: 1h\nfailures: [{at: 20m, lasts: 5m, kind: refused}]\n"
    began = time.process_time()

    record = play(config(), "up", told(hour), 1)

    assert time.process_time() - began < 60
    assert len(record.calls) == pytest.approx(72_000, rel=0.02)


@pytest.mark.parametrize("name", scenario.BUILT_IN)
def test_every_built_in_scenario_plays(name):
    story = scenario.read(name).model_copy(update={"duration": 60.0})

    shown = figures(play(config(), "up", story, 1), story)

    assert shown[0].value > 0
