"""The provider's forms are right where the provider's own client library understands them."""

import aiohttp
import anthropic
import openai
import pytest

from proxy.testing import providers, sse
from proxy.testing.script import close, event_stream, hang, reset, status
from proxy.testing.upstream import Upstream

HELLO = [{"role": "user", "content": "hello there"}]
SAID = "You said: hello there"


@pytest.fixture
def upstream():
    with Upstream() as upstream:
        yield upstream


@pytest.fixture
def gpt(upstream):
    with openai.OpenAI(base_url=f"{upstream.url}/v1", api_key="k", max_retries=0) as client:
        yield client


@pytest.fixture
def claude(upstream):
    with anthropic.Anthropic(base_url=upstream.url, api_key="k", max_retries=0) as client:
        yield client


def test_openai_understands_a_completion(gpt):
    first = gpt.chat.completions.create(model="m", messages=HELLO)
    again = gpt.chat.completions.create(model="m", messages=HELLO)
    assert (first.choices[0].message.content, first.model) == (SAID, "m")
    assert (first, first._request_id) == (again, again._request_id)


def test_openai_understands_a_completion_without_messages(gpt):
    assert gpt.chat.completions.create(model="m", messages=[]).choices[0].message.content


def test_openai_understands_parts_of_a_message(gpt):
    parts = [{"role": "user", "content": [{"type": "text", "text": "hello there"}]}]
    made = gpt.chat.completions.create(model="m", messages=parts)
    assert made.choices[0].message.content == SAID


def test_openai_understands_a_stream(gpt):
    stream = gpt.chat.completions.create(
        model="m", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    *chunks, usage = stream
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == SAID
    assert usage.usage.total_tokens == 2


def test_openai_understands_a_response_and_its_stream(gpt):
    whole = gpt.responses.create(model="m", input="hello there")
    assert whole.output_text == SAID
    with gpt.responses.stream(model="m", input=HELLO) as stream:
        assert stream.get_final_response().output_text == SAID


def test_openai_understands_embeddings_and_models(gpt):
    assert len(gpt.embeddings.create(model="m", input=["a", "b"]).data) == 2
    assert gpt.embeddings.create(model="m", input="abc").data[0].embedding == [3.0, 0.0, 1.0]
    assert [model.id for model in gpt.models.list()] == ["scripted"]


def test_anthropic_understands_a_message_and_its_stream(claude):
    whole = claude.messages.create(model="m", max_tokens=9, messages=HELLO)
    assert whole.content[0].text == SAID
    with claude.messages.stream(model="m", max_tokens=9, messages=HELLO) as stream:
        assert "".join(stream.text_stream) == SAID
        assert stream.get_final_message().content[0].text == SAID


def test_openai_raises_its_own_class_for_an_error(upstream, gpt):
    upstream.script(providers.openai_error(429, "slow down", {"retry-after": 7}))
    with pytest.raises(openai.RateLimitError, match="slow down") as raised:
        gpt.models.list()
    assert raised.value.response.headers["retry-after"] == "7"
    assert raised.value.type == "rate_limit_error"


def test_anthropic_raises_its_own_class_for_an_error(upstream, claude):
    upstream.script(providers.anthropic_error(529, "busy"))
    with pytest.raises(anthropic.InternalServerError, match="busy"):
        claude.messages.create(model="m", max_tokens=9, messages=HELLO)


def test_openai_raises_on_an_error_in_a_stream(upstream, gpt):
    gpt.base_url = f"{upstream.url}/error/2/v1"
    stream = gpt.chat.completions.create(model="m", messages=HELLO, stream=True)
    with pytest.raises(openai.APIError, match="The server had an error"):
        list(stream)


def test_anthropic_raises_on_an_error_in_a_stream(upstream, claude):
    claude.base_url = f"{upstream.url}/error/2"
    stream = claude.messages.create(model="m", max_tokens=9, messages=HELLO, stream=True)
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        list(stream)


@pytest.mark.parametrize("end", [close(), reset()])
def test_openai_raises_on_a_stream_that_is_cut(upstream, gpt, end):
    upstream.script(event_stream(sse.chat(SAID)).until(2) + end)
    with pytest.raises(openai.APIError):
        list(gpt.chat.completions.create(model="m", messages=HELLO, stream=True))


def test_openai_gives_up_on_a_stream_that_stalls(upstream, gpt):
    upstream.script(event_stream(sse.chat(SAID)).until(2) + hang())
    with pytest.raises(openai.APIError):
        list(
            gpt.with_options(timeout=0.05).chat.completions.create(
                model="m", messages=HELLO, stream=True
            )
        )


@pytest.mark.parametrize("body", ["no json", "[]", '{"messages": [1]}', '{"messages": 7}'])
async def test_a_body_that_makes_no_sense_is_refused(body):
    async with (
        Upstream() as upstream,
        aiohttp.ClientSession() as client,
        client.post(f"{upstream.url}/v1/chat/completions", data=body) as response,
    ):
        assert response.status == 400
        assert "parse" in (await response.json())["error"]["message"]


def test_an_error_of_any_status_has_a_type():
    assert providers.openai_error(502, "x") == status(
        502, {"error": {"message": "x", "type": "server_error", "param": None, "code": None}}
    )
    assert b"invalid_request_error" in providers.openai_error(409, "x").steps[1].data
    assert b"api_error" in providers.anthropic_error(500, "x").steps[1].data
