"""Which questions are the same, and what may be kept for how long."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cache import rules
from proxy.cache.rules import ANY_AGE

NOW = 1_800_000_000.0
SCOPE = rules.scope("openai", "https://api.openai.com", "")


def asked(**changes):
    facts = {"method": "POST", "target": "/v1/embeddings", "headers": (), "body": b"{}"} | changes
    return rules.key(
        SCOPE,
        facts["method"],
        facts["target"],
        facts["headers"],
        body=facts["body"],
        without=facts.get("without", frozenset()),
    )


def lives(*answer, status=200, ttl=60.0, stale=10.0, without=frozenset()):
    life = rules.lifetime(NOW, status, answer, ttl=ttl, stale_if_error=stale, without=without)
    return life and (life.born - NOW, life.fresh_until - NOW, life.stale_until - NOW)


# The key


@pytest.mark.parametrize(
    "change",
    [
        {"method": "GET"},
        {"target": "/v1/embeddings?x"},
        {"body": b"{ }"},
        {"headers": [(b"Authorization", b"Bearer a")]},
        {"headers": [(b"X-Any-Credential-At-All", b"a")]},
        {"headers": [(b"OpenAI-Organization", b"a")]},
        {"headers": [(b"Accept-Encoding", b"gzip")]},
        {"headers": [(b"Content-Type", b"text/plain")]},
        {"headers": [(b"Origin", b"http://a")]},
        {"headers": [(b"Cookie", b"a=b")]},
    ],
)
def test_what_is_asked_tells_questions_apart(change):
    assert asked(**change) != asked()


def test_other_upstreams_addresses_and_credentials_of_ours_are_other_questions():
    scopes = [
        rules.scope("a", "http://x", "key"),
        rules.scope("b", "http://x", "key"),
        rules.scope("a", "http://y", "key"),
        rules.scope("a", "http://x", "other"),
        rules.scope("a", "http://xkey", ""),
    ]
    keys = {rules.key(scope, "GET", "/", (), body=b"") for scope in scopes}

    assert len(keys) == len(scopes)
    assert {len(key) for key in keys} == {32}


@pytest.mark.parametrize(
    "name",
    [
        b"User-Agent",
        b"Traceparent",
        b"X-Request-ID",
        b"X-Stainless-Retry-Count",
        b"X-Forwarded-For",
        b"X-OctoLLM-Timeout",
        b"Idempotency-Key",
        b"Connection",
        b"Content-Length",
        b"Cache-Control",
    ],
)
def test_who_asks_and_by_which_way_does_not(name):
    assert asked(headers=[(name, b"a")]) == asked()


def test_the_order_and_the_case_of_names_say_nothing_the_order_of_values_does():
    one, other, again = (b"Accept", b"a"), (b"x-b", b"c"), (b"ACCEPT", b"b")

    assert asked(headers=[one, other]) == asked(headers=[(b"X-B", b"c"), (b"accept", b"a")])
    assert asked(headers=[one, again]) != asked(headers=[again, one])


def test_credentials_do_not_count_where_answers_are_shared():
    shared = frozenset((b"authorization",))

    assert asked(headers=[(b"Authorization", b"a")], without=shared) == asked(without=shared)
    assert asked(headers=[(b"Api-Key", b"a")], without=shared) != asked(without=shared)


@given(st.lists(st.lists(st.text("ab:1", max_size=3), min_size=1, max_size=4), max_size=6))
def test_no_two_lists_of_facts_are_one_scope(lists):
    for one, other in itertools.combinations(lists, 2):
        assert (rules.scope(*one) == rules.scope(*other)) == (one == other)


# What a caller takes


@pytest.mark.parametrize(
    ("headers", "age"),
    [
        ([], ANY_AGE),
        ([(b"Cache-Control", b"max-stale=3")], ANY_AGE),
        ([(b"Cache-Control", b"no-cache")], 0.0),
        ([(b"cache-control", b"max-age=0"), (b"Cache-Control", b"x, No-Store")], None),
        ([(b"Cache-Control", b"max-age=30")], 30.0),
        ([(b"Cache-Control", b"max-age=soon")], 0.0),
        ([(b"Pragma", b"no-cache")], 0.0),
        ([(b"Pragma", b"no-cache"), (b"Cache-Control", b"max-age=30")], 30.0),
        ([(b"Range", b"bytes=0-1")], None),
        ([(b"If-None-Match", b"x")], None),
        ([(b"Expect", b"100-continue")], None),
        ([(b"Upgrade", b"websocket")], None),
    ],
)
def test_a_caller_says_how_old_an_answer_may_be(headers, age):
    assert rules.accepted_age(headers) == age


# What may be kept


@pytest.mark.parametrize(
    "answer",
    [
        [(b"Cache-Control", b"no-store")],
        [(b"Cache-Control", b"max-age=60, private")],
        [(b"Cache-Control", b'private="x, y"')],
        [(b"Cache-Control", b"max-age=60"), (b"cache-control", b"NO-CACHE")],
        [(b"Cache-Control", b"max-age=0")],
        [(b"Cache-Control", b"s-maxage=0, max-age=60")],
        [(b"Cache-Control", b"max-age=soon")],
        [(b"Cache-Control", b"max-age=60"), (b"Age", b"60")],
        [(b"Vary", b"*")],
        [(b"Vary", b"Accept, User-Agent")],
        [(b"Content-Type", b"text/event-stream; charset=utf-8")],
        [(b"Expires", b"0"), (b"Date", b"Fri, 15 Jan 2027 08:00:00 GMT")],
        [(b"Expires", b"Fri, 15 Jan 2027 08:00:00 GMT")],
        [(b"X", b"a\rb")],
    ],
)
def test_what_is_not_for_others_or_not_for_later_is_not_kept(answer):
    assert lives(*answer) is None


@pytest.mark.parametrize("status", [201, 203, 204, 206, 301, 304, 404, 500])
def test_only_a_plain_200_is_kept(status):
    assert lives(status=status) is None


@pytest.mark.parametrize(
    ("answer", "life"),
    [
        ([], (0, 60, 70)),
        ([(b"Cache-Control", b"public, max-age=3600")], (0, 60, 70)),
        ([(b"Cache-Control", b"max-age=20")], (0, 20, 30)),
        ([(b"Cache-Control", b'max-age="20", max-age=50')], (0, 20, 30)),
        ([(b"Cache-Control", b"max-age=20"), (b"Age", b"5")], (-5, 15, 25)),
        ([(b"Age", b"5")], (-5, 60, 70)),
        ([(b"Cache-Control", b"max-age=20, must-revalidate")], (0, 20, 20)),
        ([(b"Cache-Control", b"max-age=90, s-maxage=30")], (0, 30, 30)),
        ([(b"Vary", b"Accept-Encoding"), (b"Vary", b"Origin, Authorization,")], (0, 60, 70)),
        (
            [
                (b"Date", b"Fri, 15 Jan 2027 08:00:00 GMT"),
                (b"Expires", b"Fri, 15 Jan 2027 08:00:30 GMT"),
            ],
            (0, 30, 40),
        ),
    ],
)
def test_the_upstream_can_shorten_the_time_and_not_prolong_it(answer, life):
    assert lives(*answer) == life


def test_where_answers_are_shared_what_differs_by_credential_is_not_kept():
    assert lives((b"Vary", b"Authorization"), without=frozenset((b"authorization",))) is None


def test_what_is_true_of_one_call_is_not_told_to_the_next():
    answer = [
        (b"Content-Type", b"application/json"),
        (b"Set-Cookie", b"a=b"),
        (b"X-Request-ID", b"1"),
        (b"X-RateLimit-Remaining-Requests", b"3"),
        (b"X-OctoLLM-Attempts", b"1"),
        (b"Age", b"3"),
        (b"ETag", b'"x"'),
    ]

    assert rules.for_everybody(answer) == [answer[0], answer[-1]]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"Cache-Control", b"Vary", b"Expires", b"Date", b"Age"]),
            st.binary(max_size=30),
        ),
        max_size=5,
    )
)
def test_whatever_a_head_says_it_is_judged(answer):
    life = lives(*answer)
    assert life is None or life[0] <= 0 < life[1] <= life[2]
    rules.accepted_age(answer)
