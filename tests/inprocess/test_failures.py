"""What the exceptions of real client libraries, and of Python, are taken for."""

import asyncio
import errno
import socket
import ssl

import aiohttp
import anthropic
import httpx
import openai
import pytest

from proxy import errors
from proxy.inprocess import failures
from proxy.semantics.statuses import Origin
from proxy.testing import script
from proxy.testing.upstream import Upstream

ORIGIN = Origin("llm", "openai", our_credential=False)
NOW = 1_792_000_000.0


def judged(raised):
    found = failures.of_exception(raised, ORIGIN, NOW)
    return None if found is None else found.error


async def by_httpx(url):
    async with httpx.AsyncClient(timeout=2) as client:
        (await client.post(url)).raise_for_status()


async def by_aiohttp(url):
    timeout = aiohttp.ClientTimeout(sock_connect=2, sock_read=2)
    async with aiohttp.ClientSession(timeout=timeout, raise_for_status=True) as client:
        async with client.post(url) as answer:
            await answer.read()


async def by_openai(url):
    async with openai.AsyncOpenAI(base_url=url, api_key="x", max_retries=0, timeout=2) as client:
        await client.embeddings.create(model="m", input="x")


async def by_anthropic(url):
    async with anthropic.AsyncAnthropic(
        base_url=url, api_key="x", max_retries=0, timeout=2
    ) as client:
        await client.messages.create(model="m", max_tokens=1, messages=[])


CLIENTS = [by_httpx, by_aiohttp, by_openai, by_anthropic]


async def raised_by(call, url):
    with pytest.raises(Exception) as raised:
        await call(url)
    return raised.value


@pytest.mark.parametrize("call", CLIENTS)
async def test_a_refused_connection_was_never_sent(call):
    async with Upstream() as upstream:
        await upstream.stop()
        error = judged(await raised_by(call, upstream.url))

    assert isinstance(error, errors.NetworkError)
    assert (error.condition, error.sent) == ("connect", False)


@pytest.mark.parametrize("call", CLIENTS)
@pytest.mark.parametrize("misbehaviour", [script.reset(), script.close()])
async def test_an_end_before_the_head_is_a_reset(call, misbehaviour):
    async with Upstream() as upstream:
        upstream.always(misbehaviour)
        error = judged(await raised_by(call, upstream.url))

    assert isinstance(error, errors.NetworkError)
    assert (error.condition, error.sent) == ("reset", True)


@pytest.mark.parametrize("call", CLIENTS)
async def test_a_client_that_stops_waiting_is_a_timeout(call):
    async with Upstream() as upstream:
        upstream.always(script.hang())
        error = judged(await raised_by(call, upstream.url))

    assert isinstance(error, errors.TimeoutError)
    assert (error.condition, error.status) == ("timeout", 504)


@pytest.mark.parametrize("call", CLIENTS)
async def test_a_status_is_what_the_table_says_with_wait_and_sentence(call):
    async with Upstream() as upstream:
        upstream.always(
            script.status(
                429, {"error": {"message": "slow down"}}, retry_after=3, x_should_retry="false"
            )
        )
        found = failures.of_exception(await raised_by(call, upstream.url), ORIGIN, NOW)

    assert isinstance(found.error, errors.RateLimitError)
    assert (found.error.condition, found.error.retry_after) == (429, 3)
    assert found.should_retry is False
    if call is not by_aiohttp:  # which leaves the body unread
        assert found.error.details["error_message"] == "slow down"


async def test_what_is_not_http_is_no_answer_of_status_400():
    async with Upstream() as upstream:
        upstream.always(script.garbage())
        error = judged(await raised_by(by_aiohttp, upstream.url))

    assert isinstance(error, errors.NetworkError)
    assert error.condition == "protocol"


async def test_a_body_that_ends_early_is_cut():
    async with Upstream() as upstream:
        upstream.always(script.short())
        for call in (by_httpx, by_aiohttp):
            error = failures.of_body(await raised_by(call, upstream.url))
            assert error.condition == "cut"


async def test_a_body_that_stalls_is_a_timeout():
    assert failures.of_body(httpx.ReadTimeout("x")).condition == "timeout"


@pytest.mark.parametrize(
    "raised", [httpx.PoolTimeout("full"), httpx.ConnectError("x"), ValueError("x")]
)
def test_a_body_does_not_fail_by_what_happens_elsewhere(raised):
    assert failures.of_body(raised) is None


