"""The door to aiohttp: its C parsers, made as this folder relies on them, and what they raise.

The parser's module is undocumented, so aiohttp is pinned exactly and each property used here is
named and tried by `tests/wire/test_parser_contract.py`. Nothing else in `wire/` imports aiohttp.

A parser hands each body to a `StreamReader` of its own, which tells the *flow* it was made with to
pause and resume. We only ever `read_nowait` from it: who waits, and for how long, is ours.
"""

import asyncio
from typing import Protocol, cast

from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.http_parser import (
    HttpRequestParser,
    HttpRequestParserPy,
    HttpResponseParser,
    HttpResponseParserPy,
    RawRequestMessage,
    RawResponseMessage,
)

__all__ = [
    "MALFORMED",
    "LineTooLong",
    "RawRequestMessage",
    "RawResponseMessage",
    "RequestParser",
    "ResponseParser",
    "StreamReader",
    "is_clear",
    "request_parser",
    "response_parser",
]

# The pure-Python parsers read some malformed messages differently, and had advisories of their own.
if HttpRequestParser is HttpRequestParserPy or HttpResponseParser is HttpResponseParserPy:
    raise ImportError(
        "aiohttp was installed without its C parser; octollm-proxy does not run on it"
    )

RequestParser = HttpRequestParserPy
ResponseParser = HttpResponseParserPy

MALFORMED = (HttpProcessingError, ValueError, LookupError)
"""What `feed_data` raises for bytes that are not HTTP; the last two come from yarl, on targets.

Their texts echo the bytes: show none.
"""

_BUFFER = 65536
"""Bytes of body held before reading pauses; twice this and one read of the socket is the most."""

_NO_LIMIT = 2**31
"""Header fields are counted in `framing`, where too many can be told from malformed ones."""


class Flow(Protocol):
    """A connection whose reading a full body buffer pauses."""

    def pause_reading(self) -> None: ...

    def resume_reading(self, resume_parser: bool = True) -> None: ...


def request_parser(flow: Flow, loop: asyncio.AbstractEventLoop, head_size: int) -> RequestParser:
    """Make a parser that stops after each message until `message_consumed()` is called."""
    return HttpRequestParser(
        cast("BaseProtocol", flow),
        loop,
        _BUFFER,
        max_line_size=head_size,
        max_field_size=head_size,
        max_headers=_NO_LIMIT,
        auto_decompress=False,
        max_msg_queue_size=1,
    )


def is_clear(parser: RequestParser | ResponseParser) -> bool:
    """Tell, when a message has ended, whether nothing of another one has come after it.

    A parser that has something of one is of no use afterwards.
    """
    try:
        return not parser.feed_data(b"")[0] and parser.feed_eof() is None
    except MALFORMED:
        return False


def response_parser(flow: Flow, loop: asyncio.AbstractEventLoop, head_size: int) -> ResponseParser:
    """Make a parser that takes a body without a length to last until the connection ends."""
    return HttpResponseParser(
        cast("BaseProtocol", flow),
        loop,
        _BUFFER,
        max_line_size=head_size,
        max_field_size=head_size,
        max_headers=_NO_LIMIT,
        read_until_eof=True,
        auto_decompress=False,
    )
