"""`raise_for_envelope`, with the answers of three client libraries."""

import aiohttp
import httpx
import pytest
import requests
from e2e.support import both, proxied

from proxy import errors
from proxy.inprocess import raise_for_envelope
from proxy.testing import script
from proxy.testing.upstream import Upstream


async def by_httpx(url):
    async with httpx.AsyncClient() as client:
        raise_for_envelope(await client.get(url))


async def by_a_streaming_httpx(url):
    async with httpx.AsyncClient() as client, client.stream("GET", url) as response:
        raise_for_envelope(response, await response.aread())


async def by_aiohttp(url):
    async with aiohttp.ClientSession() as client, client.get(url) as response:
        raise_for_envelope(response, await response.read())


CLIENTS = pytest.mark.parametrize("call", [by_httpx, by_a_streaming_httpx, by_aiohttp])


@CLIENTS
async def test_the_proxys_error_comes_back_as_it_was(call):
    async with both("kind: llm, retry: {max_retries: 0}") as (proxy, upstream):
        upstream.always(script.status(503, {"error": {"message": "full"}}, retry_after=12))

        with pytest.raises(errors.LLMAPIError) as raised:
            await call(f"{proxy.addresses['']}/up/x")

    error = raised.value
    assert (error.status, error.retry_after) == (503, 12)
    assert error.details["error_message"] == "full"
    assert error.details["upstream"] == "up"
    assert not error.retryable  # the proxy has tried, and says so


@CLIENTS
async def test_a_good_answer_raises_nothing(call):
    async with both() as (proxy, upstream):
        upstream.always(script.ok("fine"))

        await call(f"{proxy.addresses['']}/up/x")


@CLIENTS
async def test_an_unknown_name_is_the_class_of_its_code(call):
    async with proxied(up="http://127.0.0.1:9") as proxy:
        with pytest.raises(errors.RouteNotFoundError):
            await call(f"{proxy.addresses['']}/nobody")


@CLIENTS
async def test_an_error_that_is_no_envelope_keeps_its_status_and_its_wait(call):
    async with Upstream() as upstream:
        upstream.always(script.status(503, "<html>", retry_after=5))

        with pytest.raises(errors.OctoLLMError) as raised:
            await call(upstream.url)

    assert type(raised.value) is errors.OctoLLMError
    assert (raised.value.status, raised.value.retry_after) == (503, 5)
    assert raised.value.condition == 503
    assert "retryable" not in vars(raised.value)


def test_requests_answers_are_read_too():
    with Upstream() as upstream, requests.Session() as session:
        upstream.script(
            script.ok("fine"),
            script.status(404, {"error": "TASK_NOT_FOUND", "message": "gone", "details": {}}),
        )
        raise_for_envelope(session.get(upstream.url))
        with pytest.raises(errors.TaskNotFoundError, match="gone"):
            raise_for_envelope(session.get(upstream.url))


async def test_an_answer_whose_body_is_not_at_hand_is_refused_even_when_it_is_good():
    async with Upstream() as upstream, aiohttp.ClientSession() as client:
        upstream.always(script.ok("fine"))
        async with client.get(upstream.url) as response:
            with pytest.raises(TypeError, match="await"):
                raise_for_envelope(response)


def test_what_is_no_answer_is_refused():
    with pytest.raises(TypeError):
        raise_for_envelope("text", b"")
