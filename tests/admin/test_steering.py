import io
import json

import pytest
from admin.house import House

from proxy import errors
from proxy.admin import steering
from proxy.admin.steering import Order
from proxy.observe import logs
from proxy.policy.breaker import State


def obey(house, action, ttl=None, mode=None):
    order = Order(action, "a drill", ttl, mode)
    return steering.obey(order, "openai", house.breaker(), house.history, "192.0.2.1")


@pytest.mark.parametrize(
    ("action", "body", "expected"),
    [
        ("reset", {"reason": "a drill"}, Order("reset", "a drill")),
        ("force-open", {"reason": "x", "ttl": "10m"}, Order("force-open", "x", 600.0)),
        ("force-closed", {"reason": "x", "ttl": 1.5}, Order("force-closed", "x", 1.5)),
        ("force-open", {"reason": "x", "ttl": None}, Order("force-open", "x")),
        (
            "mode",
            {"reason": "x", "mode": "observe", "ttl": "1h"},
            Order("mode", "x", 3600.0, "observe"),
        ),
    ],
)
def test_an_order_is_read_from_its_json(action, body, expected):
    assert steering.read(action, body) == expected


@pytest.mark.parametrize(
    ("action", "body", "fields"),
    [
        ("reset", {}, {"reason"}),
        ("reset", {"reason": "  "}, {"reason"}),
        ("reset", {"reason": 7}, {"reason"}),
        ("reset", {"reason": "x" * 201}, {"reason"}),
        ("release", {"reason": "x", "ttl": "10m"}, {"ttl"}),
        ("force-open", {"reason": "x", "ttl": "soon"}, {"ttl"}),
        ("force-open", {"reason": "x", "ttl": 0}, {"ttl"}),
        ("force-open", {"reason": "x", "ttl": -1}, {"ttl"}),
        ("force-open", {"reason": "x", "ttl": [1]}, {"ttl"}),
        ("force-open", {"reason": "x", "ttl": True}, {"ttl"}),
        ("force-open", {"ttl": "soon", "mode": "observe"}, {"reason", "ttl", "mode"}),
        ("mode", {"reason": "x"}, {"mode"}),
        ("mode", {"reason": "x", "mode": "off"}, {"mode"}),
        ("mode", {"reason": "x", "mode": ["observe"]}, {"mode"}),
    ],
)
def test_all_that_is_wrong_with_an_order_is_said_at_once(action, body, fields):
    with pytest.raises(errors.ValidationErrors) as wrong:
        steering.read(action, body)

    assert {error["field"] for error in wrong.value.details["errors"]} == fields


@pytest.mark.parametrize("body", [None, [], "reason", 3])
def test_an_order_is_a_json_object(body):
    with pytest.raises(errors.ValidationError, match="JSON object"):
        steering.read("reset", body)


def test_a_reason_is_kept_without_what_looks_like_a_credential():
    order = steering.read("reset", {"reason": "with sk-canary0123456789abcdef\nall is well"})

    assert "canary" not in order.reason
    assert order.reason.endswith("all is well")


def test_each_order_does_what_it_says():
    house = House()
    breaker = house.breaker()
    obey(house, "force-open", 60.0)
    forced = breaker.open_until - house.clock()
    obey(house, "release")
    released = breaker.state
    obey(house, "force-closed", 60.0)
    house.trip()
    closed = breaker.state
    house.pass_time(60)
    house.trip()
    opened = breaker.state
    obey(house, "reset")
    reset = breaker.state
    obey(house, "mode", 60.0, "observe")
    observing = breaker.mode
    house.pass_time(60)

    assert forced == 60
    assert (released, closed, opened, reset) == (
        State.HALF_OPEN,
        State.CLOSED,
        State.OPEN,
        State.CLOSED,
    )
    assert (observing, breaker.mode) == ("observe", "enforce")


@pytest.mark.parametrize("mode", ["observe", "disabled"])
def test_what_would_reject_nothing_is_refused(mode):
    house = House()
    house.breaker().set_mode(mode)
    with pytest.raises(errors.ValidationError, match=f"in mode {mode}") as refused:
        obey(house, "force-open")

    assert refused.value.status == 409
    assert house.breaker().state is State.CLOSED
    assert not house.history.actions


def test_what_was_done_is_noted_and_logged_with_who_and_why():
    stream = io.BytesIO()
    logs.configure("info", "json", stream)
    house = House()
    acted = obey(house, "mode", 60.0, "observe")
    logs.close()
    (line,) = map(json.loads, stream.getvalue().splitlines())

    assert list(house.history.actions) == [acted]
    assert (acted.by, acted.why, acted.until) == ("192.0.2.1", "a drill", house.wall() + 60)
    assert (line["event"], line["level"], line["upstream"]) == ("admin.action", "warning", "openai")
    assert line["reason"] == "a drill"
