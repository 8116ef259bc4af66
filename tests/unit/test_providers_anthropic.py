"""The messages format: requests, and the deltas of events."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserver.providers.anthropic import MessageReader, Messages
from chatserver.providers.base import Delta, Prompt, ReasoningDelta, TextDelta, Turn, Usage
from chatserver.providers.event_decoder import ServerEvent
from chatserver.providers.failures import AttemptError
from chatserver.settings_tables import ProviderSettings

URL = "http://model.example"
HISTORY = (Turn("user", "a"), Turn("system", "b"), Turn("user", "c"), Turn("assistant", "d"), Turn("user", "e"))


def body(prompt: Prompt, **settings: Any) -> dict[str, Any]:
    return Messages(URL, ProviderSettings(kind="anthropic", base_url=URL, model="m", **settings), None).body(prompt)


def piece(**delta: str) -> dict[str, object]:
    return {"type": "content_block_delta", "index": 0, "delta": delta}


def read(reader: MessageReader, *events: object) -> list[Delta]:
    return [delta for event in events for delta in reader.read(ServerEvent(json.dumps(event)))]


@pytest.mark.parametrize("base_url", ["http://model.example", "http://model.example/v1"])
def test_request_has_url_and_headers(base_url: str) -> None:
    settings = ProviderSettings(kind="anthropic", base_url=base_url, model="m")
    assert Messages(base_url, settings, None).url == "http://model.example/v1/messages"
    assert Messages(base_url, settings, None).headers == {"anthropic-version": "2023-06-01"}
    assert Messages(base_url, settings, "k").headers["x-api-key"] == "k"


def test_request_has_a_body_of_alternating_roles() -> None:
    assert body(Prompt(HISTORY, system="s", temperature=0.5)) == {
        "model": "m",
        "system": "s\n\nb",
        "messages": [
            {"role": "user", "content": "a\n\nc"},
            {"role": "assistant", "content": "d"},
            {"role": "user", "content": "e"},
        ],
        "temperature": 0.5,
        "max_tokens": 4096,
        "stream": True,
    }


def test_request_has_all_turns_without_alternating_roles() -> None:
    made = body(Prompt(HISTORY), alternate_roles=False)
    assert [message["content"] for message in made["messages"]] == ["a", "c", "d", "e"]
    assert made["system"] == "b"


def test_agent_wins_over_the_settings() -> None:
    assert body(Prompt(HISTORY), max_tokens=9)["max_tokens"] == 9
    made = body(Prompt(HISTORY, model="other", max_tokens=7), max_tokens=9)
    assert (made["model"], made["max_tokens"]) == ("other", 7)


def test_events_become_deltas() -> None:
    reader = MessageReader()
    deltas = read(
        reader,
        {"type": "message_start", "message": {"usage": {"input_tokens": 20, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
        {"type": "ping"},
        piece(type="thinking_delta", thinking="hm"),
        piece(type="signature_delta", signature="x"),
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        piece(type="text_delta", text="Hel"),
        piece(type="text_delta", text="lo"),
        {"type": "something_new", "x": 1},
    )
    assert deltas == [ReasoningDelta("hm"), TextDelta("Hel"), TextDelta("lo")]
    assert (reader.stop_reason, reader.over) == (None, False)
    read(reader, {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 12}})
    assert (reader.stop_reason, reader.over, reader.usage) == ("stop", False, Usage(20, 12))
    read(reader, {"type": "message_stop"})
    assert reader.over


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("pause_turn", "pause_turn"),
    ],
)
def test_stop_reasons_are_normalised(theirs: str, ours: str) -> None:
    reader = MessageReader()
    read(reader, {"type": "message_delta", "delta": {"stop_reason": theirs}})
    assert reader.stop_reason == ours


def test_cached_input_counts_as_input() -> None:
    reader = MessageReader()
    counts = {"input_tokens": 1, "cache_read_input_tokens": 20, "cache_creation_input_tokens": None, "output_tokens": 0}
    read(reader, {"type": "message_start", "message": {"usage": counts}})
    read(reader, {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 3, "input_tokens": 2}})
    assert reader.usage == Usage(22, 3)


def test_whole_body_becomes_deltas() -> None:
    reader = MessageReader()
    whole = {
        "type": "message",
        "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Hello"}, {"type": "tool_use"}],
        "stop_reason": "max_tokens",
        "usage": {"input_tokens": 3, "output_tokens": 2},
    }
    assert read(reader, whole) == [ReasoningDelta("hm"), TextDelta("Hello")]
    assert (reader.stop_reason, reader.usage) == ("length", Usage(3, 2))


def test_error_in_the_stream_raises_attempt_error() -> None:
    with pytest.raises(AttemptError) as caught:
        read(MessageReader(), {"type": "error", "error": {"type": "overloaded_error", "message": "sk-secret"}})
    assert caught.value.code == "unavailable"
    assert caught.value.again
    assert "sk-secret" not in caught.value.message + caught.value.reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
KINDS = ["content_block_delta", "content_block_start", "message_start", "message_delta", "message_stop", "error"]
EVENT = JSON | st.fixed_dictionaries(
    {"type": st.sampled_from([*KINDS, "message", "ping"])},
    optional={
        "delta": JSON
        | st.fixed_dictionaries({"type": st.sampled_from(["text_delta", "thinking_delta"])}, optional={"text": JSON})
        | st.fixed_dictionaries({"stop_reason": JSON}),
        "message": JSON | st.fixed_dictionaries({"usage": JSON}),
        "content": JSON,
        "usage": JSON | st.dictionaries(st.sampled_from(["input_tokens", "output_tokens"]), JSON),
        "stop_reason": JSON,
        "error": JSON,
    },
)


@given(st.lists(EVENT))
def test_any_json_is_read_or_is_a_reported_error(events: list[object]) -> None:
    reader = MessageReader()
    try:
        deltas = read(reader, *events)
    except AttemptError:
        return
    assert all(isinstance(delta, TextDelta | ReasoningDelta) and isinstance(delta.text, str) for delta in deltas)
    assert reader.stop_reason is None or isinstance(reader.stop_reason, str)
