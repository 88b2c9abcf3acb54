"""Answers that callers with different credentials share, and failures that they do not."""

import asyncio

import pytest
from e2e.support import call, proxied

from proxy.testing.script import ask, ok, status, wait
from proxy.testing.upstream import Upstream

TEXT = """
version: 1
listen: {port: 0}
admin: {port: 0}
upstreams:
  up:
    url: "${UP}"
    retry: {max_retries: 0}
    cache: {ttl: 60s, shared: true}
    limits: {rate: {limit: 1, window: 1h, by: caller}}
"""


@pytest.mark.parametrize("refusal", [401, 403, 429])
async def test_what_is_wrong_with_one_credential_is_not_told_to_another(refusal):
    def answers(seen):
        return ok("told") if seen.header("x-api-key") == "good" else wait(1) + status(refusal)

    async with Upstream() as up, proxied(TEXT, up=up.url) as proxy:
        up.always(ask(answers))
        base = proxy.addresses[""]
        bad = asyncio.create_task(call(base, "/up/x", headers={"X-Api-Key": "bad"}))
        await up.asked()
        good = await call(base, "/up/x", headers={"X-Api-Key": "good"})

        assert ((await bad).status, good.status) == (refusal, 200)


async def test_one_callers_rate_is_not_anothers():
    async with Upstream() as up, proxied(TEXT, up=up.url) as proxy:
        up.always(wait(1) + ok("told"))
        base = proxy.addresses[""]
        assert (await call(base, "/up/first", headers={"X-Api-Key": "one"})).status == 200
        one = asyncio.create_task(call(base, "/up/x", headers={"X-Api-Key": "one"}))
        other = asyncio.create_task(call(base, "/up/x", headers={"X-Api-Key": "other"}))

        assert {(await one).status, (await other).status} <= {200, 429}
        assert (await other).status == 200
