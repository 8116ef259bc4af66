"""The first minutes with a server: what its terminal shows, and models that need no file."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import re
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.kit.event_stream import text_of
from tests.kit.model_server import END, HEAD, Call, ModelServer, event, refusal
from tests.kit.server_process import ServerProcess, launch, started
from tests.kit.waiting import PATIENCE_SECONDS

SECRET = "sk-proj-0123456789abcdef"
ANTHROPIC_ANSWER = [
    {"type": "message_start", "message": {"usage": {"input_tokens": 3, "output_tokens": 0}}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Here I am."}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}},
    {"type": "message_stop"},
]


async def model(call: Call) -> None:
    """Lists its models as Ollama does, and answers in the format of the request's path."""
    path = call.head.split()[1]
    if path == b"/v1/models":
        names = ["nomic-embed-text:latest", "newest:1b", "older:7b"]
        body = json.dumps({"object": "list", "data": [{"id": name, "object": "model"} for name in names]})
        await call.send(refusal(200, "Connection: close", body=body.encode()))
    elif path == b"/v1/messages":
        await call.send(HEAD, *map(event, ANTHROPIC_ANSWER))
    else:
        assert path == b"/v1/chat/completions"
        await call.send(HEAD, "Here I am.", END)


async def answer(server: ServerProcess) -> str:
    """What a conversation without an agent is answered."""
    conversation = await server.conversation()
    stream = await server.stream(conversation, await server.say(conversation, "Who is there?"))
    return text_of(await stream.rest())


# --- --provider -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options", "variables", "expected"),
    [
        ("openai", ["--model", "m-1"], {"OPENAI_API_KEY": SECRET, "OPENAI_BASE_URL": "{url}/v1"}, "m-1"),
        ("openai", [], {"OPENAI_API_KEY": SECRET, "OPENAI_BASE_URL": "{url}/v1"}, "newest:1b"),
        ("anthropic", [], {"ANTHROPIC_API_KEY": SECRET, "ANTHROPIC_BASE_URL": "{url}"}, "claude-sonnet-4-6"),
        ("ollama", [], {"OLLAMA_HOST": "{host}"}, "newest:1b"),
        ("ollama", ["--model", "m-1"], {"OLLAMA_HOST": "{url}"}, "m-1"),
    ],
)
async def test_provider_of_the_environment_answers_without_a_file(
    database_url: str, tmp_path: Path, kind: str, options: list[str], variables: Mapping[str, str], expected: str
) -> None:
    async with ModelServer(model) as stand_in:
        url = stand_in.base_url.removesuffix("/v1")
        environment = {
            name: value.format(url=url, host=url.removeprefix("http://")) for name, value in variables.items()
        }
        arguments = ("--provider", kind, *options, "--database-url", database_url)
        async with started(*arguments, log=tmp_path / "log", **environment) as server:
            wire_kind = "anthropic" if kind == "anthropic" else "openai"
            listed = await server.request("GET", "/api/providers")
            assert listed.json == {
                "items": [{"name": kind, "kind": wire_kind, "model": expected}],
                "default": kind,
            }
            assert await answer(server) == "Here I am."
            command_line = Path(f"/proc/{server.pid}/cmdline").read_bytes()
        call = stand_in.connections[-1]
        assert call.request["model"] == expected
        assert (SECRET.encode() in call.head) == (kind != "ollama")
        assert len(stand_in.connections) == (1 if options or kind == "anthropic" else 2)
    assert SECRET.encode() not in command_line + listed.body
    assert SECRET not in (tmp_path / "log").read_text()


async def test_provider_of_the_environment_answers_beside_those_of_a_file(database_url: str, tmp_path: Path) -> None:
    config = tmp_path / "chatserver.toml"
    config.write_text('default_provider = "slow"\n[providers.slow]\nkind = "echo"\n')
    async with ModelServer(model) as stand_in:
        arguments = ("--config", str(config), "--provider", "ollama", "--model", "m", "--database-url", database_url)
        host = stand_in.base_url.removesuffix("/v1")
        async with started(*arguments, log=tmp_path / "log", OLLAMA_HOST=host) as server:
            listed = (await server.request("GET", "/api/providers")).json
            assert ([item["name"] for item in listed["items"]], listed["default"]) == (["slow", "ollama"], "ollama")
            assert await answer(server) == "Here I am."


