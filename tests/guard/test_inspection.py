# ruff: noqa: RUF001 -- what looks alike is part of the subject
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import errors
from proxy.guard.inspection import TOLD, Guard


def request(*contents, **more):
    messages = [{"role": "user", "content": content} for content in contents]
    return json.dumps({"model": "m", "messages": messages, **more}).encode()


def sent(body, **settings):
    return json.loads(Guard(pii="redact", **settings).inspect(body).body)


def refused(body, **settings):
    with pytest.raises(errors.PiiDetectedError) as caught:
        Guard(pii="block", **settings).inspect(body)
    return caught.value.to_dict()


def faults(body, **settings):
    with pytest.raises(errors.ValidationErrors) as caught:
        Guard(pii="block", **settings).inspect(body)
    return caught.value.details["errors"]


def test_a_body_without_anything_to_find_is_the_very_same():
    body = request("hello", n=1)

    for pii in ("block", "redact", "report", None):
        inspected = Guard(pii=pii).inspect(body)
        assert inspected.body is body
        assert inspected.found == {}


def test_a_refusal_names_pattern_and_place_and_never_the_value():
    body = request("hi", "bob@x.org and 4111 1111 1111 1111", input={"eve@x.org": "415-555-2671"})
    told = refused(body)

    assert told["error"] == "PII_DETECTED"
    assert told["message"] == (
        "the request holds personal data: email in messages[1].content and 3 more"
    )
    assert told["details"] == {
        "found": [
            {"pattern": "email", "path": "messages[1].content"},
            {"pattern": "credit_card", "path": "messages[1].content"},
            {"pattern": "email", "path": "input.*"},
            {"pattern": "phone", "path": "input.*"},
        ],
        "counts": {"email": 2, "credit_card": 1, "phone": 1},
    }
    for value in ("bob", "eve", "x.org", "4111", "415"):
        assert value not in json.dumps(told)


def test_a_single_finding_is_told_alone():
    assert refused(request("a@b.co"))["message"] == (
        "the request holds personal data: email in messages[0].content"
    )


def test_what_is_told_is_bounded_and_what_is_counted_is_not():
    details = refused(request(*["a@b.co"] * (TOLD + 5)))["details"]

    assert len(details["found"]) == TOLD
    assert details["counts"] == {"email": TOLD + 5}


def test_two_findings_at_one_place_are_told_once():
    assert len(refused(request("a@b.co c@d.co"))["details"]["found"]) == 1


def test_the_same_value_has_the_same_mark_throughout_a_request():
    body = request("Bob@x.org, eve@x.org", "again bob@X.org, 4111-1111-1111-1111")

    assert [message["content"] for message in sent(body)["messages"]] == [
        "[EMAIL_1], [EMAIL_2]",
        "again [EMAIL_1], [CREDIT_CARD_1]",
    ]


def test_a_conversation_that_goes_on_keeps_its_marks():
    first = sent(request("bob@x.org", "eve@x.org"))
    second = sent(request("bob@x.org", "eve@x.org", "hello [EMAIL_2]", "zoe@x.org"))

    assert second["messages"][:2] == first["messages"]
    assert second["messages"][3]["content"] == "[EMAIL_3]"


def test_what_is_not_replaced_stays_as_it_was_to_the_byte():
    body = (
        '{ "n": 123456789012345678901234567890,\t"f": 1.50E+02, "n": 1,\r\n"e": "\\u00e9 é \\/",'
        ' "messages": ["\\u0061 é", "%s", "z"] , "z": -0.0}'
    )

    inspected = Guard(pii="redact").inspect((body % "é: bob@x.org\\n").encode())
    assert inspected.body.decode() == body % "é: [EMAIL_1]\\n"


def test_half_a_surrogate_pair_stays_what_it_was():
    body = rb'{"input": "\ud83d bob@x.org \uD83D\uDE00"}'

    assert Guard(pii="redact").inspect(body).body == (
        rb'{"input": "\ud83d [EMAIL_1] ' + "\N{GRINNING FACE}".encode() + b'"}'
    )


def test_a_report_counts_and_changes_nothing():
    body = request("bob@x.org eve@x.org", "8.8.8.8")
    inspected = Guard(pii="report").inspect(body)

    assert inspected.body is body
    assert inspected.found == {"email": 2, "ip": 1}


