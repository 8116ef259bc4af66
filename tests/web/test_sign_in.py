"""`auth = "authenticated"`: bearers and sessions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from uuid import uuid4

import psycopg
import pytest

from chatserver.credentials import new_cookie, new_token
from chatserver.services import tokens
from chatserver.services.tokens import BAD_TOKENS_PER_MINUTE, FAILED_SIGN_INS_PER_MINUTE
from chatserver.storage import sign_in as storage_sign_in
from tests.kit.http_client import COMPANY, Response
from tests.kit.served_app import Served, serving
from tests.kit.tokens import Token, execute, make_token, revoke

CONVERSATIONS = f"/api/companies/{COMPANY}/conversations"
SESSION = "/api/session"
PROXIED = {"X-Forwarded-Proto": "https", "Host": "chat.example.org"}


@asynccontextmanager
async def authenticated(url: str, **settings: object) -> AsyncIterator[Served]:
    async with serving(url, auth="authenticated", **settings) as client:
        yield client


def cookie_of(response: Response) -> str:
    """What a browser sends back."""
    return response.headers["Set-Cookie"].partition(";")[0]


async def sign_in(client: Served, token: Token, headers: Mapping[str, str] | None = None) -> str:
    response = await client.request("POST", SESSION, {"token": token.text}, headers)
    assert response.status == 204, response
    return cookie_of(response)


async def status(client: Served, headers: Mapping[str, str], path: str = CONVERSATIONS) -> int:
    return (await client.request("GET", path, headers=headers)).status


async def test_nobody_gets_in_without_a_token(database_url: str) -> None:
    async with authenticated(database_url) as client:
        assert (await client.request("GET", CONVERSATIONS)).error == (401, "Sign in first")
        for headers in ({}, {"Authorization": "Basic eDp5"}):  # the latter is a proxy's affair
            session = await client.request("GET", SESSION, headers=headers)
            assert session.json == {"mode": "authenticated", "actor": None, "companies": []}
        for path in ("/", "/healthz", "/help"):
            assert await status(client, {}, path) == 200
        # Browsers send preflight requests without credentials.
        assert (await client.request("OPTIONS", CONVERSATIONS)).status == 204


async def test_bearer_is_let_in_until_it_is_revoked_or_expires(database_url: str) -> None:
    token, late = make_token(database_url, COMPANY), make_token(database_url, COMPANY, expires="1 hour")
    async with authenticated(database_url) as client:
        for each in (token, late):
            assert await status(client, each.bearer) == 200
        revoke(database_url, token)
        execute(database_url, "UPDATE api_tokens SET expires_at = now() WHERE id = %s", late.id)
        for each in (token, late):
            refused = await client.request("GET", CONVERSATIONS, headers=each.bearer)
            assert refused.error == (401, "The token is not valid, or not any more")
            assert refused.headers["WWW-Authenticate"] == "Bearer"


async def test_authorization_is_read_as_rfc_9110_says(database_url: str) -> None:
    token = make_token(database_url, COMPANY)
    async with authenticated(database_url) as client:
        for right in (f"bearer {token.text}", f"BEARER   {token.text} "):
            assert await status(client, {"Authorization": right}) == 200
        for wrong in (
            "Bearer",
            f"Bearer {token.text}x",
            f"Bearer {token.text[:-1]}",
            f"Bearer {token.text}, Bearer {token.text}",
            f"Bearer {token.text.removeprefix('chatserver_')}",
            f"Bearer {new_token()}",
            "Bearer é",
            token.text,
            f"Basic {token.text}",
        ):
            assert await status(client, {"Authorization": wrong}) == 401, wrong


async def test_session_has_a_cookie_of_its_own_that_dies_with_its_token(database_url: str) -> None:
    token = make_token(database_url, COMPANY, "reader")
    async with authenticated(database_url) as client:
        response = await client.request("POST", SESSION, {"token": token.text})
        assert response.status == 204
        name, _, value = cookie_of(response).partition("=")
        assert name == "chatserver_session"
        assert value not in token.text
        assert token.text not in value
        marks = response.headers["Set-Cookie"].split("; ")[1:]
        assert marks == ["Path=/", "Max-Age=2592000", "HttpOnly", "SameSite=Lax"]
        cookie = {"Cookie": f"other=1; {name}={value}"}
        assert (await client.request("GET", SESSION, headers=cookie)).json == {
            "mode": "authenticated",
            "actor": {"name": "ann"},
            "companies": [{"id": COMPANY, "role": "reader"}],
        }
        assert await status(client, cookie) == 200
        # A bad bearer is refused even beside a good cookie; what a proxy asks for is none of ours.
        for path in (CONVERSATIONS, SESSION):
            assert await status(client, {**cookie, "Authorization": f"Bearer {new_token()}"}, path) == 401
            assert await status(client, {**cookie, "Authorization": "Basic eDp5"}, path) == 200
        with psycopg.connect(database_url) as connection:
            stored = connection.execute("SELECT t::text || s::text FROM api_tokens t, chat_sessions s").fetchone()
        assert stored is not None
        assert value not in stored[0]
        assert token.text not in stored[0]
        revoke(database_url, token)
        assert await status(client, cookie) == 401
        assert (await client.request("GET", SESSION, headers=cookie)).json["actor"] is None


async def test_cookie_under_tls_is_bound_to_the_host(database_url: str) -> None:
    token = make_token(database_url, COMPANY)
    async with authenticated(
        database_url, trusted_proxies=("127.0.0.1",), allowed_hosts=("chat.example.org",)
    ) as client:
        response = await client.request("POST", SESSION, {"token": token.text}, PROXIED)
        cookie = cookie_of(response)
        assert cookie.startswith("__Host-chatserver_session=")
        assert response.headers["Set-Cookie"].endswith("; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax; Secure")
        assert await status(client, {**PROXIED, "Cookie": cookie}) == 200
        # A cookie that another server of the domain may have set is not taken.
        assert await status(client, {**PROXIED, "Cookie": cookie.removeprefix("__Host-")}) == 401


async def test_each_sign_in_gives_a_new_value_and_ends_the_session_before(database_url: str) -> None:
    token = make_token(database_url, COMPANY)
    planted = f"chatserver_session={new_cookie()}"
    async with authenticated(database_url) as client:
        first = await sign_in(client, token, {"Cookie": planted})
        second = await sign_in(client, token, {"Cookie": first})
        assert len({planted, first, second}) == 3
        assert [await status(client, {"Cookie": each}) for each in (planted, first, second)] == [401, 401, 200]


async def test_token_has_so_many_sessions_and_a_further_one_ends_the_oldest(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_sign_in, "MAX_SESSIONS", 2)
    token, other = make_token(database_url, COMPANY), make_token(database_url, COMPANY, name="bob")
    async with authenticated(database_url) as client:
        others = await sign_in(client, other)
        cookies = [await sign_in(client, token) for _ in range(3)]
        assert [await status(client, {"Cookie": each}) for each in (others, *cookies)] == [200, 401, 200, 200]


async def test_session_is_over_when_it_is_idle_and_when_it_is_old(database_url: str) -> None:
    token = make_token(database_url, COMPANY)
    async with authenticated(database_url, session_idle_hours=1, session_max_days=2) as client:
        for change, left in (
            ("used_at = now() - interval '59 minutes'", 200),
            ("used_at = now() - interval '61 minutes'", 401),
            ("created_at = now() - interval '47 hours'", 200),
            ("created_at = now() - interval '49 hours'", 401),
        ):
            cookie = {"Cookie": await sign_in(client, token)}
            execute(database_url, f"UPDATE chat_sessions SET {change}")
            assert await status(client, cookie) == left, change
            # A use is written down.
            assert await status(client, cookie) == left, change
        with psycopg.connect(database_url) as connection:
            last_used = connection.execute("SELECT now() - last_used_at < '1 minute' FROM api_tokens").fetchone()
        assert last_used == (True,)


async def test_sign_out_ends_the_session_here_or_everywhere(database_url: str) -> None:
    token = make_token(database_url, COMPANY)
    async with authenticated(database_url) as client:
        here, there, elsewhere = [await sign_in(client, token) for _ in range(3)]
        response = await client.request("DELETE", SESSION, headers={"Cookie": here})
        assert response.status == 204
        assert response.headers["Set-Cookie"].startswith("chatserver_session=; Path=/; Max-Age=0;")
        assert response.headers["Clear-Site-Data"] == '"storage"'
        assert [await status(client, {"Cookie": each}) for each in (here, there)] == [401, 200]
        everywhere = f"{SESSION}?everywhere=true"
        assert (await client.request("DELETE", everywhere, headers={"Cookie": there})).status == 204
        assert [await status(client, {"Cookie": each}) for each in (there, elsewhere)] == [401, 401]
        # Nothing to end is no error; a bad bearer is. The token itself stays good.
        for headers in ({}, {"Cookie": here}, {"Cookie": "chatserver_session=x"}, token.bearer):
            for path in (SESSION, everywhere):
                assert (await client.request("DELETE", path, headers=headers)).status == 204
        assert (await client.request("DELETE", everywhere, headers={"Authorization": "Bearer x"})).status == 401
        assert await status(client, token.bearer) == 200


async def test_token_that_is_erased_while_somebody_signs_in_opens_no_session(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = make_token(database_url, COMPANY)
    async with authenticated(database_url) as client:
        look_ups = client.app.context.access._look_ups  # type: ignore[attr-defined]
        carry_out = look_ups.carry_out

        async def erased_then(*given: object) -> object:
            known = await carry_out(*given)
            execute(database_url, "DELETE FROM api_tokens")
            return known

        monkeypatch.setattr(look_ups, "carry_out", erased_then)
        refused = await client.request("POST", SESSION, {"token": token.text})
        assert (refused.status, "Set-Cookie" in refused.headers) == (401, False)
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT event, details->>'reason' FROM chat_audit").fetchall()
    assert rows == [("sign_in_failed", "unknown")]


async def test_only_the_own_page_signs_in(database_url: str) -> None:
    token = make_token(database_url, COMPANY)
    other = "https://app.example.org"
    async with authenticated(database_url, allowed_origins=(other,)) as client:
        own = f"http://127.0.0.1:{client.port}"
        for sent, expected in (
            ({"Origin": own}, 204),
            ({"Origin": own, "Sec-Fetch-Site": "same-origin"}, 204),
            ({"Origin": other}, 403),
            ({"Origin": other, "Sec-Fetch-Site": "cross-site"}, 403),
            ({"Origin": "null"}, 403),
            ({"Sec-Fetch-Site": "cross-site"}, 403),
        ):
            headers = {"Host": f"127.0.0.1:{client.port}", **sent}
            response = await client.request("POST", SESSION, {"token": token.text}, headers)
            assert response.status == expected, headers
            assert ("Set-Cookie" in response.headers) == (expected == 204)
        form = f"token={token.text}".encode()
        for kind in ("application/x-www-form-urlencoded", "text/plain"):
            assert (await client.request("POST", SESSION, form, {"Content-Type": kind})).status == 415


async def test_page_of_an_allowed_site_acts_with_a_token_and_not_with_the_cookie(database_url: str) -> None:
    token = make_token(database_url, COMPANY)
    other = {"Origin": "https://app.example.org", "Sec-Fetch-Site": "same-site"}
    async with authenticated(database_url, allowed_origins=(other["Origin"],)) as client:
        cookie = {"Cookie": await sign_in(client, token)}
        for method, path in (("GET", CONVERSATIONS), ("POST", CONVERSATIONS), ("GET", SESSION)):
            seen = await client.request(method, path, None, {**cookie, **other})
            assert seen.status == 401 or seen.json["actor"] is None
            assert (await client.request(method, path, None, {**token.bearer, **other})).status in (200, 201)
            assert (await client.request(method, path, None, cookie)).status in (200, 201)


async def test_token_that_a_client_takes_for_the_id_of_its_request_is_nowhere(database_url: str) -> None:
    token = make_token(database_url, COMPANY, "manager")
    async with authenticated(database_url) as client:
        agent = {"name": "a", "adapterType": "echo"}
        headers = {**token.bearer, "X-Request-Id": token.text}
        made = await client.request("POST", f"/api/companies/{COMPANY}/agents", agent, headers)
        assert (made.status, token.text in str(made.headers)) == (201, False)
    with psycopg.connect(database_url) as connection:
        entries = connection.execute("SELECT string_agg(a::text, ' ') FROM chat_audit AS a").fetchone()
    assert entries is not None
    assert token.text not in entries[0]


async def test_sign_in_without_a_good_token_is_refused(database_url: str) -> None:
    revoked = make_token(database_url, COMPANY)
    revoke(database_url, revoked)
    async with authenticated(database_url) as client:
        for body in ({}, {"token": ""}):
            assert (await client.request("POST", SESSION, body)).wrong == ["token"]
        for text in ("x", new_token(), revoked.text, "chatserver_" + "é" * 43):
            refused = await client.request("POST", SESSION, {"token": text})
            assert refused.error == (401, "The token is not valid, or not any more")
            assert "Set-Cookie" not in refused.headers


# --- too many bad ones ------------------------------------------------------------------------------------


async def test_bad_credentials_of_an_address_are_slowed_down_before_they_cost_a_query(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, unused = make_token(database_url, COMPANY), make_token(database_url, COMPANY, name="bob")
    async with authenticated(database_url, trusted_proxies=("127.0.0.1",)) as client:
        from_v6 = {"X-Forwarded-For": "2001:db8::1"}
        assert await status(client, {**known.bearer, **from_v6}) == 200
        for _ in range(BAD_TOKENS_PER_MINUTE):
            assert await status(client, {"Authorization": f"Bearer {new_token()}", **from_v6}) == 401
        look_ups = client.app.context.access._look_ups  # type: ignore[attr-defined]
        carry_out = look_ups.carry_out
        asked = []

        async def counted(key: object, credential: object, chars: int) -> object:
            asked.append(credential)
            return await carry_out(key, credential, chars)

        monkeypatch.setattr(look_ups, "carry_out", counted)
        neighbour = {"X-Forwarded-For": "2001:db8::2"}
        bad = {"Authorization": f"Bearer {new_token()}", **neighbour}
        refused = await client.request("GET", CONVERSATIONS, headers=bad)
        assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
        assert asked == []
        # Whoever was let in before is looked up, whatever others at the address do; so are those elsewhere.
        assert await status(client, {**known.bearer, **neighbour}) == 200
        assert await status(client, {**unused.bearer, "X-Forwarded-For": "2001:db8:0:1::1"}) == 200
        assert len(asked) == 2


async def test_good_tokens_that_come_together_for_the_first_time_are_all_let_in(database_url: str) -> None:
    token = make_token(database_url, COMPANY)
    async with authenticated(database_url) as client:
        all_at_once = await asyncio.gather(*(status(client, token.bearer) for _ in range(2 * BAD_TOKENS_PER_MINUTE)))
        assert set(all_at_once) == {200}


async def test_cookies_of_nobody_are_slowed_down_apart_from_tokens(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "BAD_COOKIES_PER_MINUTE", 2)
    token = make_token(database_url, COMPANY)
    async with authenticated(database_url) as client:
        cookies = [{"Cookie": f"chatserver_session={new_cookie()}"} for _ in range(3)]
        assert [await status(client, cookie) for cookie in cookies] == [401, 401, 429]
        assert await status(client, token.bearer) == 200
        assert await status(client, {"Cookie": await sign_in(client, token, cookies[0])}) == 200


async def test_cookie_of_a_session_that_is_over_is_taken_away(database_url: str) -> None:
    async with authenticated(database_url) as client:
        told = await client.request("GET", SESSION, headers={"Cookie": f"chatserver_session={new_cookie()}"})
        assert told.json["actor"] is None
        assert told.headers["Set-Cookie"].startswith("chatserver_session=; Path=/; Max-Age=0;")
        assert "Set-Cookie" not in (await client.request("GET", SESSION)).headers


async def test_failed_sign_ins_of_an_address_are_slowed_down(database_url: str) -> None:
    token = make_token(database_url, COMPANY)
    async with authenticated(database_url) as client:
        for number in range(FAILED_SIGN_INS_PER_MINUTE):
            guess = new_token() if number % 2 else "guess"
            assert (await client.request("POST", SESSION, {"token": guess})).status == 401
        refused = await client.request("POST", SESSION, {"token": new_token()})
        assert (refused.status, int(refused.headers["Retry-After"]) <= 3) == (429, True)
        # That says nothing about bearers.
        assert await status(client, token.bearer) == 200


async def test_good_sign_ins_do_not_count_as_failed(database_url: str) -> None:
    async with authenticated(database_url) as client:
        for number in range(FAILED_SIGN_INS_PER_MINUTE + 5):
            await sign_in(client, make_token(database_url, COMPANY, name=f"n{number}"))


# --- companies --------------------------------------------------------------------------------------------


async def test_administrator_is_told_of_all_companies_that_have_anything(database_url: str) -> None:
    admin = make_token(database_url, None, name="root")
    async with authenticated(database_url, companies={COMPANY: {"name": "Example"}}) as client:
        told = await client.request("GET", SESSION, headers=admin.bearer)
        assert told.json["companies"] == [{"id": COMPANY, "name": "Example", "role": "manager"}]
        others = sorted(str(uuid4()) for _ in range(3))
        await client.request("POST", f"/api/companies/{others[0]}/conversations", {}, admin.bearer)
        agent = {"name": "a", "adapterType": "echo"}
        await client.request("POST", f"/api/companies/{others[1]}/agents", agent, admin.bearer)
        make_token(database_url, others[2])
        told = await client.request("GET", SESSION, headers=admin.bearer)
        assert [company["id"] for company in told.json["companies"]] == others
        make_token(database_url, COMPANY)
        told = await client.request("GET", SESSION, headers=admin.bearer)
        assert [company["id"] for company in told.json["companies"]] == [COMPANY, *others]


# --- the audit log ----------------------------------------------------------------------------------------


async def test_audit_log_tells_of_sign_ins_and_of_refused_tokens(database_url: str) -> None:
    ann, bob = make_token(database_url, COMPANY), make_token(database_url, COMPANY, name="bob", expires="-1 second")
    eve = make_token(database_url, None, name="eve")
    revoke(database_url, eve)
    async with authenticated(database_url, trusted_proxies=("127.0.0.1",)) as client:
        sent = {"X-Forwarded-For": "192.0.2.7", "X-Request-Id": "one"}
        cookie = await sign_in(client, ann, sent)
        await client.request("POST", SESSION, {"token": "nonsense"}, sent)
        await client.request("POST", SESSION, {"token": bob.text}, sent)
        await status(client, {**eve.bearer, **sent})
        await client.request("DELETE", SESSION, headers={"Cookie": cookie, **sent})
        await client.request("DELETE", f"{SESSION}?everywhere=true", headers={**ann.bearer, **sent})
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT event, company_id::text, actor, token_id, address, request_id, details FROM chat_audit ORDER BY at"
        ).fetchall()
    assert [row[4:6] for row in rows] == [("192.0.2.7", "one")] * len(rows)
    assert [(*row[:4], row[6]) for row in rows] == [
        ("sign_in", COMPANY, "ann", ann.id, {}),
        ("sign_in_failed", None, None, None, {"way": "session", "reason": "unknown", "unrecorded": 0}),
        ("sign_in_failed", COMPANY, "bob", bob.id, {"way": "session", "reason": "expired", "unrecorded": 0}),
        ("sign_in_failed", None, "eve", eve.id, {"way": "bearer", "reason": "revoked", "unrecorded": 0}),
        ("sign_out", COMPANY, "ann", ann.id, {"everywhere": False}),
        ("sign_out", COMPANY, "ann", ann.id, {"everywhere": True}),
    ]
