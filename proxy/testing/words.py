"""What can be said to the scripted upstream in a path, or in the header `X-Script`.

    /status/503?retry-after=2      any status; the query gives headers (`retry-after-date=2s` too)
    /ok /echo /bytes/1000 /gzip /deflate /chunks/5/1s /drip/10/1s /until-close
    /hang /close /reset /half-a-head /garbage /short /long /cut-chunk
    /delay/2s/…                    …, but late
    /interim/103/…                 …, after a hint
    /early/…                       …, before the request's body is read
    /close/3/… /reset/3/… /hang/3/… /stall/3/10s/… /error/3/…
                                   …, broken after the third piece (event, chunk) of its body
    anything else                  what a provider would answer there, or an echo

`X-Script: status/503?retry-after=1, reset, ok` gives requests that say the same these answers in
turn, and from the start again.

Rule: nothing here has a socket; words become an `Answer`.
"""

import time
from collections import Counter
from collections.abc import Callable
from urllib.parse import parse_qsl, unquote

from proxy.testing import providers, script
from proxy.testing.request import Seen
from proxy.testing.script import Answer, ask
from proxy.testing.vectors import Vectors

_PLAIN: dict[str, Callable[[], Answer]] = {
    "ok": lambda: script.ok("ok\n"),
    "gzip": lambda: script.status(200, "packed\n", coding="gzip"),
    "deflate": lambda: script.status(200, "packed\n", coding="deflate"),
    "until-close": lambda: script.until_close("closed\n"),
    "hang": script.hang,
    "close": script.close,
    "reset": script.reset,
    "half-a-head": script.half_a_head,
    "garbage": script.garbage,
    "short": script.short,
    "long": script.long,
    "cut-chunk": script.cut_chunk,
}

_ENDS = {"close": script.close, "reset": script.reset, "hang": script.hang}


class Vocabulary:
    """Understands words, and keeps what they are about: vectors, and how often a thing was said."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._said: Counter[str] = Counter()
        self._vectors = Vectors()

    def answer(self, seen: Seen) -> Answer:
        """Give what the header, or else the path of *seen* says; nonsense is a 400."""
        said = seen.header("x-script")
        try:
            if said is None:
                return self._sentence(seen.target.lstrip("/"))
            sentences = said.split(",")
            turn = self._said[said] % len(sentences)
            self._said[said] += 1
            return self._sentence(sentences[turn].strip().lstrip("/"))
        except ValueError as error:
            return script.status(400, f"not understood: {error}\n")

    def _sentence(self, text: str) -> Answer:
        path, _, query = text.partition("?")
        return self._speak([unquote(word) for word in path.split("/")], query)

    def _speak(self, words: list[str], query: str) -> Answer:
        match words:
            case ["status", code, *_]:
                return script.status(int(code), headers=self._headers(query))
            case ["delay", duration, *rest]:
                return script.wait(_seconds(duration)) + self._speak(rest, query)
            case ["interim", code, *rest]:
                return script.interim(int(code)) + self._speak(rest, query)
            case ["early", *rest]:
                return script.early(self._speak(rest, query))
            case ["bytes", size]:
                return script.ok(b"x" * int(size))
            case ["chunks", count, duration]:
                pieces = (b"piece %d\n" % n for n in range(1, int(count) + 1))
                return script.chunks(*pieces, every=_seconds(duration))
            case ["drip", size, duration]:
                return script.drip(b"x" * int(size), _seconds(duration))
            case ["stall", piece, duration, *rest]:
                return self._broken(int(piece), script.wait(_seconds(duration)), rest, query, True)
            case ["error", piece, *rest]:
                return self._broken(int(piece), ask(providers.error_event), rest, query)
            case [end, piece, *rest] if end in _ENDS and piece.isdigit():
                return self._broken(int(piece), _ENDS[end](), rest, query)
            case [word] if word in _PLAIN:
                return _PLAIN[word]()
        return ask(self._serve)

    def _broken(
        self, piece: int, fault: Answer, rest: list[str], query: str, goes_on: bool = False
    ) -> Answer:
        """Put *fault* behind a piece of the answer that the *rest* of the words gives."""
        whole = self._speak(rest, query)

        def answer(seen: Seen) -> Answer:
            flat = _flat(whole, seen)
            broken = flat.until(piece) + fault
            return broken + flat.beyond(piece) if goes_on else broken

        return ask(answer)

    def _headers(self, query: str) -> dict[str, str]:
        headers = dict(parse_qsl(query, keep_blank_values=True))
        if "retry-after-date" in headers:
            moment = self._now() + _seconds(headers.pop("retry-after-date"))
            headers["retry-after"] = script.http_date(moment)
        return headers

    def _serve(self, seen: Seen) -> Answer:
        return providers.answer(seen) or self._vectors.answer(seen) or _echo(seen)


def _echo(seen: Seen) -> Answer:
    return script.ok(
        {
            "method": seen.method,
            "target": seen.target,
            "headers": [[n.decode("latin-1"), v.decode("latin-1")] for n, v in seen.headers],
            "body": seen.body.decode("utf-8", "replace"),
        }
    )


def _flat(answer: Answer, seen: Seen) -> Answer:
    """Decide now what was left to be asked, so that the pieces can be counted."""
    flat = Answer((), answer.early)
    for step in answer.steps:
        flat += _flat(step.answer(seen), seen) if isinstance(step, script.Ask) else Answer((step,))
    return flat


def _seconds(text: str) -> float:
    """Read `250ms`, `2s`, `1m` or a number of seconds."""
    for unit, worth in (("ms", 0.001), ("s", 1.0), ("m", 60.0)):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * worth
    return float(text)
