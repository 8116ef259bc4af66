"""What messages say of answers beside their text, and of answers that failed: the same wherever a message stands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from chatserver.settings import Settings
from chatserver.web.openapi.document import describe
from chatserver.web.routes import ROUTES
from tests.kit.event_stream import text_of
from tests.kit.http_client import COMPANY
from tests.kit.model_answers import named
from tests.kit.model_server import HEAD, Call, ModelServer
from tests.kit.served_app import Served, serving

OF_ANSWERS = {"usage", "model", "stopReason", "durationMs", "reasoning", "reasoningMs"}
DURATIONS = {"durationMs", "reasoningMs"}


def known(message: Any) -> dict[str, Any]:
    """What a message says beside its text, without the durations."""
    assert message["author"] is None
    took = message["durationMs"]
    assert took is None if message["role"] == "user" else 0 <= took < 60_000
    thought = message["reasoningMs"]
    assert thought is None if message["reasoning"] is None else 0 <= thought <= took
    return {name: message[name] for name in sorted(OF_ANSWERS - DURATIONS)}


async def answered(client: Served, conversation: str, question: str) -> Any:
    """Read the answer to its end; its message."""
    events = await (await client.stream(conversation, question)).rest()
    assert events[-1]["type"] == "done"
    asked, answer = (await client.messages(conversation))[-2:]
    assert (asked["id"], asked["failure"]) == (question, None)
    assert known(asked) == dict.fromkeys(sorted(OF_ANSWERS - DURATIONS))
    assert (answer["id"], answer["content"], answer["failure"]) == (events[-1]["messageId"], text_of(events), None)
    assert answer["stopReason"] == events[-1]["stopReason"]
    return answer


# --- answers ----------------------------------------------------------------------------------------------


async def test_answer_of_chat_completions_has_model_thinking_and_stop_reason(database_url: str) -> None:
    async def script(call: Call) -> None:
        await call.send(HEAD)
        await call.think("Let me ")
        await call.think("see.\n")
        await call.send("Fo", "ur.")
        await call.think("Done\0")
        await call.finish("length")

    async with ModelServer(script) as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        answer = await answered(client, conversation, await client.say(conversation, "2 + 2?"))
        usage = {"inputTokens": 7, "outputTokens": 3}
        thought = {"reasoning": "Let me see.\nDone", "stopReason": "length", "usage": usage}
        assert known(answer) == {"model": "test", **thought}
        config = {"provider": "main", "model": "another"}
        agent = await client.ok(
            "POST", f"/api/companies/{COMPANY}/agents", {"name": "A", "adapterType": "llm", "adapterConfig": config}
        )
        question = await client.say(conversation, "2 + 2?", agentId=agent["id"])
        assert known(await answered(client, conversation, question)) == {"model": "another", **thought}


async def test_answer_of_anthropics_format_has_model_thinking_and_stop_reason(database_url: str) -> None:
    def delta(index: int, **given: str) -> bytes:
        return named("content_block_delta", {"type": "content_block_delta", "index": index, "delta": given})

    async def script(call: Call) -> None:
        started = {"type": "message_start", "message": {"usage": {"input_tokens": 20, "output_tokens": 1}}}
        ended = {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}, "usage": {"output_tokens": 12}}
        await call.send(
            HEAD,
            named("message_start", started),
            delta(0, type="thinking_delta", thinking="Let me see."),
            delta(1, type="text_delta", text="Four."),
            named("message_delta", ended),
            named("message_stop", {"type": "message_stop"}),
        )

    async with ModelServer(script) as model:
        provider = {"kind": "anthropic", "base_url": model.base_url, "model": "claude", "retries": 0}
        async with serving(database_url, providers={"main": provider}, default_provider="main") as client:
            conversation = await client.conversation()
            answer = await answered(client, conversation, await client.say(conversation, "2 + 2?"))
            assert known(answer) == {
                "model": "claude",
                "reasoning": "Let me see.",
                "stopReason": "length",
                "usage": {"inputTokens": 20, "outputTokens": 12},
            }


async def test_answer_of_an_echo_has_only_the_name_that_its_provider_has(database_url: str) -> None:
    echo: dict[str, Any] = {"reasoning": None, "stopReason": "stop", "usage": None}
    async with serving(database_url, providers={"named": {"kind": "echo", "model": "parrot"}}) as client:
        conversation = await client.conversation()
        for adapter, model in (
            ({"adapterType": "echo"}, None),
            ({"adapterType": "llm", "adapterConfig": {"provider": "named"}}, "parrot"),
        ):
            agent = await client.ok("POST", f"/api/companies/{COMPANY}/agents", {"name": "A", **adapter})
            question = await client.say(conversation, "x", agentId=agent["id"])
            assert known(await answered(client, conversation, question)) == {"model": model, **echo}


async def test_kept_part_has_the_thinking_that_was_shown(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        question = await client.say(conversation, "x")
        stream = await client.stream(conversation, question)
        call = await model.call()
        await call.think("hm")
        await call.send("part")
        assert [await stream.event(), await stream.event()][-1] == {"type": "token", "content": "part"}
        assert await client.ok("POST", f"/api/conversations/{conversation}/stop", {"keep": True}) == {"stopped": True}
        await stream.rest()
        asked, kept = await client.messages(conversation)
        assert (kept["status"], kept["content"], asked["failure"]) == ("stopped", "part", None)
        assert known(kept) == {"model": "test", "reasoning": "hm", "stopReason": "stopped", "usage": None}


async def test_fields_are_copied_by_a_branch_and_exported_but_thinking_is_not_searched(database_url: str) -> None:
    async def script(call: Call) -> None:
        await call.send(HEAD)
        await call.think("xylophone")
        await call.send("Four.")
        await call.finish()

    async with ModelServer(script) as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        answer = await answered(client, conversation, await client.say(conversation, "2 + 2?"))
        path = f"/api/conversations/{conversation}"
        branched = await client.ok("POST", f"{path}/branch", {"messageId": answer["id"]})
        copy = (await client.messages(branched["id"]))[-1]
        assert {name: copy[name] for name in OF_ANSWERS} == {name: answer[name] for name in OF_ANSWERS}
        exported = await client.ok("GET", f"{path}/export?format=json")
        assert exported["messages"][-1] == {**answer, "agentName": None}
        markdown = (await client.request("GET", f"{path}/export")).body.decode()
        assert ", test*\n\nFour.\n" in markdown
        assert "xylophone" not in markdown
        assert (await client.ok("GET", f"/api/companies/{COMPANY}/search?q=xylophone"))["items"] == []


# --- failures ---------------------------------------------------------------------------------------------


async def fail(client: Served, model: ModelServer, conversation: str, question: str, status: int) -> dict[str, Any]:
    """Have the answer fail; what the message is to say of it, from the event."""
    stream = await client.stream(conversation, question)
    await (await model.raw_call()).refuse(status)
    error = (await stream.rest())[-1]
    assert error.pop("type") == "error"
    return dict(error)


async def test_failure_stays_after_a_restart_until_the_question_is_asked_again(database_url: str) -> None:
    async with ModelServer() as model:
        async with serving(database_url, **model.settings) as client:
            conversation = await client.conversation()
            question = await client.say(conversation, "x")
            first = await fail(client, model, conversation, question, 401)
            assert (first["code"], first["retryable"]) == ("unauthorized", False)
            (asked,) = await client.messages(conversation)
            assert asked["failure"] == first
            second = await fail(client, model, conversation, question, 500)
            assert (second["code"], second["retryable"]) == ("unavailable", True)
        async with serving(database_url, **model.settings) as client:
            (asked,) = await client.messages(conversation)
            assert asked["failure"] == second
            stream = await client.stream(conversation, question)
            call = await model.call()
            (asked,) = await client.messages(conversation)
            assert asked["failure"] is None, "it is being answered again"
            await call.send("Four.")
            await call.finish()
            await stream.rest()
            asked, _ = await client.messages(conversation)
            assert asked["failure"] is None
            await client.ok("POST", f"/api/conversations/{conversation}/messages/{question}/rewind")
            asked, superseded = await client.messages(conversation, "?superseded=include")
            assert (asked["failure"], superseded["supersededAt"] is None) == (None, False)


async def test_stopped_and_dropped_answers_are_no_failures(database_url: str) -> None:
    async with ModelServer() as model, serving(database_url, resume_grace_seconds=0, **model.settings) as client:
        conversation = await client.conversation()
        question = await client.say(conversation, "x")
        await fail(client, model, conversation, question, 500)
        stream = await client.stream(conversation, question)
        call = await model.call()
        stream.leave()
        await call.closed()
        stream = await client.stream(conversation, question)
        await model.call()
        (asked,) = await client.messages(conversation)
        assert asked["failure"] is None
        await client.ok("POST", f"/api/conversations/{conversation}/stop")
        await stream.rest()
        (asked,) = await client.messages(conversation)
        assert asked["failure"] is None


async def test_failure_stands_wherever_the_api_has_the_message(database_url: str) -> None:
    """A new operation whose response has messages must be added here."""
    async with ModelServer() as model, serving(database_url, **model.settings) as client:
        conversation = await client.conversation()
        path, company = f"/api/conversations/{conversation}", f"/api/companies/{COMPANY}"
        message = {"role": "user", "content": "pangolin"}
        sent = {"Idempotency-Key": "k"}
        question = (await client.request("POST", f"{path}/messages", message, sent)).json
        assert question["failure"] is None
        failure = await fail(client, model, conversation, question["id"], 500)
        await client.ok("PUT", f"{path}/messages/{question['id']}/bookmark")
        places: dict[str, Any] = {
            "listMessages": (await client.messages(conversation))[0],
            "addMessage": (await client.request("POST", f"{path}/messages", message, sent)).json,
            "listBookmarks": (await client.ok("GET", f"{company}/bookmarks"))["items"][0]["message"],
            "search": (await client.ok("GET", f"{company}/search?q=pangolin"))["items"][0]["message"],
            "exportConversation": (await client.ok("GET", f"{path}/export?format=json"))["messages"][0],
            "editMessage": await client.ok("PUT", f"{path}/messages/{question['id']}", {"content": "pangolin!"}),
        }
        assert set(places) == set(operations_with_messages())
        assert {name: place["failure"] for name, place in places.items()} == dict.fromkeys(places, failure)
        assert {place["id"] for place in places.values()} == {question["id"]}
        branched = await client.ok("POST", f"{path}/branch", {"messageId": question["id"]})
        (copy,) = await client.messages(branched["id"])
        assert copy["failure"] == failure


def operations_with_messages() -> Iterator[str]:
    document = describe(ROUTES, Settings(), "0")

    def reaches(schema: Any, seen: frozenset[str] = frozenset()) -> bool:
        if isinstance(schema, dict):
            name = str(schema.get("$ref", "")).rpartition("/")[2]
            if name and name not in seen:
                return name == "Failure" or reaches(document["components"]["schemas"].get(name), seen | {name})
            return any(reaches(each, seen) for each in schema.values())
        return isinstance(schema, list) and any(reaches(each, seen) for each in schema)

    for path in document["paths"].values():
        for operation in path.values():
            if isinstance(operation, dict) and reaches(operation.get("responses")):
                yield operation["operationId"]


def test_document_has_an_example_of_a_failure() -> None:
    assert '"failure": {"code": "unavailable"' in json.dumps(describe(ROUTES, Settings(), "0"))
