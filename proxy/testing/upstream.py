"""The scripted upstream: a real server on a real socket that answers as told and remembers it all.

    async with Upstream() as upstream:                  # in this loop; `with` runs it in a thread
        upstream.script(status(503, retry_after=2), reset(), ok("at last"))
        ...
        assert [seen.method for seen in upstream.seen] == ["GET"] * 3

What a request gets is decided by, in this order: the script's next answer; what was told with
`always`; its own `X-Script` header; its path (`words.py`).

Rule 1: it obeys HTTP only as far as it was told to. Rule 2: it is strict about what it is sent:
a malformed request is noted in `faults` and answered 400, and where its head was at fault, never
seen.
"""

import argparse
import asyncio
import contextlib
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Self

from proxy.testing.caller import Caller, reset_on_close
from proxy.testing.request import Left, Malformed, Seen, read_head
from proxy.testing.script import Answer, End, ask, status
from proxy.testing.words import Vocabulary

Told = Answer | Callable[[Seen], Answer]


class Upstream:
    """A server to be called in tests and demos; see the top of this file.

    Its port is its own from the first `start` to `aclose`: between `stop` and `start` a connection
    to it is refused, and nobody else can take it.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host = host
        self.port = port
        self.seen: deque[Seen] = deque(maxlen=10_000)
        """The requests whose head was well-formed, oldest first."""
        self.faults: list[str] = []
        """What was malformed about the others."""
        self.requests = 0
        self.connections = 0
        self.in_flight = 0
        self.peak = 0
        """The most that were ever in flight at once."""
        self._script: deque[Answer] = deque()
        self._always: Answer | None = None
        self._vocabulary = Vocabulary()
        self._claim: socket.socket | None = None
        self._listener: socket.socket | None = None
        self._conversations: dict[asyncio.Task[None], socket.socket] = {}
        self._arrival = asyncio.Condition()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def script(self, *answers: Told) -> None:
        """Give the next requests these answers, one each."""
        self._script.extend(map(_answer, answers))

    def always(self, answer: Told | None) -> None:
        """Give this answer whenever the script is empty; None: by header and path again."""
        self._always = None if answer is None else _answer(answer)

    async def asked(self, times: int = 1) -> Seen:
        """Wait until *times* requests have come in all, and give the newest."""
        async with self._arrival:
            await self._arrival.wait_for(lambda: self.requests >= times)
        return self.seen[-1]

    async def start(self) -> None:
        """Listen; on the port of before, if it was there before."""
        if self._claim is None:
            # Bound and never listening, it keeps the port ours, and refuses while we are out.
            self._claim = _bound(self.host, self.port)
            self.port = self._claim.getsockname()[1]
        # Not asyncio's own server: a caller that comes in while it closes is never let go.
        self._listener = _bound(self.host, self.port)
        self._listener.listen(4096)
        asyncio.get_running_loop().add_reader(self._listener, self._accept, self._listener)

    async def stop(self) -> None:
        """Refuse from now on, and reset what is connected."""
        if self._listener is None:
            return
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()
        self._listener = None
        ended = dict(self._conversations)
        for conversation, connection in ended.items():
            reset_on_close(connection)
            conversation.cancel()
        await asyncio.gather(*ended, return_exceptions=True)
        for connection in ended.values():
            connection.close()  # nobody else does where the conversation had not begun

    async def aclose(self) -> None:
        """Stop, and give the port back."""
        await self.stop()
        if self._claim is not None:
            self._claim.close()
            self._claim = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="upstream", daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.start(), self._loop).result()
        return self

    def __exit__(self, *exc: object) -> None:
        asyncio.run_coroutine_threadsafe(self.aclose(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _accept(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        connection.setblocking(False)
        self.connections += 1
        conversation = asyncio.get_running_loop().create_task(
            self._converse(connection, self.connections)
        )
        self._conversations[conversation] = connection
        conversation.add_done_callback(self._conversations.pop)

    async def _converse(self, connection: socket.socket, number: int) -> None:
        _, caller = await asyncio.get_running_loop().connect_accepted_socket(Caller, connection)
        try:
            while await self._exchange(caller, number):
                pass
        except Malformed as fault:
            self.faults.append(str(fault))
            with contextlib.suppress(ConnectionError):
                await caller.play(status(400, f"malformed: {fault}\n", connection="close"), None)
                await caller.linger()
        except (Left, ConnectionError):
            pass  # noted where it concerns a request
        except asyncio.CancelledError:
            caller.reset()
            raise
        finally:
            caller.close()

    async def _exchange(self, caller: Caller, connection: int) -> bool:
        """Read one request and answer it; True where the connection may bring another."""
        seen = await read_head(caller.reader)
        if seen is None:
            return False
        loop = asyncio.get_running_loop()
        seen.connection, seen.at = connection, loop.time()
        answer = self._choose(seen)
        await self._note(seen)
        try:
            if not answer.early:
                await caller.read_body(seen)
            end = await caller.play(answer, seen)
            seen.answered = end is not End.HANG
        finally:
            if caller.gone.is_set() and not seen.answered and self._listener is not None:
                seen.left_at = loop.time()
            self.in_flight -= 1
            seen.over.set()
        if end is End.RESET:
            caller.reset()
        elif end is None and not seen.complete:
            await caller.linger()
        return end is None and seen.complete and not seen.last_on_connection

    async def _note(self, seen: Seen) -> None:
        self.seen.append(seen)
        self.requests += 1
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        async with self._arrival:
            self._arrival.notify_all()

    def _choose(self, seen: Seen) -> Answer:
        if self._script:
            return self._script.popleft()
        return self._always or self._vocabulary.answer(seen)


def _answer(told: Told) -> Answer:
    return told if isinstance(told, Answer) else ask(told)


def _bound(host: str, port: int) -> socket.socket:
    # The protocol must be named: asyncio switches Nagle's delay off only where it reads TCP.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


async def _serve(upstream: Upstream) -> None:
    done = asyncio.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, done.set)
    async with upstream:
        print(f"listening on {upstream.url}", flush=True)  # noqa: T201 -- its one line for people
        await done.wait()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run an upstream until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(
        prog="python -m proxy.testing.upstream",
        description="An upstream that answers as its path or the X-Script header tell it: "
        "/status/503, /delay/2s/v1/chat/completions, X-Script: status/503?retry-after=1, ok",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9000)
    chosen = parser.parse_args(arguments)
    asyncio.run(_serve(Upstream(chosen.host, chosen.port)))


if __name__ == "__main__":
    main()
