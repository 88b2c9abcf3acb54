"""Each property of aiohttp's C parsers that `wire/` relies on, by name.

A failure here after an upgrade of aiohttp says what has changed; `wire/` must be looked at first.
"""

import ast
import asyncio
import importlib
from pathlib import Path

import pytest
from aiohttp import __version__
from aiohttp.http_exceptions import BadHttpMessage, HttpProcessingError

from proxy.wire import parser as door
from proxy.wire.parser import (
    MALFORMED,
    LineTooLong,
    RequestParser,
    ResponseParser,
    request_parser,
    response_parser,
)

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Flow:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self, resume_parser: bool = True) -> None:
        self.calls.append("resume")


@pytest.fixture
def flow():
    return Flow()


@pytest.fixture
async def requests(flow):
    return request_parser(flow, asyncio.get_running_loop(), 4096)


@pytest.fixture
async def responses(flow):
    return response_parser(flow, asyncio.get_running_loop(), 4096)


def post(*lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([b"POST / HTTP/1.1", b"Host: x", *lines]) + b"\r\n\r\n" + body


READ_AGAINST = "3.14.5"

RELIED_ON = {
    "aiohttp": {"StreamReader"},
    "aiohttp.base_protocol": {"BaseProtocol"},
    "aiohttp.http_exceptions": {"HttpProcessingError", "LineTooLong"},
    "aiohttp.http_parser": {
        "HttpRequestParser",
        "HttpRequestParserPy",
        "HttpResponseParser",
        "HttpResponseParserPy",
        "RawRequestMessage",
        "RawResponseMessage",
    },
}
"""Every name of aiohttp in `wire/`, by module."""


def test_it_is_the_version_this_was_read_against():
    assert __version__ == READ_AGAINST, (
        f"this is aiohttp {__version__}, and proxy/wire was written against {READ_AGAINST}: see which"
        " other tests here fail, read the changes of its http_parser, and then pin it anew"
    )


def test_the_table_has_every_name_that_comes_through_the_door():
    tree = ast.parse(Path(door.__file__).read_text())
    found = {
        node.module: {alias.name for alias in node.names}
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("aiohttp")
    }
    assert found == RELIED_ON


@pytest.mark.parametrize(
    ("module", "name"),
    [(module, name) for module, names in RELIED_ON.items() for name in sorted(names)],
)
def test_a_name_that_is_relied_on_is_there_and_public(module, name):
    assert not name.startswith("_")
    assert hasattr(importlib.import_module(module), name), (
        f"aiohttp {__version__} has no {module}.{name} any more, which proxy/wire/parser.py relies on"
    )


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (RequestParser, {"feed_data", "message_consumed", "feed_eof"}),
        (ResponseParser, {"feed_data", "feed_eof"}),
        (door.StreamReader, {"read_nowait", "is_eof", "at_eof", "total_bytes"}),
    ],
)
def test_what_is_called_on_an_object_is_there(kind, names):
    missing = {name for name in names if not hasattr(kind, name)}
    assert not missing, f"aiohttp {__version__}: {kind.__name__} has no {', '.join(missing)}"


async def test_a_head_that_is_too_large_in_one_field_says_so(requests):
    with pytest.raises(LineTooLong):
        requests.feed_data(post(b"A: " + b"b" * 5000))


# Upgrades


HANDSHAKE = (b"Connection: Upgrade", b"Upgrade: websocket")


def get(*lines: bytes, rest: bytes = b"") -> bytes:
    return b"\r\n".join([b"GET / HTTP/1.1", b"Host: x", *lines]) + b"\r\n\r\n" + rest


@pytest.mark.parametrize("lines", [HANDSHAKE, (*HANDSHAKE, b"Content-Length: 0")])
async def test_what_comes_with_the_head_of_an_upgrade_is_given_once_it_is_consumed(requests, lines):
    [(head, body)], upgraded, rest = requests.feed_data(get(*lines, rest=b"early"))
    assert (bool(head.upgrade), head.should_close, body.is_eof()) == (True, False, True)
    assert (upgraded, rest) == (False, b"")

    requests.message_consumed()

    assert requests.feed_data(b"") == ((), True, b"early")


