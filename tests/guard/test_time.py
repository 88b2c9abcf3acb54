# ruff: noqa: RUF001 -- what looks alike is part of the subject
"""Inspecting takes time linear in the body, whatever the body: no caller can hold up the others."""

import json
import time
from contextlib import suppress
from statistics import median

import pytest

from proxy.errors import ValidationErrors
from proxy.guard.inspection import Guard

HOSTILE = [
    # what nearly is something, again and again
    "a", "a.", "a@", "@", "@a.", "@a.co", "a@b", "a@b.", "a@b.co", "a-", ".a@-", "a@a.a.a.a.a.a.",
    "1", "1 ", "1-", "12-", "1.", "1.1.1.1", "1.1.1.", "11 ", "(", "(1", "+1", "+1 ", "+1 415 ",
    "415-", "415-555-", "415-555-267", "415-555-2671 ", "(415) ", "2024-01-15 ", "4111 ", "4111-",
    "4111111111111111", "4111 1111 1111 1111 ", "4111 1111 1111 111 ", "3782 822463 ",
    "536-90-", "536-90-4399", "536-90-4399 ", ":", "a:", "a:b:", "::", "2a00::", "2a00:1450:",
    "DE", "DE8", "DE89", "DE89 ", "DE89370400440532013000 ", "DE88370400440532013000 ", "D1",
    "sk-", "sk-a", "sk-a1", "sk_live_", "xox", "AKIA", "AKIA2", "sk-abc123DEF456ghi789jkl ",
    "\\n", "\\", "\u200b", "４", "é", "\ud800", "data:a/a;base64,", "data:", "[", "{", '"', "\n",
]  # fmt: skip


NESTED = [
    ("[", '"a",', '"a"]'),
    ("[", '"a@b.co",', "1]"),
    ("[", "1,", "1]"),
    ("[", "[],", "1]"),
    ("[", '{"a": "b"},', "1]"),
    ("{", '"a@b.co": 1,', '"a": 1}'),
    ("{", '"": {},', '"a": 1}'),
    ("[" * 100, '"a",', '"a"' + "]" * 100),
    ("[", " ", "]"),
    ("", "1", ""),
    ("", "[", ""),
    ("", '{"a":', ""),
    ("", "]", ""),
    ('"', "\\\\", '"'),
    ('"', "\\u0061", '"'),
]


def assert_linear(body):
    guard = Guard(pii="redact", phone_regions=["US", "DE"])

    def cost(length):
        written = body(length).encode()
        began = time.thread_time()
        with suppress(ValidationErrors):
            guard.inspect(written)
        return time.thread_time() - began

    cost(2_000)
    # By turns, so that both meet the same noise.
    short, long = zip(*((cost(2_000), cost(8_000)) for _ in range(3)), strict=True)
    # Four times as long is about 4 if linear, 16 if quadratic.
    assert median(long) < 9 * median(short) + 0.02


@pytest.mark.parametrize("part", HOSTILE)
def test_four_times_the_text_takes_four_times_as_long(part):
    assert_linear(lambda length: json.dumps({"input": part * (length // len(part))}))


@pytest.mark.parametrize(("opening", "part", "closing"), NESTED)
def test_four_times_the_structure_takes_four_times_as_long(opening, part, closing):
    assert_linear(lambda length: f'{{"input": {opening}{part * (length // len(part))}{closing}}}')
