"""The prompt of an answer: the question, which was read when the answer was claimed, and what stands before it."""

from __future__ import annotations

from dataclasses import replace

from chatserver.live.outcomes import Claimed, RunKey
from chatserver.live.store import AnswerStore, persist
from chatserver.providers.base import Prompt


async def whole_prompt(store: AnswerStore, key: RunKey, claimed: Claimed) -> Prompt:
    """The prompt with the history that has room in it. Raises DatabaseUnavailableError.

    A history may be long. So it is read after the claim, when the lock of the conversation's row is free again; a
    rewind is refused until the answer has ended.
    """
    prompt, max_chars = claimed.prompt, claimed.history_chars
    if not max_chars:
        return prompt
    history = await persist(lambda: store.history(key, max_chars))
    return replace(prompt, turns=(*history, *prompt.turns))
