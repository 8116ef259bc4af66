"""Both wire formats against a third party's stand-in for models."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from chatserver.errors import ProviderError
from chatserver.providers.base import Finish, Prompt, ReasoningDelta, TextDelta, Turn, Usage
from chatserver.providers.factory import make_provider
from chatserver.settings_tables import ProviderSettings
from tests.kit.pulled_answer import PulledAnswer
from tests.needs import NODE_FOLDER

pytestmark = [pytest.mark.npm, pytest.mark.parametrize("kind", ["openai", "anthropic"])]

KEY = "the-key"
HELLO = "Hello 😀😀😀😀😀😀😀, grüß dich"
TWELVE = "one two three four five six seven eight nine ten eleven twelve"
COUNTS = {"prompt_tokens": 7, "completion_tokens": 5, "input_tokens": 7, "output_tokens": 5}


def fixture(match: str, response: dict[str, Any], **others: Any) -> dict[str, Any]:
    return {"match": {"userMessage": match}, "response": response, **others}


FIXTURES = [
    fixture("hello", {"content": HELLO, "usage": COUNTS}),
    fixture("think", {"content": "42", "reasoning": "six times seven"}),
    fixture("long", {"content": "and so", "finishReason": "length"}),
    fixture("cut", {"content": TWELVE}, truncateAfterChunks=6),
    fixture("limit", {"error": {"message": KEY, "type": "rate_limit_error"}, "status": 429, "retryAfter": 1}),
    fixture("patience", {"error": {"message": KEY, "type": "rate_limit_error"}, "status": 429, "retryAfter": 3600}),
    fixture("overloaded", {"error": {"message": KEY, "type": "overloaded_error"}, "status": 529}),
]


@dataclass
class Aimock:
    url: str

    def requests(self, question: str) -> list[dict[str, Any]]:
        """The bodies of the requests with this question, in order."""
        request = urllib.request.Request(f"{self.url}/__aimock/journal", headers={"Authorization": f"Bearer {KEY}"})
        with urllib.request.urlopen(request, timeout=10) as response:
            bodies: list[dict[str, Any]] = [entry["body"] for entry in json.load(response)]
        return [body for body in bodies if body["messages"][-1]["content"] == question]


@pytest.fixture(scope="module")
def aimock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aimock]:
    fixtures = tmp_path_factory.mktemp("aimock") / "fixtures.json"
    fixtures.write_text(json.dumps({"fixtures": FIXTURES}))
    program = NODE_FOLDER / "node_modules" / "@copilotkit" / "aimock" / "dist" / "cli.js"
    # Pieces of five UTF-16 units: some characters come in halves.
    command = ["node", program, "--port", "0", "--fixtures", fixtures, "--chunk-size", "5", "--latency", "5"]
    with subprocess.Popen(
        command, env=os.environ | {"AIMOCK_API_KEYS": KEY}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            listening = next(line for line in process.stdout if "listening on" in line)
            yield Aimock(listening.split()[-1])
        finally:
            process.kill()


def question(about: str) -> str:
    """A question that nobody else asks; the stand-in answers by the word it begins with."""
    return f"{about} {uuid.uuid4()}"


def ask(aimock: Aimock, kind: str, prompt: Prompt | str, key: str = KEY, **settings: object) -> PulledAnswer:
    base_url = f"{aimock.url}/v1" if kind == "openai" else aimock.url
    checked = ProviderSettings.model_validate(
        {"kind": kind, "base_url": base_url, "model": "m", "api_key_env": "KEY", "retries": 0} | settings
    )
    if isinstance(prompt, str):
        prompt = Prompt((Turn("user", prompt),))
    return PulledAnswer(make_provider("main", checked, {"KEY": key}), prompt)


async def failure_of(answer: PulledAnswer) -> tuple[str, str]:
    """The code of the failure, and the text that came before it."""
    text = ""
    try:
        async for delta in answer:
            assert isinstance(delta, TextDelta)
            text += delta.text
    except ProviderError as error:
        return error.code, text
    raise AssertionError(f"it did not fail: {text}")


async def test_answer_is_read_whole(aimock: Aimock, kind: str) -> None:
    *pieces, end = [delta async for delta in ask(aimock, kind, question("hello"))]
    assert end == Finish("stop", Usage(7, 5))
    texts = [piece.text for piece in pieces if isinstance(piece, TextDelta)]
    assert len(texts) == len(pieces) > 3
    units = "".join(texts).encode("utf-16", "surrogatepass")
    assert units.decode("utf-16") == HELLO


async def test_reasoning_is_told_from_text(aimock: Aimock, kind: str) -> None:
    deltas = [delta async for delta in ask(aimock, kind, question("think"))]
    thoughts = "".join(delta.text for delta in deltas if isinstance(delta, ReasoningDelta))
    texts = "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))
    assert (thoughts, texts) == ("six times seven", "42")


async def test_answer_stopped_by_length_says_so(aimock: Aimock, kind: str) -> None:
    *_, end = [delta async for delta in ask(aimock, kind, question("long"))]
    assert isinstance(end, Finish)
    assert end.stop_reason == "length"


async def test_cut_answer_is_interrupted(aimock: Aimock, kind: str) -> None:
    asked = question("cut")
    code, text = await failure_of(ask(aimock, kind, asked, retries=2))
    assert code == "interrupted"
    assert text
    assert TWELVE.startswith(text)
    assert len(aimock.requests(asked)) == 1


async def test_rate_limited_request_is_sent_again(aimock: Aimock, kind: str) -> None:
    asked = question("limit")
    begin = time.monotonic()
    assert await failure_of(ask(aimock, kind, asked, retries=1)) == ("rate_limited", "")
    assert time.monotonic() - begin >= 1  # as the stand-in asked for
    assert len(aimock.requests(asked)) == 2


async def test_long_rate_limit_fails(aimock: Aimock, kind: str) -> None:
    asked = question("patience")
    assert await failure_of(ask(aimock, kind, asked, retries=2)) == ("rate_limited", "")
    assert len(aimock.requests(asked)) == 1


@pytest.mark.parametrize(
    ("about", "key", "code"),
    [("overloaded", KEY, "unavailable"), ("unheard-of", KEY, "refused"), ("hello", "other", "unauthorized")],
)
async def test_refused_request_fails_with_its_code(
    aimock: Aimock, kind: str, about: str, key: str, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert await failure_of(ask(aimock, kind, question(about), key)) == (code, "")
    assert re.search(r"HTTP status \d+, \w+$", caplog.messages[-1])
    assert key not in caplog.text


async def test_history_is_sent_in_the_format(aimock: Aimock, kind: str) -> None:
    asked = question("hello")
    turns = (Turn("user", "a"), Turn("user", "b"), Turn("assistant", "c"), Turn("user", asked))
    prompt = Prompt(turns, system="be kind", model="other", temperature=0.5, max_tokens=77)
    async for _ in ask(aimock, kind, prompt):
        pass
    [body] = aimock.requests(asked)
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("other", 0.5, 77)
    roles = [message["role"] for message in body["messages"]]
    contents = [message["content"] for message in body["messages"]]
    if kind == "openai":
        assert roles == ["system", "user", "user", "assistant", "user"]
        assert contents == ["be kind", "a", "b", "c", asked]
    else:
        # The stand-in notes a request of either format in the shape of the first.
        assert roles[-3:] == ["user", "assistant", "user"]
        assert contents[-3:] == ["a\n\nb", "c", asked]
        assert "be kind" in json.dumps(body)
