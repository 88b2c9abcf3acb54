"""The status page in a real browser, before a real proxy and an upstream that fails as told."""

import json

import pytest
from e2e.support import call
from page.browser import CHROMIUM, Page, browsing
from page.contrast import CONTRAST
from page.watched import watched

from proxy.testing.script import ok, status
from proxy.testing.upstream import Upstream

pytestmark = [
    pytest.mark.real_time,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
]

LIVE = "document.querySelector('#connection')?.dataset.is === 'live'"
STALE = "document.querySelector('#connection').dataset.is === 'stale'"


@pytest.fixture
async def page():
    async with browsing() as page:
        yield page


@pytest.fixture
async def upstream():
    async with Upstream() as upstream:
        upstream.always(ok())
        yield upstream


@pytest.fixture
async def proxy(upstream):
    async with watched(upstream.url) as proxy:
        yield proxy


async def visit(page: Page, proxy, path="/") -> None:
    await page.open(proxy.addresses["admin"].replace("0.0.0.0", "127.0.0.1") + path)
    await page.see(LIVE)


def card(name, what=""):
    return f"""document.querySelector('[aria-labelledby="of-{name}"] {what}')"""


def reads(node, *words):
    """Give a script that is true where a node says all these words."""
    return " && ".join(f"{node}.textContent.includes({json.dumps(word)})" for word in words)


def button(name, number):
    return f"""[aria-labelledby="of-{name}"] .buttons button:nth-child({number})"""


FORCE_OPEN, RELEASE, RESET, OBSERVE = (button("openai", n) for n in (1, 2, 3, 4))


async def fail(proxy, upstream, times=3):
    upstream.script(*[status(500)] * times)
    for _ in range(times):
        await call(proxy.addresses[""], "/openai/v1/models")


async def confirm(page, reason="a drill"):
    await page.see("document.activeElement.id === 'ask-reason'")
    await page.write(reason)
    await page.press("Enter")
    await page.see("!document.querySelector('dialog').open")


async def test_an_outage_is_shown_as_it_goes(page, proxy, upstream):
    await visit(page, proxy)
    await page.see(reads(card("openai", ".state"), "Closed", "since this circuit began"))
    await page.see(reads("document.querySelector('#summary')", "All circuits are closed."))
    await fail(proxy, upstream)
    await page.see(reads(card("openai", ".state"), "Open", "failures in a row", "next probe in"))
    await page.see(reads("document.querySelector('#summary')", "openai is open."))
    await page.see(reads("document.querySelector('#announcer')", "openai is open."))
    await page.see(reads(card("openai", ".errors"), "LLM_API_ERROR", "502"))
    shape = await page.ask(f"{card('openai', '.shape')}.getAttribute('class')")
    other = await page.ask(f"{card('qdrant', '.shape')}.getAttribute('class')")
    await page.see(reads(card("openai", ".state"), "Half-open", "the next call is a probe"))
    await call(proxy.addresses[""], "/openai/v1/models")
    await page.see(reads(card("openai", ".state"), "Closed", "a probe succeeded"))
    line = "document.querySelector('#timeline')"
    await page.see(reads(line, "closed → open: failures in a row, for 2 s", "half-open → closed"))
    await page.see(reads(card("openai", ".chart"), "1\u00a0served, 3\u00a0failed"))
    drawn = await page.ask(f"{card('openai', '.served')}.getAttribute('d')")

    assert (shape, other) == ("shape open", "shape closed")
    assert drawn.startswith("M")
    assert page.complaints == []


async def test_an_operator_forces_releases_resets_and_observes(page, proxy, upstream):
    await visit(page, proxy)
    await page.click(FORCE_OPEN)
    await page.see("document.activeElement.id === 'ask-reason'")
    await page.press("Enter")
    await page.see(reads("document.querySelector('#ask-wrong')", "Say why"))
    await confirm(page)
    await page.see(
        reads(card("openai", ".state"), "Open", "Held open by 127.0.0.1 until", "a drill")
    )
    forced = await call(proxy.addresses[""], "/openai/v1/models")
    await page.click(RELEASE)
    await confirm(page)
    await page.see(reads(card("openai", ".state"), "Half-open", "an operator released it"))
    await page.click(RESET)
    await confirm(page)
    await page.see(reads(card("openai", ".state"), "Closed", "an operator said so"))
    await page.click(OBSERVE)
    await confirm(page, "<img src=x onerror=alert(1)>")
    await page.see(reads(card("openai", ".state"), "only observed", "<img src=x onerror=alert(1)>"))
    await page.see(reads(f"document.querySelector('{OBSERVE}')", "Enforce"))
    actions = [acted.action for acted in proxy.history.actions]

    assert forced.code == "CIRCUIT_OPEN"
    assert actions == ["force-open", "release", "reset", "mode"]
    assert proxy.gateway.runtime.upstreams["openai"].breaker.mode == "observe"
    assert page.complaints == []


async def test_a_token_is_asked_for_once_and_kept_in_memory_only(page, upstream):
    async with watched(upstream.url, admin_host="0.0.0.0", admin_token="canary-token") as proxy:
        await visit(page, proxy)
        await page.click(RESET)
        await page.see("document.activeElement.id === 'ask-reason'")
        await page.write("a drill")
        await page.ask("document.querySelector('#ask-token').focus()")
        await page.write("not it")
        await page.press("Enter")
        await page.see(reads("document.querySelector('#ask-wrong')", "admin.token"))
        await page.see("document.querySelector('#ask-token').checkVisibility()")
        await page.ask("document.querySelector('#ask-token').focus()")
        await page.write("canary-token")
        await page.press("Enter")
        await page.see("!document.querySelector('dialog').open")
        await page.click(FORCE_OPEN)
        hidden = await page.ask("!document.querySelector('#ask-token').checkVisibility()")
        await confirm(page)
        kept = await page.ask(
            "JSON.stringify([localStorage, sessionStorage, document.cookie, location.href])"
            " + document.documentElement.outerHTML + document.querySelector('#ask-token').value"
        )

        assert hidden
        assert "canary" not in kept
        assert [acted.action for acted in proxy.history.actions] == ["reset", "force-open"]


