"""Arranging a history for models that are particular about it."""

from __future__ import annotations

from collections.abc import Sequence

from chatserver.providers.base import Prompt, Turn

# What opens a conversation that the assistant began: models that want roles in turn want the first word from the user.
OPENING = "(The conversation begins.)"


def lift_system(prompt: Prompt) -> tuple[str | None, list[Turn]]:
    """All system text of `prompt` as one, with empty lines between (None: there is none), and the other turns."""
    texts = [prompt.system] if prompt.system else []
    texts += [turn.content for turn in prompt.turns if turn.role == "system"]
    return "\n\n".join(texts) or None, [turn for turn in prompt.turns if turn.role != "system"]


def alternate(turns: Sequence[Turn]) -> list[Turn]:
    """`turns`, which hold no system message, with user and assistant strictly in turn and the user first.

    Neighbours of one role become one turn, with an empty line between; a conversation that the assistant began gets
    an opening turn of the user's. All content is kept, in order, except turns of nothing but white space, which such
    models refuse; the last turn, the one to answer, stays whatever it holds.
    """
    spoken = [turn for turn in turns[:-1] if turn.content.strip()]
    spoken += turns[-1:]
    if spoken and spoken[0].role == "assistant":
        spoken.insert(0, Turn("user", OPENING))
    arranged: list[Turn] = []
    for turn in spoken:
        if arranged and arranged[-1].role == turn.role:
            arranged[-1] = Turn(turn.role, f"{arranged[-1].content}\n\n{turn.content}")
        else:
            arranged.append(turn)
    return arranged
