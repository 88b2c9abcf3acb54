"""The official clients of OpenAI and Anthropic, sync and async, as their users use them."""

from collections.abc import Callable
from typing import Any

import openai
import pytest
from clients.kits import KITS, QUESTION, Kit
from clients.running import Served, each, settled

from proxy import envelope
from proxy.testing import providers, script

pytestmark = pytest.mark.real_time


@pytest.fixture
def failure(kit: Kit, ask: Callable[..., Any]) -> Callable[..., Any]:
    """Ask, and give the exception that the client raises for the answer's status."""

    async def raised(url: str, **options: Any) -> Any:
        with pytest.raises(kit.module.APIStatusError) as caught:
            await ask(url, options)
        return caught.value

    return raised


def at(served: Served, upstream: str) -> str:
    return f"{served.addresses[0]}/{upstream}"


def fields(headers: Any) -> list[tuple[str, str]]:
    """Give an answer's header fields but for the date, and those that say it came through us."""
    return sorted(
        pair
        for pair in headers.multi_items()
        if pair[0] != "date" and not pair[0].startswith("x-octollm-")
    )


async def test_an_answer_is_the_one_the_provider_gave(kit, ask, served, upstream):
    direct = await ask(upstream.url)
    through = await ask(at(served, kit.name))
    assert through == direct
    assert through._request_id == direct._request_id
    assert through._request_id.startswith("req_")


async def test_a_raw_answer_has_the_provider_s_bytes_and_headers(kit, reach, served, upstream):
    raw = [
        await settled(kit.resource(reach(url)).with_raw_response.create(**QUESTION))
        for url in (upstream.url, at(served, kit.name))
    ]
    direct, through = raw
    assert through.http_response.content == direct.http_response.content
    assert fields(through.headers) == fields(direct.headers)
    assert through.headers["x-octollm-attempts"] == "1"
    assert through.request_id == direct.request_id is not None
    assert await settled(through.parse()) == await settled(direct.parse())


async def test_a_stream_has_the_provider_s_events(kit, ask, served, upstream):
    direct = await ask(upstream.url, stream=True)
    through = await ask(at(served, kit.name), stream=True)
    events = await each(through, [])
    assert events == await each(direct, [])
    assert len(events) > 5
    assert fields(through.response.headers) == fields(direct.response.headers)
    assert through.response.headers[kit.request_id].startswith("req_")


async def test_what_a_client_sends_arrives_as_it_was(kit, ask, served, upstream):
    for url in (upstream.url, at(served, kit.name)):
        await ask(url)
    direct, through = upstream.seen
    assert through.body == direct.body
    hops = {b"via", b"connection", b"content-length"}
    sent = [
        [pair for pair in seen.headers if pair[0].lower() not in hops] for seen in (direct, through)
    ]
    assert sent[1] == sent[0]


@pytest.mark.parametrize("kit", KITS[:1], indirect=True, ids=["openai"])
async def test_openai_s_other_endpoints_work_the_same(reach, served, upstream):
    async def answers(url: str) -> list[Any]:
        client = reach(url)
        asked = {"model": "scripted", "input": "How long?"}
        usage = {"stream": True, "stream_options": {"include_usage": True}}
        return [
            await settled(client.embeddings.create(model="scripted", input=["a", "bc"])),
            await settled(client.responses.create(**asked)),
            await each(await settled(client.responses.create(**asked, stream=True)), []),
            await each(await settled(client.chat.completions.create(**QUESTION, **usage)), []),
            await each(await settled(client.models.list()), []),
        ]

    assert await answers(at(served, "openai")) == await answers(upstream.url)


STATUSES = [
    (400, 400, "VALIDATION_ERROR"),
    (401, 401, "AUTHENTICATION_ERROR"),
    (403, 403, "AUTHORIZATION_ERROR"),
    (404, 404, "LLM_API_ERROR"),
    (409, 409, "LLM_API_ERROR"),
    (413, 413, "VALIDATION_ERROR"),
    (422, 422, "VALIDATION_ERROR"),
    (429, 429, "RATE_LIMIT_EXCEEDED"),
    (500, 502, "LLM_API_ERROR"),
    (503, 503, "LLM_API_ERROR"),
    (504, 504, "TIMEOUT_ERROR"),
    (529, 503, "LLM_API_ERROR"),
]


@pytest.mark.parametrize("row", STATUSES, ids=lambda row: row[0])
async def test_a_failure_is_their_own_exception_with_our_code_and_message(
    row, kit, failure, served, upstream
):
    said, given, code = row
    upstream.always(kit.fault(given, "no"))
    direct = await failure(upstream.url, max_retries=0)
    upstream.always(kit.fault(said, "so it is", {kit.request_id: "req_failed"}))
    through = await failure(at(served, kit.name))
    assert type(through) is type(direct)
    assert through.status_code == given
    assert through.request_id == "req_failed"
    told = through.response.json()
    assert told["error"] == code
    assert told["message"] == f"{kit.name} API error: so it is"
    # openai's client takes what stands under "error" for the body, which is our code, and says
    # nothing of the rest.
    assert through.body == (code if kit.module is openai else told)
    assert kit.module is openai or told["message"] in through.message
    assert envelope.from_response(given, through.response.text).error_code == code


