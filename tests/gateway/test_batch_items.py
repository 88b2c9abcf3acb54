"""What a batch asks for: everything that may be sent, and everything that may not."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import schema
from proxy.errors import ValidationError, ValidationErrors
from proxy.gateway.items import Asked, read

BOUNDS = schema.Batch(items=5, size=1 << 20, concurrency=16)
HEADS = schema.Limits(header_size=1024, header_count=16)


def order(items: object, query: str = "", **more: object) -> Asked:
    return read(json.dumps({"requests": items, **more}).encode(), query, BOUNDS, HEADS, lines=False)


def item(**parts: object) -> dict[str, object]:
    return {"id": "a", "method": "POST", "path": "/up/x", **parts}


def faults(items: object, query: str = "", **more: object) -> list[dict[str, str]]:
    with pytest.raises(ValidationErrors) as refused:
        order(items, query, **more)
    return refused.value.details["errors"]


def fields(*args: object, **more: object) -> list[str]:
    return [fault["field"] for fault in faults(*args, **more)]


def test_an_item_is_what_it_says():
    (found,) = order([item(headers={"A": " b\t", "C": "\xe9"}, body={"x": 1})]).items

    assert (found.id, found.method, found.path) == ("a", "POST", "/up/x")
    assert found.headers == [(b"A", b"b"), (b"C", b"\xe9"), (b"Content-Type", b"application/json")]
    assert found.body == b'{"x":1}'


@pytest.mark.parametrize(
    ("more", "query", "concurrency", "deadline"),
    [
        ({}, "", 8, None),
        ({"concurrency": 3, "deadline": "1m30s"}, "", 3, 90),
        ({"concurrency": 99, "deadline": 5}, "", 16, 5),
        ({"deadline": None}, "", 8, None),
        ({}, "concurrency=2&deadline=250ms", 2, 0.25),
        ({"concurrency": 3}, "concurrency=2", 3, None),
    ],
)
def test_concurrency_and_deadline_stand_in_the_object_or_the_query(
    more, query, concurrency, deadline
):
    found = order([item()], query, **more)

    assert (found.concurrency, found.deadline) == (concurrency, deadline)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"concurrency": 0}, "concurrency"),
        ({"concurrency": 1.5}, "concurrency"),
        ({"concurrency": True}, "concurrency"),
        ({"deadline": "soon"}, "deadline"),
        ({"deadline": 0}, "deadline"),
        ({"deadline": -1}, "deadline"),
        ({"depth": 1}, ""),
    ],
)
def test_what_is_wrong_with_the_batch_itself_is_told_by_its_key(more, field):
    assert fields([item()], **more) == [field]


@pytest.mark.parametrize("items", [None, {}, "x", 3, [item(id=str(n)) for n in range(6)]])
def test_the_requests_are_a_list_that_is_not_too_long(items):
    assert fields(items) == ["requests"]


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ({"id": ""}, ".id"),
        ({"id": 7}, ".id"),
        ({"id": None}, ".id"),
        ({"method": "post"}, ".method"),
        ({"method": "CONNECT"}, ".method"),
        ({"method": []}, ".method"),
        ({"path": "up/x"}, ".path"),
        ({"path": "http://up/x"}, ".path"),
        ({"path": "/up/x y"}, ".path"),
        ({"path": "/up/\xe9"}, ".path"),
        ({"path": "/up/x\r\nA: b"}, ".path"),
        ({"path": "/up/x#y"}, ".path"),
        ({"path": "/up/../-/batch"}, ".path"),
        ({"path": "/up/%2e%2e/x"}, ".path"),
        ({"path": "/-/batch"}, ".path"),
        ({"path": "/-/"}, ".path"),
        ({"path": "/-?x"}, ".path"),
        ({"path": 3}, ".path"),
        ({"headers": []}, ".headers"),
        ({"headers": None}, ".headers"),
        ({"headers": {"A": 1}}, ".headers"),
        ({"headers": {"A": "b\r\nC: d"}}, ".headers"),
        ({"headers": {"A": "\u20ac"}}, ".headers"),
        ({"headers": {"": "x"}}, ".headers"),
        ({"headers": {"A_B": "x"}}, ".headers"),
        ({"headers": {"A:": "x"}}, ".headers"),
        ({"headers": {"A": "x" * 2000}}, ".headers"),
        ({"headers": {f"A{n}": "x" for n in range(17)}}, ".headers"),
        *(
            ({"headers": {name: "x"}}, ".headers")
            for name in ("Content-Length", "transfer-encoding", "Connection", "TE", "Upgrade")
        ),
        *(({"headers": {name: "x"}}, ".headers") for name in ("Host", "origin", "Sec-Fetch-Site")),
        *(({"headers": {name: "x"}}, ".headers") for name in ("Via", "Expect", "Keep-Alive")),
        ({"body": "\ud800"}, ".body"),
        ({"timeout": 3}, ""),
    ],
)
def test_what_is_wrong_with_an_item_is_told_by_its_place(parts, field):
    assert fields([item(id="first"), item(**parts)]) == [f"requests[1]{field}"]


def test_numbers_that_json_has_not_are_not_sent():
    text = b'{"requests": [{"id": "a", "method": "POST", "path": "/up", "body": %b}]}'
    with pytest.raises(ValidationErrors):
        read(text % b"1e999", "", BOUNDS, HEADS, lines=False)
    with pytest.raises(ValidationError):
        read(text % b"NaN", "", BOUNDS, HEADS, lines=False)


def test_what_nests_without_end_is_no_batch():
    with pytest.raises(ValidationError):
        read(b'{"requests":' + b"[" * 100_000, "", BOUNDS, HEADS, lines=False)


def test_an_id_is_given_once():
    assert fields([item(), item(id="b"), item(), item()]) == ["requests[2].id", "requests[3].id"]


def test_an_item_says_all_that_is_wrong_with_it():
    assert fields([{"x": 1, "headers": 3}]) == [
        "requests[0]",
        "requests[0].id",
        "requests[0].method",
        "requests[0].path",
        "requests[0].headers",
    ]


def test_a_line_that_is_not_json_is_told_by_its_number_and_empty_ones_do_not_count():
    text = json.dumps(item()).encode() + b'\n\r\n{"id":\n3\n'
    with pytest.raises(ValidationErrors) as refused:
        read(text, "", BOUNDS, HEADS, lines=True)

    assert refused.value.details["errors"] == [
        {"field": "requests[1]", "message": "is not JSON"},
        {"field": "requests[2]", "message": "is not an object"},
    ]


def test_no_fault_repeats_what_the_caller_wrote():
    secret = "s3cret-\u20ac"
    bad = {"id": [secret], "method": secret, "path": secret, "headers": {secret: secret}, secret: 1}
    more = faults([bad, {**bad, "headers": {"A": secret}}, secret], deadline=secret)

    assert "s3cret" not in json.dumps(more)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
NEARLY_AN_ITEM = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from("abc") | ANYTHING,
        "method": st.sampled_from(["GET", "POST", "TRACE"]) | ANYTHING,
        "path": st.text("/-.%2eE#? abc\\\0\r\n\xe9", max_size=12).map("/".__add__) | ANYTHING,
        "headers": st.dictionaries(
            st.sampled_from(["Host", "A", "Content-Length", "b_c"]) | st.text(max_size=4),
            st.text(max_size=4) | ANYTHING,
            max_size=3,
        ),
        "body": ANYTHING,
    },
)


@given(st.lists(NEARLY_AN_ITEM | ANYTHING, max_size=5), ANYTHING, st.booleans())
def test_whatever_is_asked_for_is_refused_or_can_be_written_to_a_connection(items, deadline, lines):
    if lines:
        text = b"\n".join(json.dumps(found).encode() for found in items)
    else:
        text = json.dumps({"requests": items, "deadline": deadline}).encode()
    try:
        found = read(text, "", BOUNDS, HEADS, lines=lines)
    except ValidationError:
        return
    assert len(found.items) == len(items)
    assert len({one.id for one in found.items}) == len(items)
    for one in found.items:
        assert one.path.isascii()
        assert one.path.isprintable()
        assert not one.path.startswith("/-/")
        for name, value in one.headers:
            assert name.lower() not in (b"host", b"content-length", b"transfer-encoding")
            assert not any(byte < 32 and byte != 9 for byte in value)


@given(st.binary(max_size=200), st.text(max_size=30), st.booleans())
def test_no_bytes_make_it_fail_in_another_way(text, query, lines):
    with contextlib.suppress(ValidationError):
        read(text, query, BOUNDS, HEADS, lines=lines)
