import asyncio

import pytest
from admin.house import House

from proxy import errors
from proxy.admin import steering
from proxy.observe.history import STEP

NEVER = {"since": None, "reason": None, "next_probe": None, "held": None, "mode_set": None}


def order(house, action, ttl=None, reason="a drill", mode=None):
    given = steering.Order(action, reason, ttl, mode)
    steering.obey(given, "openai", house.breaker(), house.history, "::1")


def test_a_circuit_that_never_moved_is_closed_since_nobody_knows_when():
    told = House().view.breaker("openai")

    assert told == {
        "upstream": "openai",
        "state": "closed",
        "failure_ratio": 0.0,
        "mode": "enforce",
        **NEVER,
    }


def test_an_open_circuit_says_since_when_why_and_when_next():
    house = House()
    house.trip()
    house.pass_time(10)
    told = house.view.breaker("openai")

    assert told["state"] == "open"
    assert told["since"] == "2023-11-14T22:13:20.000Z"
    assert told["reason"] == "consecutive"
    assert told["next_probe"] == "2023-11-14T22:13:50.000Z"
    assert told["failure_ratio"] == 1.0


def test_open_past_its_time_is_half_open_since_then():
    house = House()
    house.trip()
    house.pass_time(35)
    told = house.view.breaker("openai")

    assert (told["state"], told["reason"]) == ("half_open", "timeout_elapsed")
    assert told["since"] == "2023-11-14T22:13:50.000Z"
    assert told["next_probe"] is None


def test_what_was_forced_open_where_it_was_open_is_half_open_since_the_operators_time():
    house = House()
    house.trip()
    order(house, "force-open", ttl=60.0)
    house.pass_time(61)
    told = house.view.breaker("openai")

    assert (told["state"], told["since"]) == ("half_open", "2023-11-14T22:14:20.000Z")


def test_what_an_operator_has_taken_back_says_nothing_of_later_times():
    house = House()
    order(house, "force-open", ttl=3600.0)
    order(house, "reset")
    house.pass_time(10)
    house.trip()
    house.pass_time(31)
    told = house.view.breaker("openai")

    assert (told["state"], told["since"]) == ("half_open", "2023-11-14T22:14:00.000Z")


def test_of_two_times_that_an_operator_forced_it_open_the_later_one_holds():
    house = House()
    order(house, "force-open", ttl=3600.0)
    house.pass_time(10)
    order(house, "force-open", ttl=20.0)
    house.pass_time(21)
    told = house.view.breaker("openai")

    assert (told["state"], told["since"]) == ("half_open", "2023-11-14T22:13:50.000Z")


def test_a_circuit_made_anew_does_not_remember_the_old_ones_moves():
    house = House()
    house.trip()
    house.upstreams["openai"] = house._upstream(house.config.upstreams["openai"])
    told = house.view.breaker("openai")

    assert (told["state"], told["since"], told["reason"]) == ("closed", None, None)


@pytest.mark.parametrize(
    ("ttl", "until", "next_probe"),
    [(None, None, None), (60.0, "2023-11-14T22:14:20.000Z", "2023-11-14T22:14:20.000Z")],
)
def test_what_an_operator_holds_says_who_and_why_and_how_long(ttl, until, next_probe):
    house = House()
    order(house, "force-open", ttl=ttl)
    told = house.view.breaker("openai")

    assert told["held"] == {
        "state": "open",
        "by": "::1",
        "reason": "a drill",
        "at": "2023-11-14T22:13:20.000Z",
        "until": until,
    }
    assert told["next_probe"] == next_probe
    assert told["reason"] == "forced"


def test_what_is_held_by_a_word_no_longer_known_is_held_all_the_same():
    house = House()
    house.breaker().force_closed()

    held = house.view.breaker("openai")["held"]
    assert held == {"state": "closed", "by": None, "reason": None, "at": None, "until": None}


def test_a_mode_does_not_take_the_word_for_what_holds():
    house = House()
    order(house, "force-open", ttl=60.0)
    order(house, "mode", ttl=10.0, reason="look", mode="observe")
    told = house.view.breaker("openai")

    assert (told["held"]["reason"], told["mode_set"]["reason"]) == ("a drill", "look")


def test_what_was_held_and_is_over_is_not_held():
    house = House()
    order(house, "force-closed", ttl=60.0)
    house.pass_time(60)

    assert house.view.breaker("openai")["held"] is None


