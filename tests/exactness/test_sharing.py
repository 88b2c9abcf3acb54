"""Callers share connections to an upstream, and nothing else."""

import asyncio

from e2e.support import answer, call, connect, proxied, request
from exactness.readers import strict

from proxy.testing import script

TWO = """
version: 1
listen: {port: 0}
admin: {port: 0}
upstreams:
  one: {url: "${ONE}", auth: {header: Authorization, value: Bearer key-of-one}, limits: {connections: 1}}
  two: {url: "${TWO}", auth: {header: x-api-key, value: key-of-two}, limits: {connections: 1}}
  open: {url: "${ONE}", limits: {connections: 1}}
"""

KEYS = ("authorization", "x-api-key", "cookie", "proxy-authorization")


def secrets(seen):
    return [value for key in KEYS for value in seen.values(key)]


async def test_each_upstream_gets_its_own_key_and_no_others():
    async with strict() as (one, first), strict() as (two, second):
        async with proxied(TWO, one=one, two=two) as proxy:
            for name in ("one", "two", "one", "two"):
                await call(proxy.addresses[""], f"/{name}/x", headers={"Cookie": "theirs"})
            await call(proxy.addresses[""], "/open/x")

    assert [secrets(seen) for seen in first.seen] == [["Bearer key-of-one"]] * 2 + [[]]
    assert [secrets(seen) for seen in second.seen] == [["key-of-two"]] * 2


async def test_a_cookie_an_upstream_sets_is_sent_by_nobody_but_who_got_it():
    async with strict() as (one, upstream), proxied(TWO, one=one, two=one) as proxy:
        upstream.always(script.status(200, "ok", **{"Set-Cookie": "session=first"}))
        base = proxy.addresses[""]
        mine = await call(base, "/open/x", headers={"Cookie": "mine", "Authorization": "mine"})
        upstream.always(script.ok("ok"))
        yours = await call(base, "/open/x")

    assert (mine.get("set-cookie"), yours.get("set-cookie")) == ("session=first", None)
    assert [secrets(seen) for seen in upstream.seen] == [["mine", "mine"], []]
    assert len({seen.connection for seen in upstream.seen}) == 1


async def test_requests_sent_at_once_are_answered_in_their_order():
    async with strict() as (one, upstream), proxied(TWO, one=one, two=one) as proxy:
        upstream.always(
            script.ask(lambda seen: script.wait(9 - int(seen.target[1:])) + script.ok(seen.target))
        )
        base = proxy.addresses[""]
        reader, writer = await connect(base)
        writer.write(b"".join(request(base, f"/open/{number}") for number in range(9)))
        bodies = [(await answer(reader)).body for _ in range(9)]
        writer.close()

    assert bodies == [b"/%d" % number for number in range(9)]
    assert [seen.target for seen in upstream.seen] == [f"/{number}" for number in range(9)]


async def test_many_callers_on_one_connection_get_each_their_own():
    async with strict() as (one, upstream), proxied(TWO, one=one, two=one) as proxy:
        upstream.always(script.ask(lambda seen: script.ok(seen.target + str(secrets(seen)))))
        base = proxy.addresses[""]
        told = await asyncio.gather(
            *(call(base, f"/open/{n}", headers={"Authorization": f"k{n}"}) for n in range(100))
        )

    assert [each.body.decode() for each in told] == [f"/{n}['k{n}']" for n in range(100)]
    assert len({seen.connection for seen in upstream.seen}) == 1