async def test_after_an_upgrade_with_nothing_early_there_is_nothing(requests):
    requests.feed_data(get(*HANDSHAKE))
    requests.message_consumed()

    assert requests.feed_data(b"") == ((), True, b"")


async def test_an_upgrade_that_connection_does_not_name_is_none(requests):
    [(head, _)], _, _ = requests.feed_data(get(b"Upgrade: websocket"))
    assert not head.upgrade


async def test_every_protocol_an_upgrade_names_is_in_the_head_for_framing_to_judge(requests):
    [(head, _)], _, _ = requests.feed_data(get(*HANDSHAKE, b"Upgrade: h2c"))

    assert head.headers.getall("Upgrade") == ["websocket", "h2c"]


async def test_an_answer_of_101_gives_what_came_with_it(responses):
    [(head, _)], upgraded, rest = responses.feed_data(
        b"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly"
    )
    assert (head.code, upgraded, rest) == (101, True, b"early")


async def test_an_answer_of_101_without_an_upgrade_switches_nothing(responses):
    [(head, _)], upgraded, rest = responses.feed_data(b"HTTP/1.1 101 S\r\n\r\n")

    assert (head.code, upgraded, rest) == (101, False, b"")


async def test_the_parsers_in_use_are_the_c_ones(requests, responses):
    assert not isinstance(requests, RequestParser)
    assert not isinstance(responses, ResponseParser)


async def test_a_message_has_these_parts(requests):
    [(head, body)], upgraded, rest = requests.feed_data(post(b"a-B: c", b"Content-Length: 0"))

    assert (head.method, head.path, head.version) == ("POST", "/", (1, 1))
    assert head.raw_headers == ((b"Host", b"x"), (b"a-B", b"c"), (b"Content-Length", b"0"))
    assert head.headers["A-b"] == "c"
    assert (head.should_close, bool(head.upgrade), bool(head.chunked)) == (False, False, False)
    assert (body.is_eof(), body.at_eof(), body.total_bytes, body.read_nowait()) == (
        True,
        True,
        0,
        b"",
    )
    assert (upgraded, rest) == (False, b"")


async def test_the_request_parser_stops_after_each_message_until_it_is_consumed(requests):
    [(_, _)], _, _ = requests.feed_data(GET + post(b"Content-Length: 2", body=b"ab") + b"rubbish")

    requests.message_consumed()
    [(head, body)], _, _ = requests.feed_data(b"")
    assert (head.method, body.read_nowait()) == ("POST", b"ab")
    requests.message_consumed()
    with pytest.raises(MALFORMED):
        requests.feed_data(b"")


async def test_a_body_arrives_by_pieces_and_is_read_without_waiting(requests):
    [(_, body)], _, _ = requests.feed_data(post(b"Content-Length: 4", body=b"ab"))

    assert (body.read_nowait(), body.is_eof(), body.total_bytes) == (b"ab", False, 2)
    assert requests.feed_data(b"cd")[0] == ()
    assert (body.is_eof(), body.at_eof()) == (True, False)
    assert (body.read_nowait(), body.at_eof(), body.read_nowait()) == (b"cd", True, b"")


async def test_a_full_buffer_pauses_the_flow_and_reading_resumes_it(requests, flow):
    [(_, body)], _, _ = requests.feed_data(post(b"Content-Length: 999999"))
    requests.feed_data(b"x" * 131072)
    assert "pause" not in flow.calls
    requests.feed_data(b"x")
    assert flow.calls[-1] == "pause"
    requests.feed_data(b"x")  # pausing is of the socket: what is fed is still taken

    assert len(body.read_nowait()) == 131074
    assert flow.calls[-1] == "resume"


async def test_an_error_in_a_body_is_raised_to_whoever_feeds_and_leaves_the_body_as_it_was(
    requests,
):
    [(_, body)], _, _ = requests.feed_data(post(b"Transfer-Encoding: chunked", body=b"2\r\nab\r\n"))

    with pytest.raises(MALFORMED):
        requests.feed_data(b"zz\r\n")
    assert (body.exception(), body.is_eof(), body.read_nowait()) == (None, False, b"ab")


