import asyncio

import aiohttp
import pytest

from proxy.testing import script
from proxy.testing.request import Seen
from proxy.testing.script import End, Wait
from proxy.testing.upstream import Upstream
from proxy.testing.words import Vocabulary


def loop_time() -> float:
    return asyncio.get_running_loop().time()


def asked(target: str, *said: str) -> Seen:
    return Seen("GET", target, (1, 1), [(b"X-Script", text.encode()) for text in said])


@pytest.fixture
async def client():
    timeout = aiohttp.ClientTimeout(None)
    async with Upstream() as upstream, aiohttp.ClientSession(upstream.url, timeout=timeout) as it:
        yield it


async def status_of(client: aiohttp.ClientSession, path: str, **more) -> int:
    async with client.get(path, **more) as response:
        await response.read()
        return response.status


@pytest.mark.parametrize(
    "path, answer",
    [
        ("/status/503", script.status(503)),
        ("/status/204/and/more", script.status(204)),
        ("/status/503?retry-after=0.5", script.status(503, retry_after="0.5")),
        (
            "/status/503?retry-after-date=1m",
            script.status(503, retry_after="Thu, 01 Jan 1970 00:01:00 GMT"),
        ),
        (
            "/status/429?x-ratelimit-remaining-requests=0&x-ratelimit-reset-requests=1s",
            script.status(429, x_ratelimit_remaining_requests="0", x_ratelimit_reset_requests="1s"),
        ),
        ("/ok", script.ok("ok\n")),
        ("/bytes/3", script.ok(b"xxx")),
        ("/gzip", script.status(200, "packed\n", coding="gzip")),
        ("/deflate", script.status(200, "packed\n", coding="deflate")),
        ("/chunks/2/250ms", script.chunks(b"piece 1\n", b"piece 2\n", every=0.25)),
        ("/drip/2/0", script.drip(b"xx", 0)),
        ("/until-close", script.until_close("closed\n")),
        ("/hang", script.hang()),
        ("/close", script.close()),
        ("/reset", script.reset()),
        ("/half-a-head", script.half_a_head()),
        ("/garbage", script.garbage()),
        ("/short", script.short()),
        ("/long", script.long()),
        ("/cut-chunk", script.cut_chunk()),
        ("/delay/2s/ok", script.wait(2) + script.ok("ok\n")),
        ("/delay/2/delay/1m/reset", script.wait(2) + script.wait(60) + script.reset()),
        ("/interim/103/ok", script.interim(103) + script.ok("ok\n")),
        ("/early/status/413", script.early(script.status(413))),
    ],
)
def test_a_path_says_what_it_does(path, answer):
    assert Vocabulary(now=lambda: 0.0).answer(asked(path)) == answer


def test_a_header_speaks_before_the_path():
    assert Vocabulary().answer(asked("/status/200", "reset")) == script.reset()


def test_a_header_with_several_sentences_has_them_said_in_turn_and_again():
    vocabulary = Vocabulary()
    answers = [vocabulary.answer(asked("/", "status/503?retry-after=1, /reset")) for _ in range(3)]
    assert answers == [script.status(503, retry_after="1"), script.reset(), answers[0]]


@pytest.mark.parametrize("path", ["/status/many", "/delay/soon/ok", "/bytes/-/", "/drip/1/x"])
async def test_nonsense_is_not_understood(client, path):
    expected = 200 if path == "/bytes/-/" else 400
    assert await status_of(client, path) == expected


async def test_an_unknown_path_is_echoed(client):
    async with client.post(
        "/any/where?q=1", data=b"h\xc3\xa9llo", headers={"X-A": "1"}
    ) as response:
        said = await response.json()
    assert (said["method"], said["target"], said["body"]) == ("POST", "/any/where?q=1", "héllo")
    assert ["X-A", "1"] in said["headers"]


async def test_a_delay_may_stand_before_what_a_provider_answers(client):
    began = loop_time()
    async with client.get("/delay/10s/v1/models") as response:
        assert (await response.json())["object"] == "list"
    assert loop_time() - began == pytest.approx(10)


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_an_answer_is_cut_behind_the_piece_that_is_named(client, end):
    async with client.get(f"/{end}/2/chunks/5/0") as response:
        assert await response.content.readline() == b"piece 1\n"
        assert await response.content.readline() == b"piece 2\n"
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.content.readline()


async def test_an_answer_goes_silent_behind_the_piece_that_is_named(client):
    async with client.get("/hang/1/chunks/5/0") as response:
        assert await response.content.readline() == b"piece 1\n"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(600):
                await response.content.readline()


async def test_an_answer_stalls_and_goes_on(client):
    began = loop_time()
    async with client.get("/stall/1/30s/chunks/3/0") as response:
        assert await response.read() == b"piece 1\npiece 2\npiece 3\n"
    assert loop_time() - began == pytest.approx(30)


@pytest.mark.parametrize(
    "path, fault",
    [
        ("/v1/chat/completions", b'data: {"error": {"message": "The server had an error"'),
        ("/v1/messages", b'event: error\ndata: {"type": "error", "error": {"type": "overloaded'),
    ],
)
async def test_a_stream_fails_in_the_form_of_its_provider(client, path, fault):
    asked = {"stream": True, "messages": [{"role": "user", "content": "one two three"}]}
    async with client.post(f"/error/2{path}", json=asked) as response:
        events = (await response.read()).split(b"\n\n")
    assert len(events) == 4
    assert events[2].startswith(fault)


async def test_what_is_broken_may_itself_be_late():
    answer = Vocabulary().answer(asked("/close/0/delay/2s/early/ok"))
    decided = answer.steps[0].answer(asked("/"))
    assert (decided.steps[0], decided.steps[-1], len(decided.steps)) == (Wait(2), End.CLOSE, 3)