def test_a_mode_that_an_operator_chose_says_so():
    house = House()
    house.breaker("qdrant").set_mode("observe")
    house.history.acted("openai", "mode", by="::1", why="look", ttl=60.0, mode="observe", hold=None)
    house.breaker().set_mode("observe", 60.0)
    openai, qdrant = house.view.breakers()
    house.pass_time(60)
    later = house.view.breaker("openai")

    assert (openai["mode"], openai["mode_set"]["reason"]) == ("observe", "look")
    assert (qdrant["mode"], qdrant["mode_set"]["by"]) == ("observe", None)
    assert (later["mode"], later["mode_set"]) == ("enforce", None)


def test_an_upstream_tells_how_it_is_doing():
    house = House()
    house.view.look()
    for _ in range(9):
        house.answer()
    house.fail()
    house.metrics.upstream("openai").in_flight.count = 3
    house.upstreams["openai"].budget.deposit()
    house.step()
    (told, _) = house.view.upstreams()

    assert told["name"] == "openai"
    assert told["url"] == "https://api.openai.com/base"
    assert told["in_flight"] == 3
    assert told["retries_left"] == 30
    figures = told["last_5_minutes"]
    assert (figures["served"], figures["failed"], figures["attempts"]) == (9, 1, 10)
    assert 0.01 < figures["p50_seconds"] < figures["p95_seconds"] <= 0.025
    assert [one["code"] for one in told["last_failures"]] == ["NETWORK_ERROR"]


def test_one_upstream_comes_with_its_figures():
    house = House()
    house.view.look()
    house.answer("qdrant")
    house.step()
    told = house.view.upstream("qdrant")

    assert told["breaker"]["upstream"] == "qdrant"
    assert told["series"]["served"] == [1]
    assert len(told["series"]["p95_seconds"]) == 1
    assert house.view.upstream("nobody") is None
    assert house.view.breaker("nobody") is None


def test_a_pool_tells_what_was_asked_of_it():
    house = House()
    house.view.look()
    house.answer("chat")
    house.step()
    (told,) = house.view.pools()

    assert (told["name"], told["members"]) == ("chat", ["openai"])
    assert told["last_5_minutes"]["served"] == 1
    assert house.view.series()["chat"]["served"] == [1]


def test_a_failure_is_told_without_what_looks_like_a_credential():
    house = House()
    house.fail(errors.LLMAPIError("openai", 500, "bad key sk-canary0123456789abcdef"))
    (told,) = house.view.failures()

    assert told["code"] == "LLM_API_ERROR"
    assert "canary" not in told["message"]
    assert (told["request_id"], told["attempts"], told["duration_seconds"]) == ("r1", 4, 0.5)


def test_the_time_line_has_everything_the_newest_first():
    house = House()
    house.pass_time(1)
    house.trip()
    house.pass_time(1)
    house.history.rejected(["test.yaml:1:1: x: is not a key here"])
    house.pass_time(1)
    order(house, "release")
    told = house.view.timeline()

    assert [one["kind"] for one in told][-3:] == ["config", "moved", "started"]
    assert {one["kind"] for one in told[:-3]} == {"action", "moved"}
    assert told[-3]["problems"] == ["test.yaml:1:1: x: is not a key here"]


def test_the_moves_are_told_the_newest_first():
    house = House()
    house.trip()
    house.pass_time(1)
    order(house, "force-open")
    house.pass_time(1)
    order(house, "reset")
    told = house.view.transitions()

    assert [(one["from_state"], one["to_state"]) for one in told] == [
        ("open", "closed"),
        ("closed", "open"),
    ]
    assert told[1]["open_seconds"] == 30.0


def test_a_circuit_opened_until_released_has_no_number_of_seconds():
    house = House()
    order(house, "force-open")

    assert house.view.transitions()[0]["open_seconds"] is None


async def test_the_figures_grow_by_themselves():
    loop = asyncio.get_running_loop()
    house = House(clock=loop.time)
    watching = loop.create_task(house.view.watch())
    await asyncio.sleep(0)
    house.answer()
    await asyncio.sleep(2 * STEP + 1)
    watching.cancel()

    assert house.view.upstream("openai")["series"]["served"] == [1, 0]
