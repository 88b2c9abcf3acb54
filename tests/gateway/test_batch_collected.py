"""An answer that is kept whole, and told as JSON."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import CapacityExceededError
from proxy.gateway import strictjson
from proxy.gateway.collected import Collected, failure, success
from proxy.wire.body import Memory


def collected(
    body: bytes, media_type: bytes = b"application/json", *more: tuple[bytes, bytes]
) -> Collected:
    answer = Collected(Memory(1 << 20))
    answer.send(200, [(b"Content-Type", media_type), *more], body)
    return answer


@given(
    st.binary(max_size=50)
    | st.text(max_size=50).map(str.encode)
    | st.integers().map(lambda n: b" [%d,\n1]\r\n" % n),
    st.sampled_from([b"application/json", b"Application/X+JSON ; a=b", b"text/plain", b""]),
    st.text(min_size=1),
)
def test_every_body_can_be_had_back_from_one_line(body, media_type, id):
    line = success(id, collected(body, media_type))
    told = json.loads(line)

    assert b"\n" not in line
    assert told["id"].encode("utf-8", "surrogatepass") == id.encode("utf-8", "surrogatepass")
    if not body:
        assert told["body"] is None
    elif "encoding" in told:
        assert (told["encoding"], base64.b64decode(told["body"])) == ("base64", body)
    elif isinstance(told["body"], str) and told["body"].encode() == body:
        pass
    else:
        assert b"json" in media_type.lower()
        assert told["body"] == json.loads(body)


def test_an_id_may_be_text_that_is_no_utf_8():
    assert json.loads(success("\ud800", collected(b"1")))["id"] == "\ud800"


def test_an_answer_begun_again_forgets_the_first_and_gives_its_memory_back():
    memory = Memory(10)
    answer = Collected(memory)
    answer.start(200, [], None)
    answer.write(b"12345678")
    answer.start(201, [], None)
    answer.write(b"x")

    assert (answer.status, answer.body, memory.used) == (201, b"x", 1)
    answer.abort()
    assert (answer.body, memory.used) == (b"", 0)


def test_what_does_not_fit_is_refused_and_holds_nothing():
    memory = Memory(10)
    answer = Collected(memory)
    answer.start(200, [], None)
    answer.write(b"12345678")
    with pytest.raises(CapacityExceededError):
        answer.write(b"123")

    assert (answer.body, memory.used) == (b"", 0)


def test_an_error_is_always_taken():
    memory = Memory(0)
    answer = Collected(memory)
    answer.send(500, [], b"why")

    assert (answer.status, answer.body, memory.used) == (500, b"why", 0)


async def test_an_answer_never_counts_as_started_and_no_item_becomes_a_tunnel():
    answer = collected(b"1")
    answer.flush()
    await answer.drain()
    answer.finish()

    assert not answer.started
    with pytest.raises(AssertionError):
        answer.switch([])


def test_an_error_is_told_with_the_id_first():
    told = json.loads(failure("a", CapacityExceededError("full", retry_after=1)))

    assert told == {
        "id": "a",
        "error": "CAPACITY_EXCEEDED",
        "message": "full",
        "details": {},
        "retry_after": 1,
    }


def test_what_nests_without_end_cannot_be_written():
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(ValueError):
        strictjson.write(nested)
