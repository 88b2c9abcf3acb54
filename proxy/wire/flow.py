"""What the two kinds of connection have in common: a socket that a full buffer stops.

It is stopped and started on the parser's word alone, as its `Flow`.
"""

import asyncio


class Connection(asyncio.Protocol):
    """A protocol whose reading a parser can pause."""

    __slots__ = ("_paused", "_transport")

    _paused: bool
    _transport: asyncio.Transport

    def pause_reading(self) -> None:
        """Stop the socket, on the parser's word: the body's buffer is full."""
        self._paused = True
        self._transport.pause_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: ARG002 - the parser's word
        """Start the socket again, on the parser's word; the parser itself was never stopped."""
        if self._paused:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()
