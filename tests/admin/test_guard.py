import pytest

from proxy import errors
from proxy.admin.guard import Ask, bears, refusal

HERE = "127.0.0.1:8081"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("loopback", [True, False])
def test_reading_is_free(method, loopback):
    assert refusal(Ask(method, HERE, "http://evil"), loopback=loopback, token=None) is None


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "ANYTHING"])
def test_changing_from_this_machine_needs_no_token(method):
    assert refusal(Ask(method, HERE), loopback=True, token="secret") is None


def test_a_listener_others_reach_serves_reads_only_without_a_token():
    ask = Ask("POST", "proxy:8081", authorization="Bearer ")

    assert isinstance(refusal(ask, loopback=False, token=None), errors.AuthorizationError)
    assert isinstance(refusal(ask, loopback=False, token=""), errors.AuthorizationError)


@pytest.mark.parametrize(
    ("authorization", "admitted"),
    [
        ("Bearer secret", True),
        ("bearer  secret ", True),
        ("Bearer s\udce9cret", False),
        ("Bearer secre", False),
        ("Basic secret", False),
        ("secret", False),
        ("", False),
        (None, False),
    ],
)
def test_a_listener_others_reach_wants_the_token(authorization, admitted):
    ask = Ask("POST", "proxy:8081", authorization=authorization)
    refused = refusal(ask, loopback=False, token="secret")

    assert (refused is None) is admitted
    assert bears(authorization, "secret") is admitted
    assert admitted or isinstance(refused, errors.AuthenticationError)


@pytest.mark.parametrize(
    ("facts", "crosses"),
    [
        ({}, False),
        ({"fetch_site": "same-origin"}, False),
        ({"fetch_site": "none"}, False),
        ({"fetch_site": "same-site"}, True),
        ({"fetch_site": "cross-site"}, True),
        ({"origin": f"http://{HERE}"}, False),
        ({"origin": f"HTTP://{HERE}"}, False),
        ({"origin": "http://127.0.0.1:9999"}, True),
        ({"origin": "null"}, True),
        ({"origin": "https://evil.example"}, True),
        ({"origin": "http://[::1]:8081", "host": "[::1]:8081"}, False),
        ({"origin": "http://localhost:8081", "host": "localhost:8081"}, False),
        ({"origin": "http://localhost:8081", "host": None}, True),
    ],
)
def test_only_a_page_of_ours_may_change_something(facts, crosses):
    ask = Ask("POST", **{"host": HERE, **facts})

    assert isinstance(refusal(ask, loopback=True, token=None), errors.AuthorizationError) is crosses


@pytest.mark.parametrize("facts", [{"origin": "http://evil.example:8081"}, {"fetch_site": "none"}])
def test_a_name_that_its_owner_points_at_us_does_not_make_his_page_ours(facts):
    ask = Ask("POST", "evil.example:8081", **facts)

    assert isinstance(refusal(ask, loopback=True, token=None), errors.AuthorizationError)
    assert refusal(ask, loopback=False, token="t").error_code == "AUTHENTICATION_ERROR"