async def test_a_listener_that_only_reads_offers_no_buttons(page, upstream):
    async with watched(upstream.url, admin_host="0.0.0.0") as proxy:
        await visit(page, proxy)
        await page.see(reads("document.querySelector('#summary')", "This listener only reads"))

        assert not await page.ask(f"document.querySelector('{RESET}').checkVisibility()")


async def test_it_says_when_it_is_stale_and_is_whole_again_after_a_restart(page, upstream):
    async with watched(upstream.url) as proxy:
        await visit(page, proxy)
        port = proxy.addresses["admin"].rpartition(":")[2]
    await page.see(STALE)
    told = await page.ask("document.querySelector('#connection').textContent")
    inert = await page.ask(f"document.querySelector('{RESET}').matches('[inert]')")
    async with watched(upstream.url, admin_port=port) as proxy:
        await page.see(LIVE)
        await fail(proxy, upstream)
        await page.see(reads(card("openai", ".state"), "Open"))
        usable = await page.ask(f"!document.querySelector('{RESET}').matches('[inert]')")

    assert told.startswith("Stale: this is how it was at ")
    assert inert
    assert usable
    assert page.complaints == []


async def test_another_config_shows_other_upstreams(page, proxy):
    await visit(page, proxy)
    runtime = proxy.gateway.runtime
    del runtime.upstreams["qdrant"]
    await page.see(f"!{card('qdrant')}")

    assert await page.ask(f"!!{card('openai')}")


async def test_a_proxy_that_drains_says_so(page, proxy):
    await visit(page, proxy)
    proxy.ready = False
    await page.see(reads("document.querySelector('#summary')", "takes no new calls"))


async def test_the_keyboard_is_enough(page, proxy):
    await visit(page, proxy)
    await page.ask("document.querySelector('nav a:last-child').focus()")
    await page.press("Tab")
    await page.see(f"document.activeElement.matches('{FORCE_OPEN}')")
    await page.press("Enter")
    await page.see("document.activeElement.id === 'ask-reason'")
    await page.press("Escape")
    await page.see("!document.querySelector('dialog').open")
    await page.see(f"document.activeElement.matches('{FORCE_OPEN}')")
    ring = await page.ask("getComputedStyle(document.activeElement).outlineStyle")

    assert ring == "solid"
    assert not proxy.history.actions


async def test_whatever_can_be_used_or_seen_has_a_name_of_its_own(page, proxy, upstream):
    await visit(page, proxy)
    await page.see(f"!!{card('chat', 'svg[aria-label]')}")
    tree = (await page.command("Accessibility.getFullAXTree"))["nodes"]
    named = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in tree
        if not node["ignored"]
    ]
    buttons = [name for role, name in named if role == "button"]
    images = [name for role, name in named if role in ("image", "img")]
    headings = [name for role, name in named if role == "heading"]

    assert sorted(set(buttons)) == sorted(buttons)
    assert "Force open openai" in buttons
    assert all(name.strip() for name in (*buttons, *images, *headings))
    assert any("requests, last five minutes:" in name for name in images)
    assert {"banner", "main", "navigation"} <= {role for role, _ in named}
    assert await page.ask("document.querySelectorAll('h1').length") == 1
    assert await page.ask("document.documentElement.lang") == "en"


@pytest.mark.parametrize("dark", [False, True])
async def test_text_stands_out_from_what_is_behind_it(page, proxy, upstream, dark):
    await page.look(1280, 900, dark=dark)
    await visit(page, proxy)
    await fail(proxy, upstream)
    await page.see(reads(card("openai", ".state"), "Open"))
    await page.click(RESET)
    weak = await page.ask(CONTRAST)

    assert weak == []


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
async def test_no_screen_has_to_be_scrolled_sideways(page, proxy, upstream, width):
    await page.look(width, 800)
    await visit(page, proxy)
    await fail(proxy, upstream)
    await page.see(reads(card("openai", ".errors"), "LLM_API_ERROR"))
    wide = await page.ask("document.documentElement.scrollWidth")

    assert wide <= width


async def test_the_browser_is_told_to_refuse_what_the_page_does_not_do(page, proxy):
    await visit(page, proxy)
    origins = await page.ask(
        "[...new Set(performance.getEntriesByType('resource').map(e => new URL(e.name).origin))]"
    )
    refused = await page.ask(
        "(() => { try { document.body.innerHTML = '<b>x</b>'; } catch (e) { return e.name; } })()"
    )
    inline = await page.ask(
        "(() => { const s = document.createElement('style'); s.textContent = 'body{opacity:0}';"
        " document.head.append(s); return getComputedStyle(document.body).opacity; })()"
    )
    elsewhere = await page.ask("fetch('http://127.0.0.2:1/').then(() => 'sent', () => 'refused')")

    assert origins == [proxy.addresses["admin"]]
    assert (refused, inline, elsewhere) == ("TypeError", "1", "refused")
    assert any("Content Security Policy" in complaint for complaint in page.complaints)
