"""Arranging turns for models that refuse some orders of roles."""

from __future__ import annotations

from collections.abc import Sequence

from chatserver.providers.base import Prompt, Turn

# The first turn of a conversation that the assistant began: models that need alternating roles need the user first.
OPENING = "(The conversation begins.)"


def lift_system(prompt: Prompt) -> tuple[str | None, list[Turn]]:
    """All system text of `prompt`, joined with empty lines (None: there is none), and the other turns."""
    texts = [prompt.system] if prompt.system else []
    texts += [turn.content for turn in prompt.turns if turn.role == "system"]
    return "\n\n".join(texts) or None, [turn for turn in prompt.turns if turn.role != "system"]


def alternate(turns: Sequence[Turn]) -> list[Turn]:
    """The turns, with user and assistant in strict alternation, the user first. `turns` holds no system messages.

    Neighbours of one role are joined with an empty line. If the assistant began, an opening turn of the user is put
    before. All content is kept in order, except turns of white space, which such models refuse; the last turn, the one
    to answer, always stays.
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
