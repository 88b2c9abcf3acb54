"""Nothing that an operator can reach shows a credential, nor what callers and upstreams said."""

import io
import json

import pytest
from click.testing import CliRunner
from e2e.support import both, call
from oncall import misuse
from oncall.misuse import RELAYED, canaries, misused
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from page.browser import CHROMIUM, browsing

from proxy.cli import main
from proxy.observe import logs, tracing
from proxy.testing.script import status

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@pytest.fixture
def log():
    """Give the whole log, of level debug, to whoever asks for it at last."""
    stream = io.BytesIO()
    logs.configure("debug", "json", stream)

    def text():
        logs.close()
        return stream.getvalue()

    yield text
    logs.close()


@pytest.fixture
def spans(monkeypatch):
    """Keep the spans of the proxies that are started, instead of sending them."""
    exporter = InMemorySpanExporter()

    def start():
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        return tracing.Tracing(provider)

    monkeypatch.setattr(tracing, "start", start)
    return exporter


def leaks(reached):
    """Give the canaries that were found, by where."""
    return {where: found for where, what in reached.items() if (found := canaries(what))}


async def test_no_page_no_metric_and_no_line_of_the_log_shows_one(log):
    async with misused() as (proxy, _):
        reached = {page: await misuse.read(proxy, page) for page in misuse.pages(proxy)}
        reached["OpenMetrics"] = await misuse.read(proxy, "/metrics", OPENMETRICS)
        reached["live"] = await misuse.listen(proxy)
    reached["log"] = log()

    assert b"[removed]" in reached["/api/v1/failures"]
    assert b"release" in reached["/api/v1/timeline"]
    assert b"********" in reached["/api/v1/config"]
    for event in (b"request.failed", b"retry.scheduled", b"fallback.taken", b"breaker.opened"):
        assert event in reached["log"]
    for event in (b"breaker.rejecting", b"limits.rejecting", b"cache.failing", b"admin.action"):
        assert event in reached["log"]
    assert leaks(reached) == {}


@pytest.mark.real_time
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
async def test_the_page_in_a_browser_shows_none():
    async with misused() as (proxy, _), browsing() as page:
        await page.open(proxy.addresses["admin"])
        await page.see("document.querySelector('#timeline .action') && 'told'")
        shown = await page.ask("document.documentElement.outerHTML + document.title")

    assert "[removed]" in shown
    assert canaries(shown.encode()) == set()


async def test_no_envelope_shows_one():
    async with misused() as (_, answers):
        envelopes = {what: told.body for what, told in answers if b'"error":' in told.body}
    # What went well in a batch is the upstream's to say.
    envelopes["a batch"] = json.dumps(json.loads(envelopes["a batch"])["failures"]).encode()
    del envelopes["a need"]  # it is told, word by word, to who has it

    assert len(envelopes) > 30
    assert [what for what, found in leaks(envelopes).items() if found - RELAYED] == []


async def test_the_admin_listener_does_not_repeat_a_head_it_cannot_read():
    async with misused() as (_, answers):
        told = dict(answers)["bad at the admin's"]

    assert told.status == 400
    assert canaries(told.body) == set()


@pytest.mark.parametrize("coding", [None, "gzip"])
async def test_a_key_that_an_upstream_repeats_is_removed_wherever_it_stands(coding):
    auth = "auth: {header: X-Team-Key, value: Token hunter2-hunter2}"
    complaint = {"error": {"message": "no such key hunter2-hunter2", "hunter2-hunter2": ["of X"]}}
    async with both(auth) as (proxy, upstream):
        upstream.always(status(400, complaint, coding=coding))
        told = (await call(proxy.addresses[""], "/up/x")).json()

    assert told["details"]["error_message"] == "no such key [removed]"
    assert told["details"]["upstream_error"]["error"]["[removed]"] == ["of X"]


async def test_a_key_so_short_that_it_could_be_a_word_is_none():
    async with both() as (proxy, upstream):
        upstream.always(status(400, {"error": {"message": "no model of this name"}}))
        told = await call(proxy.addresses[""], "/up/x", headers={"X-Api-Key": "model"})

    assert told.json()["details"]["error_message"] == "no model of this name"


