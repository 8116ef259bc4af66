"""The providers over HTTP: what agents may name, and who answers where no agent is registered."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.kit.event_stream import text_of
from tests.kit.model_server import ModelServer
from tests.kit.served_app import serving

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
