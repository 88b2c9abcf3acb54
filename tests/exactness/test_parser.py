"""What of aiohttp's parsers the wire has to work around; an upgrade that mends it will show here."""

import asyncio

import pytest
from exactness import answering, asking

from proxy.wire.parser import is_clear, request_parser, response_parser


class Flow:
    def pause_reading(self):
        pass

    def resume_reading(self, resume_parser=True):
        pass


TRAILED = asking.chunked(b"0\r\nX-Trailer: y\r\n\r\n")


@pytest.fixture
async def requests():
    return request_parser(Flow(), asyncio.get_running_loop(), 4096)


@pytest.fixture
async def responses():
    return response_parser(Flow(), asyncio.get_running_loop(), 4096)


async def test_a_trailer_stands_at_the_top_of_the_next_request(requests):
    requests.feed_data(TRAILED)
    requests.message_consumed()
    [(head, _)], _, _ = requests.feed_data(asking.SMUGGLED)

    assert head.raw_headers == ((b"X-Trailer", b"y"), (b"Host", b"x"))


async def test_a_trailer_stands_at_the_top_of_the_next_answer(responses):
    coded = answering.head(b"Transfer-Encoding: chunked")
    responses.feed_data(coded + b"0\r\nX-Trailer: y\r\n\r\n")
    [(head, _)], _, _ = responses.feed_data(answering.plain())

    assert head.raw_headers == ((b"X-Trailer", b"y"), (b"Content-Length", b"6"))


@pytest.mark.parametrize(
    ("more", "clear"),
    [
        (b"", True),
        (b"\r\n", True),
        (b"G", False),
        (asking.SMUGGLED[:20], False),
        (asking.SMUGGLED, False),
        (b"GET /up/x HTTP/1.1\r\nX: \0", False),
        (b"\0", False),
    ],
)
async def test_what_has_come_behind_a_request_can_be_asked(requests, more, clear):
    requests.feed_data(TRAILED + more)
    requests.message_consumed()

    assert is_clear(requests) is clear


@pytest.mark.parametrize(
    ("more", "clear"),
    [(b"", True), (b"HTTP/1.1 2", False), (answering.EVIL[:20], False), (b"HTTP/1.1 200 OK\r\nX: a\0\r\n", False)],
)  # fmt: skip
async def test_what_has_come_behind_an_answer_can_be_asked(responses, more, clear):
    responses.feed_data(answering.plain() + more)

    assert is_clear(responses) is clear