async def refused_start(*arguments: str, **environment: str) -> str:
    process = await launch(*arguments, **environment)
    async with asyncio.timeout(PATIENCE_SECONDS):
        output, errors = await process.communicate()
    assert (process.returncode, output) == (2, b"")
    line = errors.decode()
    assert re.fullmatch(r"chatserver: [^\n]+\n", line), line
    assert SECRET not in line
    return line.removeprefix("chatserver: ").rstrip("\n")


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (refusal(200, body=b'{"object":"list","data":null}'), "lists no model; ollama pull llama3.2 gets one"),
        (refusal(200, body=b'{"data":[{"id":"nomic-embed-text"},{"name":"x"}]}'), "lists no model; "),
        (refusal(200, body=b"<html>"), "does not list its models; "),
        (refusal(200, body=b'{"data":"m"}'), "does not list its models; "),
        (refusal(200, body=b"[" * 100_000), "does not list its models; "),
        (refusal(401), "answers 401 when asked for its models; "),
        (refusal(302, "Location: http://example.org/"), "answers 302 when asked for its models; "),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "cannot be reached; start it with ollama serve"),
    ],
    ids=["no models", "no model that chats", "no JSON", "another JSON", "nesting", "refused", "redirect", "no HTTP"],
)
async def test_ollama_without_a_usable_list_is_one_line(response: bytes, expected: str, tmp_path: Path) -> None:
    async def script(call: Call) -> None:
        await call.send(response)

    async with ModelServer(script) as stand_in:
        host = stand_in.base_url.removesuffix("/v1")
        line = await refused_start("--provider", "ollama", "--data-dir", str(tmp_path / "data"), OLLAMA_HOST=host)
    assert line.startswith(f"--provider ollama: Ollama at {host} {expected}")
    assert "--model" in line
    assert not (tmp_path / "data").exists()


async def test_ollama_that_does_not_run_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"127.0.0.1:{listener.getsockname()[1]}"
    line = await refused_start("--provider", "ollama", OLLAMA_HOST=host)
    assert line.startswith(f"--provider ollama: Ollama at http://{host} cannot be reached; start it with ollama serve")


async def test_missing_key_is_one_line() -> None:
    assert await refused_start("--provider", "anthropic", ANTHROPIC_API_KEY="") == (
        "--provider anthropic: ANTHROPIC_API_KEY is not set; put your API key into it"
    )


# --- the local model --------------------------------------------------------------------------------------


@pytest.mark.local_model
async def test_local_model_answers_by_default(database_url: str, tmp_path: Path) -> None:
    config = tmp_path / "chatserver.toml"
    config.write_text('[providers.slow]\nkind = "echo"\n')
    options = ("--local-model", "--config", str(config), "--database-url", database_url)
    async with started(*options, log=tmp_path / "log") as server:
        listed = (await server.request("GET", "/api/providers")).json
        assert listed["items"][-1] == {"name": "local", "kind": "openai", "model": "smollm2"}
        assert listed["default"] == "local"
        conversation = await server.conversation()
        stream = await server.stream(conversation, await server.say(conversation, "Say hello."))
        while (first := await stream.event())["type"] != "token":
            pass
        assert not "Echo from agent: Say hello.".startswith(first["content"])
        stream.leave()


@pytest.mark.local_model
async def test_named_provider_answers_beside_the_local_model(database_url: str, tmp_path: Path) -> None:
    config = tmp_path / "chatserver.toml"
    config.write_text('default_provider = "slow"\n[providers.slow]\nkind = "echo"\n')
    options = ("--local-model", "--config", str(config), "--database-url", database_url)
    async with started(*options, log=tmp_path / "log") as server:
        assert (await server.request("GET", "/api/providers")).json["default"] == "slow"
        assert await answer(server) == "Echo from agent: Who is there?"


# --- what a terminal shows --------------------------------------------------------------------------------


async def terminal_of(*arguments: str, **environment: str) -> tuple[str, list[str]]:
    """The address of a server, and what it wrote to standard error, a terminal, from its start to its end."""
    ours, theirs = pty.openpty()
    try:
        async with started(*arguments, log=theirs, **environment) as server:
            os.close(theirs)
            server.terminate()
            assert await server.ended() == (0, "")
            return server.url, list(lines_of(ours))
    finally:
        os.close(ours)


def lines_of(terminal: int) -> Iterator[str]:
    """All that was written to a terminal that nobody writes to any more."""
    text = b""
    with contextlib.suppress(OSError):  # Linux ends it so
        while more := os.read(terminal, 65_536):
            text += more
    yield from text.decode().splitlines()


async def test_terminal_shows_where_to_look_next(database_url: str) -> None:
    url, lines = await terminal_of("--database-url", database_url, ANTHROPIC_API_KEY=SECRET, OPENAI_API_KEY="")
    at = lines.index(f"  Page     {url}")
    assert lines[at : at + 4] == [
        f"  Page     {url}",
        "  Answers  Echo: no model is connected yet",
        "  Model    ANTHROPIC_API_KEY is set: start again with --provider anthropic",
        f"  Help     {url}/help",
    ]
    assert SECRET not in "".join(lines)


async def test_terminal_shows_which_model_answers(database_url: str) -> None:
    arguments = ("--provider", "openai", "--database-url", database_url)
    url, lines = await terminal_of(*arguments, OPENAI_API_KEY=SECRET, OPENAI_BASE_URL="")
    at = lines.index(f"  Page     {url}")
    assert lines[at + 1] == "  Answers  gpt-4.1-mini (openai)"
    assert not any(line.startswith(("  Model", "  Help")) for line in lines)
    assert SECRET not in "".join(lines)


async def test_log_that_is_no_terminal_has_only_the_log(database_url: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with started("--database-url", database_url, log=log) as server:
        server.terminate()
        assert await server.ended() == (0, "")
    assert all(line.startswith("{") for line in log.read_text().splitlines())
