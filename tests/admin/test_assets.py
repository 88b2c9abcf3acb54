import re

import pytest
from admin.house import House

from proxy.admin.assets import PAGE, POLICY
from proxy.admin.steering import ACTIONS
from proxy.policy.transitions import Reason, State

pytestmark = pytest.mark.real_time


@pytest.fixture
async def client(aiohttp_client):
    return await aiohttp_client(House().admin().application())


async def test_the_page_and_its_files_are_served_with_their_types(client):
    page = await client.get("/")
    script = await client.get("/page/app.js")

    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert script.headers["Content-Type"] == "text/javascript; charset=utf-8"
    for response in (page, script):
        assert response.headers["Content-Security-Policy"] == POLICY
        assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_only_the_page_is_served(client):
    for path in ("/page/../server.py", "/page/%2e%2e/server.py", "/page/", "/page/index.html"):
        assert (await client.get(path)).status == 404


def test_the_page_asks_for_nothing_from_elsewhere():
    for file in PAGE.iterdir():
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(
            r"https?:|//[a-z]|@import|url\(", re.sub(r"(?m)^//.*|\s// .*", "", text)
        )


def test_the_page_has_words_for_whatever_a_circuit_and_an_operator_do():
    words = (PAGE / "words.js").read_text()
    known = {
        name: set(re.findall(r'([\w-]+)"?: "', body))
        for name, body in re.findall(r"(?ms)^(?:export )?const (\w+) = \{(.*?)\};", words)
    }

    assert known["STATES"] == set(State)
    assert known["REASONS"] == set(Reason)
    assert known["ACTIONS"] == set(ACTIONS) - {"mode"}


def test_no_text_becomes_markup_style_or_script():
    for file in PAGE.iterdir():
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(| style=|\son\w+=",
            file.read_text(),
        )
