"""Messages: what was acknowledged is there once with its content, unless it was erased; nothing is there twice."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from scripts.torturing.history import NEVER, Final, History, Message
from scripts.torturing.options import Options


def check(history: History, final: Final, _: Options) -> None:
    listed = {item["id"]: item for items in final.messages.values() for item in items}
    for message in history.messages.values():
        _check_presence(history, message, listed.get(message.id))
        if message.id in listed:
            _check_edits(history, message, listed[message.id])
    for conversation in history.conversations.values():
        _check_conversation(history, final, conversation.id)
    _check_doubles(history, final)


def may_be_erased(history: History, message: Message) -> bool:
    """True if somebody tried to erase it, the message it answers, or its conversation."""
    trigger = history.messages.get(message.reply_to or "")
    conversation = history.conversations[message.conversation]
    return bool(message.erasures or conversation.erasures or (trigger is not None and trigger.erasures))


def is_erased(history: History, message: Message) -> bool:
    """True if such an attempt was acknowledged, after the message was."""
    trigger = history.messages.get(message.reply_to or "")
    erasures = message.erasures + history.conversations[message.conversation].erasures
    erasures += [] if trigger is None else trigger.erasures
    return any(erasure.acked < NEVER and not erasure.refused for erasure in erasures)


def _check_presence(history: History, message: Message, item: dict[str, Any] | None) -> None:
    if item is None:
        if not may_be_erased(history, message):
            history.violate(
                "lost message", f"{message.role} {message.id} {message.content[:30]!r} is gone", message.conversation
            )
        return
    if is_erased(history, message):
        history.violate("erased message is there", f"{message.role} {message.id}", message.conversation)
    if item["content"] != message.content:
        history.violate(
            "other content",
            f"{message.role} {message.id}: stored are {len(item['content'])} characters, …{item['content'][-40:]!r}, "
            f"but was {message.content[-40:]!r} ({len(message.content)})",
            message.conversation,
        )
    if item["status"] != message.status or item["role"] != message.role:
        history.violate("other status", f"{message.id} is {item['status']} {item['role']}", message.conversation)


def _check_edits(history: History, message: Message, item: dict[str, Any]) -> None:
    """The last wording is that of an edit that no acknowledged one followed.

    Restoring an answer brings back the wording that it answers: then it may be any.
    """
    acked = [edit for edit in message.edits if edit.acked < NEVER]
    restorations = [move for move in history.conversations[message.conversation].moves if move.value == "restore"]
    if any(not move.refused and move.acked >= edit.sent for move in restorations for edit in message.edits):
        if item["editedContent"] is not None and item["editedContent"] not in {edit.value for edit in message.edits}:
            history.violate("unknown wording", f"{message.id}: {item['editedContent'][:30]!r}", message.conversation)
        return
    possible = {
        edit.value
        for edit in message.edits
        if not edit.refused and not any(other.sent > edit.acked for other in acked if other is not edit)
    }
    if item["editedContent"] is None:
        if acked:
            history.violate("lost edit", f"{message.id} is not edited", message.conversation)
    elif item["editedContent"] not in possible:
        history.violate(
            "lost edit", f"{message.id} has the wording {item['editedContent'][:30]!r}", message.conversation
        )


def _check_conversation(history: History, final: Final, conversation_id: str) -> None:
    conversation = history.conversations[conversation_id]
    erased = any(erasure.acked < NEVER for erasure in conversation.erasures)
    if conversation_id in final.gone and not conversation.erasures:
        history.violate("lost conversation", f"{conversation_id} is 404", conversation_id)
    if conversation_id not in final.gone and erased:
        history.violate("erased conversation is there", conversation_id, conversation_id)


def _check_doubles(history: History, final: Final) -> None:
    """A message that was sent is stored once at most, also where it was sent again."""
    stored: dict[str, list[str]] = defaultdict(list)
    for items in final.messages.values():
        for item in items:
            if item["role"] == "user":
                stored[item["content"]].append(item["id"])
    for content, ids in stored.items():
        post = history.posts.get(content)
        conversation = None if post is None else post.conversation
        if post is None:
            history.violate("unknown message", f"nobody sent {content[:30]!r} ({ids})", conversation)
        elif len(ids) > 1:
            history.violate("double message", f"{content[:30]!r} is stored as {ids}", conversation)
    for post in history.posts.values():
        if len(post.ids) > 1:
            history.violate(
                "double message", f"{post.content[:30]!r} was acknowledged as {sorted(post.ids)}", post.conversation
            )
