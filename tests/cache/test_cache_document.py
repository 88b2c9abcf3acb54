"""docs/cache.md, run: its YAML is loaded, and does what the page says."""

from pathlib import Path

from e2e.support import call, proxied
from sybil import Sybil
from sybil.parsers.markdown import CodeBlockParser

from proxy.testing import script
from proxy.testing.upstream import Upstream

PAGE = Path(__file__).parents[2] / "docs" / "cache.md"


def blocks(language):
    parser = CodeBlockParser(language=language, evaluator=lambda _: None)
    return [str(found.parsed) for found in Sybil([parser]).parse(PAGE).examples()]


async def test_the_example_keeps_models_and_embeddings_even_without_its_redis(tmp_path):
    [text] = blocks("yaml")
    nobody = f"unix://{tmp_path}/nobody"
    async with Upstream() as up:
        up.always(script.ok("told"))
        own = text.replace("https://api.openai.com", up.url)
        own += "listen: {port: 0}\nadmin: {port: 0}\n"
        async with proxied(own, redis_url=nobody) as proxy:
            found = []
            for method, path in [
                ("GET", "/v1/models"),
                ("POST", "/v1/embeddings"),
                ("POST", "/v1/chat/completions"),
                ("DELETE", "/v1/models"),
            ]:
                body = b"{}" if method == "POST" else None
                for _ in range(2):
                    answer = await call(proxy.addresses[""], f"/openai{path}", method, body)
                    found.append(answer.get("x-octollm-cache"))

    assert found == ["miss", "hit", "miss", "hit", None, None, None, None]