@pytest.mark.parametrize(
    ("raised", "cls", "condition"),
    [
        (ConnectionRefusedError(), errors.NetworkError, "connect"),
        (ConnectionResetError(), errors.NetworkError, "reset"),
        (BrokenPipeError(), errors.NetworkError, "reset"),
        (socket.gaierror(), errors.NetworkError, "connect"),
        (ssl.SSLError(), errors.NetworkError, "connect"),
        (OSError(errno.EHOSTUNREACH, "x"), errors.NetworkError, "connect"),
        (asyncio.IncompleteReadError(b"", 5), errors.NetworkError, "cut"),
        (TimeoutError(), errors.TimeoutError, "timeout"),
        (httpx.ConnectTimeout("x"), errors.TimeoutError, "connect"),
        (httpx.DecodingError("x"), errors.NetworkError, "protocol"),
    ],
)
def test_pythons_own_errors_are_known(raised, cls, condition):
    error = judged(raised)

    assert type(error) is cls
    assert error.condition == condition


def test_a_bad_certificate_is_never_tried_again():
    error = judged(ssl.SSLCertVerificationError())

    assert error.condition == "connect"
    assert not error.retryable


@pytest.mark.parametrize(
    "raised",
    [
        ValueError("mine"),
        FileNotFoundError(errno.ENOENT, "mine"),
        httpx.PoolTimeout("the client is full"),
        httpx.UnsupportedProtocol("mine"),
        aiohttp.InvalidURL("mine"),
    ],
)
def test_what_is_the_callers_own_is_left_alone(raised):
    assert judged(raised) is None


def test_the_cause_that_a_wrapper_names_is_what_counts():
    wrapper = RuntimeError("wrapped")
    wrapper.__cause__ = httpx.ConnectError("x")
    assert judged(wrapper).condition == "connect"

    wrapper.__cause__ = wrapper  # nobody does that on purpose
    assert judged(wrapper) is None


def test_a_redirect_that_a_client_raises_for_is_no_failure():
    request = httpx.Request("GET", "http://x")
    raised = httpx.HTTPStatusError("x", request=request, response=httpx.Response(302))

    assert judged(raised) is None


def test_a_streamed_body_that_was_not_read_does_not_hide_the_status():
    request = httpx.Request("GET", "http://x")
    response = httpx.Response(500, stream=httpx.AsyncByteStream())
    error = judged(httpx.HTTPStatusError("Server error", request=request, response=response))

    assert error.condition == 500
    assert error.details["error_message"] == "Server error"


@pytest.mark.parametrize("body", [b"not json", b"[1]", b"[" * 100_000])
def test_a_body_without_a_sentence_leaves_the_exceptions(body):
    request = httpx.Request("GET", "http://x")
    response = httpx.Response(500, content=body)
    error = judged(httpx.HTTPStatusError("Server error", request=request, response=response))

    assert error.details["error_message"] == "Server error"


def test_a_credential_in_an_exceptions_text_does_not_come_out():
    response = httpx.Response(500)
    raised = httpx.HTTPStatusError(
        "for https://u:p@x/v1?key=abc", request=httpx.Request("GET", "http://x"), response=response
    )

    assert judged(raised).details["error_message"] == "for https://x/v1"


class Answer:
    """An answer as a client library might give it."""

    def __init__(self, status, content=b"", fails=False):
        self.status = status
        self.headers = {}
        self.was_read = False
        self._content, self._fails = content, fails

    async def read(self):
        self.was_read = True
        if self._fails:
            raise ConnectionResetError("no more")
        return self._content


async def test_a_bad_answer_is_read_which_gives_its_connection_back():
    answer = Answer(500, b'{"detail": "broken"}')
    found = await failures.of_answer(answer, ORIGIN, NOW)

    assert answer.was_read
    assert found.error.details["error_message"] == "broken"


async def test_a_bad_answer_that_cannot_be_read_keeps_its_meaning():
    found = await failures.of_answer(Answer(404, fails=True), ORIGIN, NOW)

    assert (found.error.condition, found.error.details["error_message"]) == (404, "no more")


async def test_a_good_answer_is_not_read():
    answer = Answer(399)

    assert await failures.of_answer(answer, ORIGIN, NOW) is None
    assert not answer.was_read


async def test_what_has_a_status_and_no_headers_is_no_answer():
    class Job:
        status = 500

    class Bare:
        status = 500
        headers = None

    assert await failures.of_answer(Job(), ORIGIN, NOW) is None
    assert (await failures.of_answer(Bare(), ORIGIN, NOW)).error.condition == 500
    assert await failures.of_answer("text", ORIGIN, NOW) is None
