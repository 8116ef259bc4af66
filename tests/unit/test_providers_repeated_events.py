"""Events that differ only in their text are read like all others, only quicker."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatserver.providers.anthropic import MessageReader
from chatserver.providers.base import TextDelta
from chatserver.providers.event_decoder import ServerEvent
from chatserver.providers.failures import AttemptError
from chatserver.providers.openai import ChatCompletionReader
from chatserver.providers.repeated_events import RepeatedEvent
from chatserver.providers.wire import ResponseReader, UnreadableError


def chunk(delta: Any, ascii_only: bool = False, name: str = "", **others: Any) -> ServerEvent:
    choice = {"index": 0, "delta": delta, "finish_reason": others.pop("finish_reason", None)}
    event = {"id": "x", "object": "chat.completion.chunk", "model": "m", "choices": [choice], **others}
    return ServerEvent(json.dumps(event, ensure_ascii=ascii_only), name)


def block(delta: Any, name: str = "content_block_delta") -> ServerEvent:
    return ServerEvent(json.dumps({"type": "content_block_delta", "index": 0, "delta": delta}), name)


texts = st.sampled_from(
    ["a", "b", "", " ", ": ", ", ", '"', "\\", '\\"', "content", "x", "m", "é", "😀", "\ud83d", "\0", "null", "{}"]
)
texts = texts | st.text(max_size=5)
chat_events = st.one_of(
    st.builds(lambda text, ascii_only: chunk({"content": text}, ascii_only), texts, st.booleans()),
    st.builds(lambda text: chunk({"role": "assistant", "content": text}), texts),
    st.builds(lambda text: chunk({"reasoning_content": text}), texts),
    st.builds(lambda text: chunk({"content": text}, usage={"prompt_tokens": 1, "completion_tokens": 2}), texts),
    st.builds(lambda text: chunk({"content": text}, finish_reason="stop"), texts),
    st.builds(lambda text: chunk({"content": text}, name="error"), texts),
    st.builds(lambda text: chunk({"content": text}, error=text), texts),
    st.builds(lambda text: chunk({"content": text}, choices=[{"message": {"content": text}}]), texts),
    st.builds(lambda text: chunk({"content": [text]}), texts),
    st.just(chunk({"content": None})),
    st.just(chunk({})),
    st.just(ServerEvent(chunk({"content": "a"}).data + "x")),
    st.just(ServerEvent(chunk({"content": "a"}).data.replace('"a"', '"a" "b"'))),
    st.just(ServerEvent(chunk({"content": "a"}).data.replace('"a"', '"a'))),
    st.just(ServerEvent(chunk({"content": "a"}).data.replace('"a"', "1"))),
    st.just(ServerEvent("[DONE]")),
)
block_events = st.one_of(
    st.builds(lambda text: block({"type": "text_delta", "text": text}), texts),
    st.builds(lambda text: block({"type": "text_delta", "text": text}, name=""), texts),
    st.builds(lambda text: block({"type": "text_delta", "text": text}, name="error"), texts),
    st.builds(lambda text: block({"type": "thinking_delta", "thinking": text}), texts),
    st.just(ServerEvent('{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":3}}')),
    st.just(ServerEvent('{"type":"message_stop"}', "message_stop")),
)


def read(reader: ResponseReader, events: list[ServerEvent]) -> list[Any]:
    """What becomes of each event, and the state of the reader after it."""
    became: list[Any] = []
    for event in events:
        try:
            deltas: Any = reader.read(event)
        except (AttemptError, UnreadableError) as error:
            return [*became, type(error), str(error)]
        became.append((deltas, reader.stop_reason, reader.usage, reader.over, reader.has_whole))
    return became


def both(kind: type[ResponseReader], events: list[ServerEvent]) -> None:
    plain = kind()
    plain._repeated._patience = 0
    assert read(kind(), events) == read(plain, events)


# What stands between two strings of JSON can be a text, too.
@example([chunk({"content": ": "}), chunk({"content": ", "}), chunk({"content": "a"})])
@given(st.lists(chat_events, max_size=12))
def test_chat_completions_are_read_as_if_nothing_were_learnt(events: list[ServerEvent]) -> None:
    both(ChatCompletionReader, events)


@given(st.lists(block_events, max_size=12))
def test_messages_are_read_as_if_nothing_were_learnt(events: list[ServerEvent]) -> None:
    both(MessageReader, events)


@pytest.mark.parametrize("ascii_only", [False, True])
def test_event_with_another_text_is_not_parsed_as_a_whole(ascii_only: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = ChatCompletionReader()
    assert reader.read(chunk({"content": "é"}, ascii_only)) == (TextDelta("é"),)
    monkeypatch.setattr(ChatCompletionReader, "_take", lambda *_: pytest.fail("it was parsed"))
    for text in ("a", 'say "\\"', "ü😀\n", "\ud83d"):
        assert reader.read(chunk({"content": text}, ascii_only)) == (TextDelta(text),)
    assert reader.read(chunk({"content": ""}, ascii_only)) == ()


def test_events_that_always_differ_are_not_learnt_for_ever() -> None:
    repeated, asked = RepeatedEvent(), 0

    def text_of(_: ServerEvent) -> str | None:
        nonlocal asked
        asked += 1
        return None

    for _ in range(100):
        repeated.learn(chunk({"content": "a"}), "a", text_of)
    assert 0 < asked < 20
