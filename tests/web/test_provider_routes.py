"""The providers over HTTP: what agents may name, and who answers where no agent is registered."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

from tests.kit.event_stream import text_of
from tests.kit.http_client import Response, stream_path
from tests.kit.model_server import ModelServer
from tests.kit.served_app import serving
from tests.kit.tokens import Token, make_token

MAIN = {
    "kind": "openai",
    "base_url": "http://models.example.org:9/v1",
    "model": "m-1",
    "api_key_env": "A_KEY",
}
CLAUDE = {"kind": "anthropic", "base_url": "http://models.example.org:8/v1", "model": "c-1"}
FAST = {"kind": "echo", "pace_ms": 0, "model": "of no use"}


@pytest.mark.parametrize(
    ("settings", "default"),
    [
        ({}, None),
        ({"providers": {"main": MAIN}}, "main"),
        ({"providers": {"main": MAIN, "claude": CLAUDE, "fast": FAST}}, None),
        ({"providers": {"main": MAIN, "claude": CLAUDE, "fast": FAST}, "default_provider": "claude"}, "claude"),
    ],
)
async def test_providers_are_listed_without_urls_and_keys(
    module_database_url: str, settings: dict[str, Any], default: str | None
) -> None:
    items = [
        {"name": "main", "kind": "openai", "model": "m-1"},
        {"name": "claude", "kind": "anthropic", "model": "c-1"},
        {"name": "fast", "kind": "echo", "model": None},
    ]
    async with serving(module_database_url, **settings) as client:
        answer = await client.request("GET", "/api/providers")
    assert (answer.status, answer.json) == (
        200,
        {"items": items[: len(settings.get("providers", ()))], "default": default},
    )
    assert answer.headers["Cache-Control"] == "no-store"
    assert not any(secret in json.dumps(answer.json) for secret in ("example.org", "A_KEY"))


async def test_the_only_provider_answers_where_no_agent_is_registered(module_database_url: str) -> None:
    async with ModelServer() as model, serving(module_database_url, providers=model.settings["providers"]) as client:
        conversation = await client.conversation()
        stream = await client.stream(conversation, await client.say(conversation, "Who answers?"))
        call = await model.call()
        await call.send("The model.")
        await call.finish()
        assert text_of(await stream.rest()) == "The model."


async def test_echo_answers_beside_several_providers_without_a_default(module_database_url: str) -> None:
    async with serving(module_database_url, providers={"main": MAIN, "claude": CLAUDE}) as client:
        conversation = await client.conversation()
        stream = await client.stream(conversation, await client.say(conversation, "x"))
        assert text_of(await stream.rest()) == "Echo from agent: x"


OURS, THEIRS, NOBODYS = sorted(str(uuid4()) for _ in range(3))
RESTRICTED: dict[str, Any] = {
    "providers": {
        "all": FAST,
        "ours": {"kind": "echo", "pace_ms": 0, "companies": [OURS]},
        "theirs": {"kind": "openai", "base_url": "http://127.0.0.1:9/v1", "model": "m", "companies": [OURS, THEIRS]},
    },
}


def names_and_default(response: Response) -> tuple[list[str], str | None]:
    assert response.status == 200
    return [item["name"] for item in response.json["items"]], response.json["default"]


@pytest.mark.parametrize(
    ("default_provider", "defaults"),
    [(None, [None, None, "all"]), ("ours", ["ours", None, "all"]), ("theirs", ["theirs", "theirs", "all"])],
)
async def test_a_company_sees_only_the_providers_that_it_may_use(
    module_database_url: str, default_provider: str | None, defaults: list[str | None]
) -> None:
    async with serving(module_database_url, default_provider=default_provider, **RESTRICTED) as client:
        expected = [["all", "ours", "theirs"], ["all", "theirs"], ["all"]]
        for company, names, default in zip((OURS, THEIRS, NOBODYS), expected, defaults, strict=True):
            listed = await client.request("GET", f"/api/providers?companyId={company}")
            assert names_and_default(listed) == (names, default)
        # Whoever may see all companies begins with the default one, which is none of these.
        listed = await client.request("GET", "/api/providers")
        assert names_and_default(listed) == (["all", "ours", "theirs"], defaults[2])
        assert (await client.request("GET", "/api/providers?companyId=x")).wrong == ["companyId"]


async def test_an_agent_may_use_only_what_its_company_may(module_database_url: str) -> None:
    async with serving(module_database_url, **RESTRICTED) as client:
        agents = {company: f"/api/companies/{company}/agents" for company in (OURS, THEIRS, NOBODYS)}

        def llm(provider: str) -> dict[str, Any]:
            return {"name": "A", "adapterType": "llm", "adapterConfig": {"provider": provider}}

        unknown = await client.request("POST", agents[OURS], llm("nothing"))
        assert unknown.wrong == ["adapterConfig.provider"]
        refused = await client.request("POST", agents[THEIRS], llm("ours"))
        assert refused.json == unknown.json
        theirs = await client.ok("POST", agents[THEIRS], llm("theirs"))
        changed = await client.request("PATCH", f"/api/agents/{theirs['id']}", {"adapterConfig": {"provider": "ours"}})
        assert changed.json == unknown.json
        ours = await client.ok("POST", agents[OURS], llm("ours"))
        nobodys = await client.ok("POST", agents[NOBODYS], llm("all"))
        # Each answers in the batch, and the general way, which an idempotency key takes.
        for company, agent in ((OURS, ours), (NOBODYS, nobodys)):
            for headers in ({}, {"Idempotency-Key": "k"}):
                made = await client.ok("POST", f"/api/companies/{company}/conversations", {"agentId": agent["id"]})
                stream = await client.open(
                    stream_path(made["id"]), method="POST", body={"content": "x"}, headers=headers
                )
                assert text_of(await stream.rest()) == "Echo from agent: x"
    providers = RESTRICTED["providers"] | {"ours": RESTRICTED["providers"]["ours"] | {"companies": [THEIRS]}}
    async with serving(module_database_url, providers=providers) as client:
        made = await client.ok("POST", f"/api/companies/{OURS}/conversations", {"agentId": ours["id"]})
        for headers in ({}, {"Idempotency-Key": "k"}):
            posted = await client.request("POST", stream_path(made["id"]), {"content": "x"}, headers)
            assert posted.error == (503, "The provider of this agent is not configured")
        assert await client.messages(made["id"]) == []
        # Its other settings can still be changed.
        renamed = await client.ok("PATCH", f"/api/agents/{ours['id']}", {"name": "B"})
        assert renamed["adapterConfig"] == {"provider": "ours"}


async def test_what_answers_by_default_depends_on_the_company(module_database_url: str) -> None:
    async with ModelServer() as model:
        main = model.settings["providers"]["main"] | {"companies": [OURS]}
        async with serving(module_database_url, providers={"main": main}, default_provider="main") as client:
            for company, blank_is_refused in ((OURS, True), (THEIRS, False)):
                made = await client.ok("POST", f"/api/companies/{company}/conversations", {})
                blank = await client.connect()
                await blank.send("GET", stream_path(made["id"]))
                assert (await blank.head())[0] == (400 if blank_is_refused else 200)
                blank.close()
                made = await client.ok("POST", f"/api/companies/{company}/conversations", {})
                stream = await client.open(stream_path(made["id"]), method="POST", body={"content": "x"})
                if company == OURS:
                    call = await model.call()
                    await call.send("The model.")
                    await call.finish()
                assert text_of(await stream.rest()) == ("The model." if company == OURS else "Echo from agent: x")
            assert model.calls == 1


async def test_who_belongs_to_one_company_is_told_of_its_providers_alone(database_url: str) -> None:
    own, administrators = make_token(database_url, THEIRS, "reader"), make_token(database_url, None)
    async with serving(database_url, auth="authenticated", default_provider="ours", **RESTRICTED) as client:

        async def listed(token: Token, query: str = "") -> Response:
            return await client.request("GET", f"/api/providers{query}", headers=token.bearer)

        for query in ("", f"?companyId={THEIRS}"):
            assert names_and_default(await listed(own, query)) == (["all", "theirs"], None)
        for company in (OURS, NOBODYS):
            assert (await listed(own, f"?companyId={company}")).error == (403, "Not your company")
        # An administrator begins with the first company that has anything.
        assert names_and_default(await listed(administrators)) == (["all", "ours", "theirs"], None)
        manager = make_token(database_url, OURS, "manager")
        created = await client.request(
            "POST", f"/api/companies/{OURS}/conversations", {"title": "x"}, headers=manager.bearer
        )
        assert created.status == 201
        assert names_and_default(await listed(administrators)) == (["all", "ours", "theirs"], "ours")