@pytest.mark.parametrize("status", [400, 401, 404, 422])
async def test_a_client_error_left_alone_is_the_provider_s_own(
    status, kit, failure, served, upstream
):
    upstream.always(kit.fault(status, "so it is", {kit.request_id: "req_failed"}))
    direct = await failure(upstream.url)
    through = await failure(at(served, "untouched"))
    assert type(through) is type(direct)
    assert (through.body, through.message) == (direct.body, direct.message)
    assert through.request_id == "req_failed"
    ours = {"x-should-retry"}
    assert [pair for pair in fields(through.response.headers) if pair[0] not in ours] == fields(
        direct.response.headers
    )


@pytest.mark.parametrize("rewritten", [True, False])
async def test_a_wait_we_decline_is_left_to_the_client(rewritten, kit, failure, served, upstream):
    upstream.always(kit.fault(429, "tomorrow", {"retry-after": "86400"}))
    # Without max_retries=0 anthropic's client would sleep until tomorrow, as it would without us.
    name = kit.name if rewritten else "untouched"
    error = await failure(at(served, name), max_retries=0)
    assert type(error) is kit.module.RateLimitError
    assert error.response.headers["retry-after"] == "86400"
    assert error.response.json().get("retry_after") == (86400 if rewritten else None)
    assert "x-should-retry" not in error.response.headers
    assert len(upstream.seen) == 1


FAULTS = {
    "500": script.status(500),
    "503": script.status(503),
    "529": script.status(529),
    "429": script.status(429, retry_after_ms=10),
    "reset": script.reset(),
}


def tried_once(error: Any) -> bool:
    """Tell whether the client itself made a single attempt, by what it says in its request."""
    return error.response.request.headers["x-stainless-retry-count"] == "0"


@pytest.mark.parametrize("fault", FAULTS)
async def test_their_retries_do_not_multiply_ours(fault, kit, failure, served, upstream):
    upstream.always(FAULTS[fault])
    error = await failure(at(served, kit.name))
    assert len(upstream.seen) == 4
    assert error.response.headers["x-octollm-attempts"] == "4"
    assert tried_once(error)


async def test_without_us_their_retries_are_what_they_are(failure, upstream):
    upstream.always(FAULTS["429"])
    error = await failure(upstream.url)
    assert len(upstream.seen) == 3
    assert not tried_once(error)


async def test_a_rate_limit_left_alone_is_not_asked_again_either(kit, failure, served, upstream):
    upstream.always(kit.fault(429, "slowly", {"retry-after-ms": "10"}))
    error = await failure(at(served, "untouched"))
    assert len(upstream.seen) == 4
    assert tried_once(error)
    assert error.response.headers["x-should-retry"] == "false"


async def test_a_client_error_left_alone_keeps_one_word_on_retries(kit, failure, served, upstream):
    fault = kit.fault(429, "again", {"retry-after-ms": "10", "x-should-retry": "true"})
    upstream.always(fault)
    error = await failure(at(served, "untouched"))
    assert error.response.headers.get_list("x-should-retry") == ["false"]
    assert len(upstream.seen) == 4
    assert tried_once(error)


async def test_a_refused_connection_is_tried_by_us_alone(kit, failure, served):
    error = await failure(at(served, "refusing"))
    assert isinstance(error, kit.module.InternalServerError)
    assert error.response.json()["error"] == "NETWORK_ERROR"
    assert error.response.headers["x-octollm-attempts"] == "4"
    assert tried_once(error)


async def test_an_open_circuit_is_not_knocked_at_again(failure, served, upstream):
    upstream.always(script.status(500))
    await failure(at(served, "fragile"))
    upstream.seen.clear()
    error = await failure(at(served, "fragile"))
    assert error.status_code == 503
    assert error.response.json()["error"] == "CIRCUIT_OPEN"
    assert error.response.json()["retry_after"] > 0
    assert not upstream.seen
    assert tried_once(error)


async def test_a_client_s_read_timeout_ends_in_our_envelope_and_not_in_theirs(
    kit, failure, served, upstream
):
    upstream.always(script.hang())
    error = await failure(at(served, kit.name), timeout=1.3)
    assert error.status_code == 504
    assert error.response.json()["error"] == "TIMEOUT_ERROR"
    assert len(upstream.seen) == 1
    assert tried_once(error)


async def test_an_answer_cut_in_the_middle_raises(kit, ask, served, upstream):
    upstream.always(script.head(200, length=1000) + script.body(b'{"id": "') + script.reset())
    with pytest.raises(kit.module.APIConnectionError):
        await ask(at(served, kit.name), {"max_retries": 0})


async def test_an_error_event_of_the_provider_s_own_passes(kit, ask, served, upstream):
    late = script.wait(0.1)  # else it comes with the first events, and is an error as any other
    upstream.always(lambda seen: kit.answer(seen).until(4) + late + providers.error_event(seen))
    raised = []
    for url in (upstream.url, at(served, kit.name)):
        with pytest.raises(kit.module.APIError) as caught:
            await each(await ask(url, stream=True), [])
        raised.append(caught.value)
    direct, through = raised
    assert type(through) is type(direct)
    assert (through.message, through.body) == (direct.message, direct.body)
