"""Calls of a provider against the model server of the kit, and scripts for that."""

from __future__ import annotations

import pytest

from chatserver.errors import ProviderError
from chatserver.providers.base import Prompt, Provider, Turn
from chatserver.providers.factory import make_provider
from chatserver.settings_tables import ProviderSettings
from tests.kit.model_server import END, HEAD, Call, Script, token
from tests.kit.pulled_answer import PulledAnswer

SECRET = "sk-proj-0123456789abcdef"
PROMPT = Prompt((Turn("user", "hello"),))


def provider(base_url: str, **settings: object) -> Provider:
    checked = ProviderSettings.model_validate(
        {"kind": "openai", "base_url": base_url, "model": "m", "api_key_env": "KEY", "retries": 0} | settings
    )
    return make_provider("main", checked, {"KEY": SECRET})


def ask(base_url: str, prompt: Prompt = PROMPT, **settings: object) -> PulledAnswer:
    return PulledAnswer(provider(base_url, **settings), prompt)


async def failure_of(answer: PulledAnswer) -> ProviderError:
    """The error that reading the answer to its end raises."""
    with pytest.raises(ProviderError) as caught:
        async for _ in answer:
            pass
    assert type(caught.value) is ProviderError
    return caught.value


def sending(*pieces: bytes) -> Script:
    """A script that sends these and hangs up."""

    async def script(call: Call) -> None:
        for piece in pieces:
            await call.send(piece)

    return script


def in_turn(*answers: bytes) -> Script:
    """A script that gives one of these to each connection, and the last to all further ones."""
    left = list(answers)

    async def script(call: Call) -> None:
        await call.send(left.pop(0) if len(left) > 1 else left[0])

    return script


async def one_token_and_wait(call: Call) -> None:
    await call.send(HEAD + token("a"))
    await call.closed()


ANSWER = HEAD + token("a") + END