@pytest.mark.parametrize(
    ("member", "shown"),
    [
        ({"api_key": "hunter2"}, {"api_key": "[removed]"}),
        ({"headers": {"Cookie": ["a=b", "c=d"]}}, {"headers": {"Cookie": ["[removed]"] * 2}}),
        ({"key": "temperature", "token": "<eos>"}, {"key": "temperature", "token": "<eos>"}),
    ],
)
async def test_what_a_member_of_an_error_is_called_tells_that_it_is_a_credential(member, shown):
    async with both() as (proxy, upstream):
        upstream.always(status(400, {"message": "m", **member}))
        told = (await call(proxy.addresses[""], "/up/x")).json()

    assert told["details"]["upstream_error"] == {"message": "m", **shown}


async def test_no_span_shows_one(spans):
    async with misused(misuse.TRACED) as (proxy, answers):
        exemplars = await misuse.read(proxy, "/metrics", OPENMETRICS)
    ended = spans.get_finished_spans()

    assert len(ended) > len(answers)
    assert b"trace_id" in exemplars
    assert leaks({span.name: span.to_json().encode() for span in ended}) == {}
    assert canaries(exemplars) == set()


@pytest.mark.parametrize("words", ["check", "explain", "explain --json"])
def test_no_command_shows_one(words, tmp_path, monkeypatch):
    monkeypatch.setenv("UP", "http://127.0.0.1:9")
    monkeypatch.setenv("REDIS", "127.0.0.1:9")
    file = tmp_path / "proxy.yaml"
    file.write_text(misuse.CONFIG)

    done = CliRunner().invoke(main, [*words.split(), str(file)])

    assert done.exit_code == 0, done.output
    assert canaries(done.output.encode()) == set()


SLIPS = [
    'url: "http://canary:canary@h/"',
    'url: "http://h/?key=canary"',
    'url: "canary canary"',
    'url: "${SECRET}"',
    "url: http://h, auth: Bearer canary",
    "url: http://h, auth: {header: Authorization, value: [canary]}",
    'url: http://h, auth: {header: Authorization, value: "canary\\ncanary"}',
    'url: http://h, auth: {header: "Authorization: Bearer canary", value: x}',
    "url: http://h, headers: {set: {x-key: [canary]}}",
    'url: http://h, headers: {set: "x-key: canary"}',
    'url: http://h, headers: {set: {x-key: "canary\\u00e9"}}',
    'url: http://h, headers: {set: ["x-key: canary"]}',
    'url: http://h, cache: {redis: "canary@host"}',
    'url: http://h, cache: {redis: "redis://:canary@host:canary/0"}',
    'url: http://h, egress: "http://canary:canary@h:1"',
    'url: http://h, kind: "${SECRET}"',
    'url: http://h, timeouts: {total: "${SECRET}"}',
    'url: http://h, retry: {max_retries: "${SECRET}", retry_on: ["${SECRET}"]}',
    'url: http://h, replay_limit: "${SECRET}"',
    'url: http://h, provider: "${file:FILE}"',
    "url: http://h, auth: {header: Authorization, value: canary",
    "url: http://h, auth: {header: Authorization, value: 'canary}",
    "url: http://h, auth: {value: canary, value: canary}",
    "url: http://h, auth: {header: Authorization, value: *canary}",
    "url: http://h, auth: {header: Authorization, value: !canary x}",
    "url: http://h, auth: {header: Authorization, value: @canary}",
    "url: http://h, auth: {header: Authorization, value: ${SECRET}}",
]


@pytest.mark.parametrize("slip", SLIPS)
def test_a_secret_in_the_wrong_place_of_a_config_is_not_quoted(slip, tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "canary-env")
    secret = tmp_path / "secret"
    secret.write_text("canary-file")
    file = tmp_path / "proxy.yaml"
    file.write_text(f"version: 1\nupstreams:\n  up: {{{slip.replace('FILE', str(secret))}}}\n")

    done = CliRunner().invoke(main, ["check", str(file)])

    assert (done.exit_code, done.stdout) == (1, "")
    assert canaries(done.stderr.encode()) == set(), done.stderr