def test_only_the_fields_are_looked_into_and_all_strings_below_them():
    body = request([{"type": "text", "text": "a@b.co"}], metadata={"mail": "c@d.co"}, user="e@f.co")

    assert refused(body)["details"]["found"] == [
        {"pattern": "email", "path": "messages[0].content[0].text"}
    ]
    assert refused(body, fields=["user"])["details"]["found"] == [
        {"pattern": "email", "path": "user"}
    ]


@pytest.mark.parametrize(
    "body",
    [
        b'{"Messages": "a@b.co"}',
        b'{"MESSAGES": ["a@b.co"]}',
        '{"me\u017f\u017fages": "a@b.co"}'.encode(),
        b'{"\\u006dessages": "a@b.co"}',
        b'{"input": "x", "input": "a@b.co"}',
        b'{"input": "a@b.co", "input": "x"}',
        b'{"input": "\\u0061@b.co"}',
        b'["a@b.co"]',
        b'"a@b.co"',
        b'[{"anything": "a@b.co"}]',
        '{"prompt": "a\u200b＠b.co"}'.encode(),
    ],
)
def test_no_other_way_of_writing_it_gets_past(body):
    refused(body)


def test_a_name_is_looked_at_like_any_string_but_not_the_fields_own():
    assert refused(b'{"input": {"a@b.co": 1}}')["details"]["found"] == [
        {"pattern": "email", "path": "input.*"}
    ]
    assert Guard(pii="block", fields=["a@b.co"]).inspect(b'{"a@b.co": 1}').found == {}


def test_a_picture_is_passed_over_and_nothing_that_only_begins_like_one():
    picture = "data:image/png;base64," + "iVBORw0KGgo" * 1000 + "=="
    Guard(pii="block", max_prompt_chars=50).inspect(request(picture))

    for text in (picture + " a@b.co", "data: a@b.co", "data:text/plain,a@b.co", "x " + picture):
        assert Guard(pii="report", max_prompt_chars=None).inspect(request(text)).body
    refused(request(picture + " a@b.co"))
    refused(request("data:text/plain,a@b.co"))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "is not JSON: expected a value at character 0"),
        (b"{", "is not JSON: expected a string at character 1"),
        (b'{"messages": a@b.co}', "is not JSON: expected a value at character 13"),
        (b'{"input": "a@b.co', "is not JSON: expected a string that is whole at character 10"),
        (b'{"input": "\xff"}', "is not JSON: expected UTF-8 at byte 11"),
        (b'{"input": "\xed\xa0\xbd"}', "is not JSON: expected UTF-8 at byte 11"),
        ("{}".encode("utf-16"), "is not JSON: expected UTF-8 at byte 0"),
        (b"\xef\xbb\xbf{}", "is not JSON: expected a value at character 0"),
    ],
)
def test_what_is_not_json_is_told_by_its_place(body, message):
    assert faults(body) == [{"field": "body", "message": message}]


def test_a_prompt_may_have_so_many_characters_and_no_more():
    body = request("äöü", "abc", other="x" * 100)  # and "user" twice
    Guard(pii=None, max_prompt_chars=14).inspect(body)

    assert faults(body, max_prompt_chars=13) == [
        {
            "field": "messages, input, prompt",
            "message": "has 14 characters, and at most 13 are accepted",
        }
    ]


def test_without_pii_nothing_is_looked_for():
    body = request("bob@x.org")

    assert Guard(pii=None, max_prompt_chars=100).inspect(body) == (body, {})


@given(
    st.recursive(
        st.none() | st.integers() | st.text() | st.sampled_from(["bob@x.org", "to 8.8.8.8."]),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_what_is_sent_is_the_same_json_but_for_the_marks(value):
    body = json.dumps({"input": value, "n": 1}).encode()
    inspected = Guard(pii="redact", patterns=["email", "ip"]).inspect(body)

    expected = json.dumps({"input": value, "n": 1}, ensure_ascii=False)
    expected = expected.replace("bob@x.org", "[EMAIL_1]").replace("8.8.8.8", "[IP_1]")
    assert json.loads(inspected.body) == json.loads(expected)
    assert Guard(pii="redact").inspect(inspected.body).body is inspected.body
