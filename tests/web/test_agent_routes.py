"""Agents over HTTP, on a real PostgreSQL."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from chatserver.settings import Settings
from chatserver.settings_tables import ProviderSettings
from tests.web.conftest import Api

LLM = {"name": "Ada", "adapterType": "llm", "adapterConfig": {"provider": "main"}}


@pytest.fixture
def settings() -> Settings:
    main = ProviderSettings(kind="openai", base_url="http://127.0.0.1:9/v1", model="m")
    return Settings(providers={"main": main, "other": ProviderSettings(kind="echo")})


async def create(api: Api, **body: Any) -> Any:
    answer = await api.post(api.agents, {**LLM, **body})
    assert answer.status == 201, answer
    return answer.json


async def test_echo_agent_is_created(api: Api) -> None:
    answer = await api.post(api.agents, {"name": "Echo", "adapterType": "echo", "unknown": {}})
    assert answer.status == 201
    agent = answer.json
    assert UUID(agent["id"]).version == 7
    assert agent == {
        "id": agent["id"],
        "companyId": api.company,
        "name": "Echo",
        "adapterType": "echo",
        "adapterConfig": {},
        "status": "active",
        "createdAt": agent["createdAt"],
        "updatedAt": agent["createdAt"],
    }
    assert (await api.get(f"/api/agents/{agent['id']}")).json == agent


async def test_llm_agent_keeps_its_config(api: Api) -> None:
    config = {"provider": "main", "model": "m", "systemPrompt": "be\nbrief", "temperature": 0.5, "maxTokens": 7}
    assert (await create(api, adapterConfig=config))["adapterConfig"] == config
    sparse = {"provider": "other", "model": None, "temperature": 1, "unknown": 1}
    assert (await create(api, adapterConfig=sparse))["adapterConfig"] == {"provider": "other", "temperature": 1}


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({}, ["name", "adapterType"]),
        ({"name": "", "adapterType": "echo"}, ["name"]),
        ({"name": "x" * 201, "adapterType": "echo"}, ["name"]),
        ({"name": "a\x00", "adapterType": "echo"}, ["name"]),
        ({"name": "a", "adapterType": "http"}, ["adapterType"]),
        ({**LLM, "adapterConfig": {"provider": "nobody"}}, ["adapterConfig.provider"]),
        ({**LLM, "adapterConfig": {"model": "m"}}, ["adapterConfig.provider"]),
        ({**LLM, "adapterConfig": {}}, ["adapterConfig.provider"]),
        ({"name": "Ada", "adapterType": "llm"}, ["adapterConfig.provider"]),
        ({**LLM, "adapterConfig": {"provider": "main", "temperature": 3}}, ["adapterConfig.temperature"]),
        ({**LLM, "adapterConfig": {"provider": "main", "maxTokens": 10**400}}, ["adapterConfig.maxTokens"]),
        ({**LLM, "adapterConfig": {"provider": "main", "maxTokens": "1"}}, ["adapterConfig.maxTokens"]),
    ],
)
async def test_agent_beyond_its_bounds_is_refused(api: Api, body: Any, wrong: list[str]) -> None:
    assert (await api.post(api.agents, body)).wrong == wrong
    assert (await api.get(api.agents)).json["items"] == []


@pytest.mark.parametrize(
    ("name", "message"), [("", "must not be empty"), ("x" * 201, "must have at most 200 characters")]
)
async def test_message_about_a_name_speaks_of_characters(api: Api, name: str, message: str) -> None:
    answer = await api.post(api.agents, {"name": name, "adapterType": "echo"})
    assert answer.json["details"] == [{"path": "name", "message": message}]


async def test_llm_agent_without_config_is_refused(api: Api) -> None:
    answer = await api.post(api.agents, {"name": "a", "adapterType": "llm"})
    assert answer.status == 400
    assert answer.json["error"] == "Validation error"


async def test_patch_changes_only_the_named_fields(api: Api) -> None:
    agent = await create(api)
    path = f"/api/agents/{agent['id']}"
    renamed = (await api.patch(path, {"name": "Bea"})).json
    assert renamed == {**agent, "name": "Bea", "updatedAt": renamed["updatedAt"]}
    assert renamed["updatedAt"] > agent["updatedAt"]
    config = {"provider": "other", "model": "n"}
    changed = (await api.patch(path, {"adapterConfig": config})).json
    assert (changed["name"], changed["adapterConfig"]) == ("Bea", config)
    assert (await api.patch(path, {})).json["adapterConfig"] == config
    assert (await api.patch(path, {"adapterType": "llm"})).json["adapterConfig"] == config


async def test_patch_changes_the_adapter(api: Api) -> None:
    path = f"/api/agents/{(await create(api))['id']}"
    echo = (await api.patch(path, {"adapterType": "echo"})).json
    assert (echo["adapterType"], echo["adapterConfig"]) == ("echo", {})
    assert (await api.patch(path, {"adapterType": "llm"})).wrong == ["adapterConfig.provider"]
    assert (await api.get(path)).json == echo
    llm = await api.patch(path, {"adapterType": "llm", "adapterConfig": {"provider": "main"}})
    assert (llm.status, llm.json["adapterConfig"]) == (200, {"provider": "main"})


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"name": None}, ["name"]),
        ({"name": " "}, ["name"]),
        ({"adapterType": None}, ["adapterType"]),
        ({"adapterConfig": None}, ["adapterConfig.provider"]),
        ({"adapterConfig": {}}, ["adapterConfig.provider"]),
        ({"adapterConfig": {"provider": "nobody"}}, ["adapterConfig.provider"]),
        ({"adapterConfig": {"provider": "main", "temperature": "hot"}}, ["adapterConfig.temperature"]),
    ],
)
async def test_bad_patch_changes_nothing(api: Api, body: Any, wrong: list[str]) -> None:
    agent = await create(api)
    path = f"/api/agents/{agent['id']}"
    assert (await api.patch(path, body)).wrong == wrong
    assert (await api.get(path)).json == agent


async def test_deleted_agent_is_not_found(api: Api) -> None:
    agent = await create(api)
    path = f"/api/agents/{agent['id']}"
    deleted = await api.delete(path)
    assert (deleted.status, deleted.body) == (204, b"")
    for answer in (await api.get(path), await api.delete(path), await api.patch(path, {"name": "a"})):
        assert answer.error == (404, "Agent not found")
    assert (await api.get(api.agents)).json["items"] == []
    assert (await api.get(f"/api/agents/{uuid4()}")).error == (404, "Agent not found")


async def test_list_has_removed_agents_if_asked(api: Api) -> None:
    removed, kept = await create(api, name="Old"), await create(api, name="New")
    assert (await api.delete(f"/api/agents/{removed['id']}")).status == 204
    assert (await api.get(api.agents)).json["items"] == [kept]
    everything = (await api.get(f"{api.agents}?status=all")).json["items"]
    assert everything == [removed | {"status": "removed"}, kept]
    first = (await api.get(f"{api.agents}?status=all&limit=1")).json["nextCursor"]
    assert (await api.get(f"{api.agents}?status=all&cursor={first}")).json["items"] == [kept]
    for query in (f"cursor={first}", "status=removed", "status="):
        assert (await api.get(f"{api.agents}?{query}")).status == 400


async def test_list_pages_through_agents_oldest_first(api: Api) -> None:
    made = [(await create(api, name=str(number)))["id"] for number in range(5)]
    seen, cursor = [], ""
    while True:
        page = (await api.get(f"{api.agents}?limit=2{cursor}")).json
        seen += [agent["id"] for agent in page["items"]]
        if not page["hasMore"]:
            break
        cursor = f"&cursor={page['nextCursor']}"
    assert (seen, page["nextCursor"]) == (made, None)
    for query in ("limit=0", "limit=101", "limit=", "cursor=", "cursor=x"):
        assert (await api.get(f"{api.agents}?{query}")).wrong == [query.partition("=")[0]]