async def test_a_line_that_is_too_long_says_so(requests):
    with pytest.raises(LineTooLong):
        requests.feed_data(b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n")
    assert issubclass(LineTooLong, HttpProcessingError)
    assert issubclass(BadHttpMessage, HttpProcessingError)


async def test_any_number_of_fields_is_ours_to_count(flow):
    parser = request_parser(flow, asyncio.get_running_loop(), 4096)
    [(head, _)], _, _ = parser.feed_data(
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 500 + b"\r\n"
    )

    assert len(head.raw_headers) == 501


@pytest.mark.parametrize("byte", [*range(33), *range(127, 256)])
async def test_no_byte_that_may_not_stand_in_a_target_passes(flow, byte):
    parser = request_parser(flow, asyncio.get_running_loop(), 4096)
    data = b"GET /a" + bytes([byte]) + b"b HTTP/1.1\r\nHost: x\r\n\r\n"
    with pytest.raises(MALFORMED):
        parser.feed_data(data)


@pytest.mark.parametrize("byte", [*range(9), *range(10, 32), 127])
async def test_no_control_character_in_a_request_field_passes(flow, byte):
    parser = request_parser(flow, asyncio.get_running_loop(), 4096)
    with pytest.raises(MALFORMED):
        parser.feed_data(post(b"A: b" + bytes([byte]) + b"c"))


@pytest.mark.parametrize(
    "lines",
    [
        [b"Content-Length: 2", b"Content-Length: 2"],
        [b"Content-Length: 2, 2"],
        [b"Content-Length: 2", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: gzip"],
        [b"Host: y"],
        [b"A: b", b" c"],
        [b"A : b"],
    ],
)
async def test_what_two_parsers_could_read_in_two_ways_is_refused(requests, lines):
    with pytest.raises(MALFORMED):
        requests.feed_data(post(*lines, body=b"ok"))


async def test_a_target_that_yarl_stumbles_over_is_malformed_too(requests):
    with pytest.raises(MALFORMED):
        requests.feed_data(b"GET http://[::1]:99999@/ HTTP/1.1\r\nHost: x\r\n\r\n")


async def test_these_pass_and_are_refused_by_framing(flow):
    for data, fact in [
        (post(b"Transfer-Encoding: gzip, chunked"), "chunked"),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "chunked"),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", "should_close"),
        (b"GET /\r\n\r\n", "should_close"),
        (b"GET /#a HTTP/1.1\r\nHost: x\r\n\r\n", "path"),
    ]:
        parser = request_parser(flow, asyncio.get_running_loop(), 4096)
        [(head, _)], _, _ = parser.feed_data(data)
        assert getattr(head, fact)


async def test_an_answer_ends_with_the_connection_where_it_has_no_length(responses):
    [(head, body)], _, _ = responses.feed_data(b"HTTP/1.1 200 OK\r\n\r\nab")
    assert (head.should_close, body.is_eof()) == (True, False)

    responses.feed_eof()

    assert (body.is_eof(), body.read_nowait()) == (True, b"ab")


@pytest.mark.parametrize("framing", [b"Content-Length: 9", b"Transfer-Encoding: chunked"])
async def test_an_end_before_the_bodys_end_is_an_error(responses, framing):
    responses.feed_data(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
    with pytest.raises(MALFORMED):
        responses.feed_eof()


async def test_after_a_whole_answer_an_end_tells_whether_another_has_begun(flow):
    loop = asyncio.get_running_loop()
    clean, begun = response_parser(flow, loop, 4096), response_parser(flow, loop, 4096)
    clean.feed_data(OK)
    begun.feed_data(OK + b"HTTP/1.1 2")

    assert clean.feed_eof() is None
    assert begun.feed_eof() is not None
    [(_, body)], _, _ = clean.feed_data(OK)
    assert body.read_nowait() == b"ok"


async def test_interim_answers_are_messages_of_their_own(responses):
    heads, _, _ = responses.feed_data(b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n" + OK)

    assert [(head.code, body.is_eof()) for head, body in heads] == [(103, True), (200, True)]


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_a_body_has_none_whatever_it_announces(responses, status):
    [(_, body)], _, _ = responses.feed_data(b"HTTP/1.1 %d x\r\nContent-Length: 9\r\n\r\n" % status)
    assert body.at_eof()


async def test_a_compressed_body_is_left_as_it_is(responses):
    [(_, body)], _, _ = responses.feed_data(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"
    )
    assert body.read_nowait() == b"abc"
