"""The JSON of the API and its bounds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from chatserver import schema_types, schemas

ID = "01a2066c-ab45-7b03-90cb-32bab075e0f7"


def parse(model: type[BaseModel], data: object) -> Any:
    return model.model_validate(data, by_alias=True, by_name=False)


def paths(model: type[BaseModel], data: object) -> set[str]:
    """The paths of the invalid values."""
    try:
        parse(model, data)
    except ValidationError as error:
        return {".".join(map(str, each["loc"])) for each in error.errors()}
    return set()


# --- scalar types -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [ID, ID.upper(), "00000000-0000-0000-0000-000000000000"])
def test_an_id_is_taken_in_its_36_character_form(text: str) -> None:
    assert schema_types.parse_uuid(text) == UUID(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        ID.replace("-", ""),
        f"{{{ID}}}",
        f"urn:uuid:{ID}",
        f" {ID}",
        f"{ID}\n",
        ID[:-1],
        ID[:-1] + "g",
        ID[:-1] + "\uff11",
        "01a2066cab45-7b03-90cb-32ba-b075e0f7",
        "0x000000-0000-4000-8000-000000000001",
        "+1a2066c-ab45-7b03-90cb-32bab075e0f7",
        "01a2066c-ab45-7b03-90cb-32bab075e_f7",
    ],
)
def test_id_in_any_other_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="36-character"):
        schema_types.parse_uuid(text)
    assert paths(schemas.BranchConversation, {"messageId": text}) == {"messageId"}


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, 678_901, UTC), "2026-01-02T03:04:05.678Z"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05.000Z"),
        (datetime(2026, 1, 1, 23, 0, tzinfo=timezone(timedelta(hours=-2))), "2026-01-02T01:00:00.000Z"),
    ],
)
def test_times_have_milliseconds_and_a_z(moment: datetime, text: str) -> None:
    assert schema_types.format_time(moment) == text


def test_resources_are_written_in_camel_case() -> None:
    agent = uuid4()
    now = datetime(2026, 1, 2, tzinfo=UTC)
    conversation = schemas.Conversation(
        id=agent,
        company_id=agent,
        title="t",
        agent_id=None,
        pinned_at=None,
        archived_at=now,
        deleted_at=None,
        created_at=now,
        updated_at=now,
        parent_conversation_id=None,
        branch_from_message_id=None,
        active_run=schemas.ActiveRun(trigger_message_id=None, started_at=now),
    )
    assert conversation.model_dump(mode="json", by_alias=True) == {
        "id": str(agent),
        "companyId": str(agent),
        "title": "t",
        "agentId": None,
        "pinnedAt": None,
        "archivedAt": "2026-01-02T00:00:00.000Z",
        "deletedAt": None,
        "createdAt": "2026-01-02T00:00:00.000Z",
        "updatedAt": "2026-01-02T00:00:00.000Z",
        "parentConversationId": None,
        "branchFromMessageId": None,
        "activeRun": {"triggerMessageId": None, "startedAt": "2026-01-02T00:00:00.000Z"},
    }


# --- bodies -----------------------------------------------------------------------------------------------

LLM = {"name": "a", "adapterType": "llm", "adapterConfig": {"provider": "main"}}

GOOD: list[tuple[type[BaseModel], dict[str, Any]]] = [
    (schemas.CreateConversation, {}),
    (schemas.CreateConversation, {"title": "x" * 200, "agentId": ID}),
    (schemas.CreateConversation, {"title": None, "agentId": None, "unknown": [1]}),
    (schemas.UpdateConversation, {}),
    (schemas.CreateMessage, {"role": "system", "content": " "}),
    (schemas.CreateMessage, {"role": "user", "content": "\U0001f600", "agentId": None}),
    (schemas.EditMessage, {"content": "x"}),
    (schemas.StreamMessage, {"content": "x", "agentId": ID}),
    (schemas.StopAnswer, {}),
    (schemas.StopAnswer, {"keep": True}),
    (schemas.CreateAgent, {"name": "a", "adapterType": "echo"}),
    (schemas.CreateAgent, {"name": "a", "adapterType": "echo", "adapterConfig": None}),
    (schemas.CreateAgent, {"name": "a", "adapterType": "echo", "adapterConfig": {}}),
    (schemas.CreateAgent, LLM),
    (schemas.CreateAgent, {**LLM, "adapterConfig": {"provider": "p", "model": None, "temperature": 1}}),
    (schemas.CreateAgent, {**LLM, "adapterConfig": {"provider": "p", "temperature": 0.5, "maxTokens": 1}}),
    (schemas.UpdateAgent, {}),
]


@pytest.mark.parametrize(("model", "data"), GOOD)
def test_valid_body_is_accepted(model: type[BaseModel], data: dict[str, Any]) -> None:
    assert paths(model, data) == set()


BAD: list[tuple[type[BaseModel], dict[str, Any], set[str]]] = [
    (schemas.CreateConversation, {"title": "x" * 201}, {"title"}),
    (schemas.CreateConversation, {"title": 1}, {"title"}),
    (schemas.CreateConversation, {"title": ["x"]}, {"title"}),
    (schemas.CreateConversation, {"title": "a\x00b"}, {"title"}),
    (schemas.CreateConversation, {"title": "\ud800"}, {"title"}),
    (schemas.CreateConversation, {"agentId": "x", "title": False}, {"agentId", "title"}),
    (schemas.CreateConversation, {"agentId": 1}, {"agentId"}),
    (schemas.UpdateConversation, {"title": "x" * 201}, {"title"}),
    (schemas.CreateMessage, {}, {"role", "content"}),
    (schemas.CreateMessage, {"role": "User", "content": "x"}, {"role"}),
    (schemas.CreateMessage, {"role": None, "content": None}, {"role", "content"}),
    (schemas.CreateMessage, {"role": "user", "content": ""}, {"content"}),
    (schemas.CreateMessage, {"role": "user", "content": "\x00"}, {"content"}),
    (schemas.CreateMessage, {"role": "user", "content": "\udfff"}, {"content"}),
    (schemas.CreateMessage, {"role": "user", "content": {"text": "x"}}, {"content"}),
    (schemas.EditMessage, {"content": ""}, {"content"}),
    (schemas.StreamMessage, {"content": 10**400}, {"content"}),
    (schemas.StopAnswer, {"keep": 1}, {"keep"}),
    (schemas.StopAnswer, {"keep": "true"}, {"keep"}),
    (schemas.StopAnswer, {"keep": None}, {"keep"}),
    (schemas.BranchConversation, {}, {"messageId"}),
    (schemas.BranchConversation, {"message_id": ID}, {"messageId"}),
    (schemas.CreateAgent, {}, {"name", "adapterType"}),
    (schemas.CreateAgent, {"name": " ", "adapterType": "echo"}, {"name"}),
    (schemas.CreateAgent, {"name": "x" * 201, "adapterType": "echo"}, {"name"}),
    (schemas.CreateAgent, {"name": "a", "adapterType": "http"}, {"adapterType"}),
    (
        schemas.CreateAgent,
        {**LLM, "adapterConfig": {"provider": "p", "temperature": 2.1}},
        {"adapterConfig.temperature"},
    ),
    (schemas.UpdateAgent, {"name": None}, {"name"}),
    (schemas.UpdateAgent, {"adapterType": None}, {"adapterType"}),
]


@pytest.mark.parametrize(("model", "data", "wrong"), BAD)
def test_invalid_body_is_refused_with_its_path(model: type[BaseModel], data: dict[str, Any], wrong: set[str]) -> None:
    assert paths(model, data) == wrong


def test_a_blank_title_is_none() -> None:
    for blank in ("", "   ", "\n\t"):
        assert parse(schemas.CreateConversation, {"title": blank}).title is None
        assert parse(schemas.UpdateConversation, {"title": blank}).changes() == {"title": None}


def test_patch_changes_only_present_keys() -> None:
    changes = parse(schemas.UpdateConversation, {"agentId": ID, "x": 1}).changes()
    assert changes == {"agent_id": UUID(ID)}
    assert parse(schemas.UpdateConversation, {}).changes() == {}
    assert parse(schemas.UpdateConversation, {"title": None, "agentId": None}).changes() == {
        "title": None,
        "agent_id": None,
    }


def test_page_and_error_have_the_contract_form() -> None:
    page = schemas.Page[schemas.Company](items=[schemas.Company(id=UUID(ID))], has_more=True, next_cursor="c")
    assert page.model_dump(mode="json", by_alias=True) == {
        "items": [{"id": ID}],
        "hasMore": True,
        "nextCursor": "c",
    }
    error = TypeAdapter(schemas.Error).dump_python(schemas.Error(error="Not found"), exclude_none=True)
    assert error == {"error": "Not found"}
