import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire import headers

VIA = headers.via("ab12")

names = st.sampled_from(
    [b"Accept", b"accept", b"Connection", b"TE", b"Trailer", b"Upgrade", b"Keep-Alive", b"X-A", b"X-B",
     b"Host", b"Transfer-Encoding", b"Content-Length", b"Proxy-Authorization", b"X-OctoLLM-Timeout", b"Set-Cookie"]
)  # fmt: skip
values = st.sampled_from([b"1", b"close", b"X-A", b"x-b, host", b"keep-alive", b"", b", ,"])
heads = st.lists(st.tuples(names, values))


def up(*pairs, **facts):
    return headers.to_upstream(pairs, host=b"up:1", via=VIA, **facts)


def test_the_upstream_gets_its_own_host_and_our_via_and_all_else_as_it_was():
    given_head = [
        (b"HOST", b"us"),
        (b"x-a", b"1"),
        (b"Accept", b"*/*"),
        (b"X-A", b"2"),
        (b"Expect", b"100-continue"),
        (b"Via", b"1.1 other"),
    ]

    assert up(*given_head) == [(b"Host", b"up:1"), *given_head[1:], (b"Via", VIA)]


def test_a_head_without_host_gets_one_first_and_a_second_host_is_dropped():
    assert up((b"A", b"1"))[0] == (b"Host", b"up:1")
    assert up((b"Host", b"a"), (b"host", b"b"))[:-1] == [(b"Host", b"up:1")]


def test_what_is_set_replaces_and_what_is_removed_is_gone():
    head = up(
        (b"Host", b"x"),
        (b"authorization", b"theirs"),
        (b"Cookie", b"c"),
        remove=frozenset({b"authorization", b"cookie"}),
        set=[(b"Authorization", b"ours")],
    )

    assert head == [(b"Host", b"up:1"), (b"Via", VIA), (b"Authorization", b"ours")]


def test_a_connection_line_cannot_strip_what_we_add():
    head = up(
        (b"Connection", b"Authorization, Host"),
        (b"connection", b"X-A ,via"),
        (b"x-a", b"1"),
        set=[(b"Authorization", b"ours")],
    )

    assert head == [(b"Host", b"up:1"), (b"Via", VIA), (b"Authorization", b"ours")]


def test_our_control_headers_stay_here_both_ways():
    to_us = [(b"X-OctoLLM-Timeout", b"1s"), (b"X-Required-Capabilities", b"chat")]
    ours = [(b"x-octollm-request-id", b"2"), (b"X-OctoLLM-Upstream", b"inner")]

    assert up((b"Host", b"x"), *to_us)[1:] == [(b"Via", VIA)]
    assert headers.to_caller([*ours, (b"A", b"1")]) == [(b"A", b"1")]


def test_the_caller_gets_duplicates_in_order_and_no_framing():
    answer = [
        (b"Set-Cookie", b"a"),
        (b"Connection", b"close, X-Internal"),
        (b"Transfer-Encoding", b"chunked"),
        (b"X-Internal", b"1"),
        (b"set-cookie", b"b"),
        (b"ETag", b"e"),
    ]

    assert headers.to_caller(answer, remove=frozenset({b"etag"})) == [
        (b"Set-Cookie", b"a"),
        (b"set-cookie", b"b"),
    ]


@given(heads)
def test_filtering_is_idempotent_and_never_lets_a_hop_by_hop_field_through(head):
    once = headers.to_caller(head)

    assert headers.to_caller(once) == once
    assert not {name.lower() for name, _ in once} & headers.HOP_BY_HOP
    assert [pair for pair in head if pair in once] == once


@given(heads)
def test_an_upstream_gets_exactly_one_host_and_no_hop_by_hop_field(head):
    sent = up(*head)

    assert [value for name, value in sent if name.lower() == b"host"] == [b"up:1"]
    assert not {name.lower() for name, _ in sent} & headers.HOP_BY_HOP


@pytest.mark.parametrize(
    ("value", "loops"),
    [
        (VIA, True),
        (b"1.0 a, " + VIA.upper() + b" (comment)", True),
        (headers.via("cd34"), False),
        (b"1.1 octollm-proxy", False),
        (b"", False),
        (b"1.1 x (octollm-proxy-ab12)", False),
    ],
)
def test_a_loop_is_seen_by_our_own_token_alone(value, loops):
    assert headers.loops([(b"A", VIA), (b"via", value)], VIA) == loops


@pytest.mark.parametrize(
    ("head", "length"),
    [
        ([(b"content-length", b"12")], 12),
        ([(b"Content-Length", b"x")], None),
        ([(b"A", b"1")], None),
    ],
)
def test_an_announced_length_can_be_read(head, length):
    assert headers.content_length(head) == length


@given(st.binary(max_size=20))
def test_a_block_is_written_exactly_when_nothing_could_split_it(value):
    head = [(b"A", b"1"), (b"X", value)]

    if headers.check(head):
        assert headers.block(head) == b"A: 1\r\nX: " + value + b"\r\n"
    else:
        with pytest.raises(ValueError, match="control"):
            headers.block(head)
