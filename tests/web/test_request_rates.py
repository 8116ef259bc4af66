"""Requests per minute where people sign in: by token, else by address."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import uuid4

from tests.kit.served_app import Served, serving
from tests.kit.tokens import Token, make_token, revoke

COMPANY = uuid4()
PATH = f"/api/companies/{COMPANY}/conversations"
LIMIT = 5


async def statuses(
    client: Served, count: int, headers: Mapping[str, str], *, address: str, path: str = PATH
) -> list[int]:
    """The statuses of so many requests from an address."""
    headers = {**headers, "X-Forwarded-For": address}
    return [(await client.request("GET", path, headers=headers)).status for _ in range(count)]


async def test_all_that_use_one_token_are_counted_together_and_everyone_else_apart(database_url: str) -> None:
    settings = {"auth": "authenticated", "requests_per_minute": LIMIT, "trusted_proxies": ("127.0.0.1",)}
    ann, bob = (make_token(database_url, COMPANY, name=name) for name in ("ann", "bob"))
    async with serving(database_url, **settings) as client:  # type: ignore[arg-type]
        # A token is counted for itself, wherever it is used; signing in, which needs no token yet, for the address.
        assert await statuses(client, 1, ann.bearer, address="192.0.2.1") == [200]
        browser = await signed_in(client, ann, address="192.0.2.2")
        assert await statuses(client, 2, ann.bearer, address="192.0.2.1") == [200] * 2
        assert await statuses(client, 2, browser, address="192.0.2.2") == [200] * 2
        for credentials in (ann.bearer, browser):
            assert await statuses(client, 1, credentials, address="192.0.2.9") == [429]
        refused = await client.request("GET", PATH, headers={**ann.bearer, "X-Forwarded-For": "192.0.2.1"})
        assert 1 <= int(refused.headers["Retry-After"]) <= 60 // LIMIT
        assert refused.json == {"error": "Too many requests"}
        # Neither another token of that address is concerned, nor whoever has none.
        assert await statuses(client, 2, bob.bearer, address="192.0.2.1") == [200] * 2
        assert await statuses(client, LIMIT, {}, address="192.0.2.1") == [401] * LIMIT
        assert await statuses(client, 1, {}, address="192.0.2.1") == [429]
        # So is one whose token is not good, in all of its network.
        bad = {"Authorization": f"Bearer chatserver_{'x' * 43}"}
        seen = [(await statuses(client, 1, bad, address=f"2001:db8::{at}"))[0] for at in range(1, LIMIT + 2)]
        assert seen == [401] * LIMIT + [429]
        assert await statuses(client, 1, bad, address="2001:db8:0:1::1") == [401]
        # Who asks too often is refused before the database is asked.
        client.app.batches.close()
        assert await statuses(client, 1, ann.bearer, address="192.0.2.1") == [429]
        assert await statuses(client, 1, bob.bearer, address="192.0.2.1") == [503]
        assert (
            client.app.metrics.registry.get_sample_value("chatserver_refusals_total", {"bound": "requests_per_minute"})
            == 6
        )


async def test_a_token_that_was_revoked_is_counted_for_its_address_again(database_url: str) -> None:
    settings = {"auth": "authenticated", "requests_per_minute": LIMIT, "trusted_proxies": ("127.0.0.1",)}
    token = make_token(database_url, COMPANY)
    async with serving(database_url, **settings) as client:  # type: ignore[arg-type]
        assert await statuses(client, 1, token.bearer, address="192.0.2.1") == [200]
        revoke(database_url, token)
        # The first one was still counted for the token.
        seen = await statuses(client, LIMIT + 2, token.bearer, address="192.0.2.1")
        assert seen == [401] * (LIMIT + 1) + [429]


async def test_people_behind_one_address_are_let_in_by_a_process_that_knows_none_of_them(database_url: str) -> None:
    people = [make_token(database_url, COMPANY, name=f"n{number}") for number in range(4 * LIMIT)]
    async with serving(database_url, auth="authenticated", requests_per_minute=LIMIT) as client:
        for _ in range(2):
            for token in people:
                assert (await client.request("GET", PATH, headers=token.bearer)).status == 200


async def signed_in(client: Served, token: Token, *, address: str) -> Mapping[str, str]:
    """The cookie of a browser that signs in with a token."""
    response = await client.request("POST", "/api/session", {"token": token.text}, {"X-Forwarded-For": address})
    assert response.status == 204
    return {"Cookie": response.headers["Set-Cookie"].partition(";")[0]}
