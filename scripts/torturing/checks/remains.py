"""What is left when all has settled: nothing active, nothing stuck, and no text of what was dropped or erased."""

from __future__ import annotations

from scripts.torturing import markers
from scripts.torturing.checks.messages import is_erased
from scripts.torturing.history import Final, History
from scripts.torturing.options import Options

# Columns that hold texts of messages: a marker may be elsewhere only if it is in one of them, too.
HOMES = frozenset({"chat_messages.content", "chat_messages.edited_content", "chat_message_revisions.content"})


def check(history: History, final: Final, _: Options) -> None:
    for text in final.unsettled:
        history.violate("not settled", text)
    for conversation, run in final.active.items():
        history.violate("still active", run, conversation)
    for conversation, said in final.stuck.items():
        history.violate("stuck conversation", f"a new question has no answer: {said}", conversation)
    for table, count in final.rows.items():
        history.violate("rows left", f"{count} in {table}")
    if final.model_connections:
        history.violate("model's connections left", str(final.model_connections))
    _check_markers(history, final)


def _check_markers(history: History, final: Final) -> None:
    bearers: dict[str, str] = {}
    gone: dict[str, str] = {}
    for message in history.messages.values():
        for text in message.wordings:
            for marker in markers.found_in(text):
                bearers[marker] = message.conversation
                if message.role == "user" and is_erased(history, message):
                    gone[marker] = "erased message"
    for generation in history.generations:
        if generation.question in bearers:
            bearers[generation.marker] = bearers[generation.question]
        if generation.question in gone:
            gone[generation.marker] = "answer to an erased message"
    _add_unkept(history, gone)
    for marker, places in final.markers.items():
        where = ", ".join(sorted(places))
        if marker in gone:
            history.violate("text is still there", f"{marker} of an {gone[marker]}: {where}", bearers.get(marker))
        elif not places & HOMES:
            history.violate("text of no message", f"{marker} in {where}", bearers.get(marker))


def _add_unkept(history: History, gone: dict[str, str]) -> None:
    """Texts of which a reader was told that nothing was kept; the echo bears the marker of its question."""
    own = {generation.marker for generation in history.generations}
    for stream in history.streams:
        for terminal in stream.terminals:
            if terminal["type"] == "error" or (terminal["type"] == "stopped" and terminal["messageId"] is None):
                for marker in markers.found_in(stream.text) & own:
                    gone.setdefault(marker, "answer that was not kept")
    for message in history.messages.values():
        if message.role == "assistant" and is_erased(history, message):
            for marker in markers.found_in(message.content) & own:
                gone.setdefault(marker, "erased answer")
