"""The chat-completions format: requests, and the deltas of events."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserver.providers.base import Delta, Prompt, ReasoningDelta, TextDelta, Turn, Usage
from chatserver.providers.event_decoder import ServerEvent
from chatserver.providers.failures import AttemptError
from chatserver.providers.openai import ChatCompletionReader, ChatCompletions
from chatserver.settings_tables import ProviderSettings

URL = "http://model.example/v1"
HISTORY = (Turn("user", "a"), Turn("system", "b"), Turn("user", "c"), Turn("assistant", "d"), Turn("user", "e"))


def body(prompt: Prompt, **settings: Any) -> dict[str, Any]:
    return ChatCompletions(URL, ProviderSettings(kind="openai", base_url=URL, **{"model": "m"} | settings), None).body(
        prompt
    )


def event(delta: object = None, **others: object) -> str:
    return json.dumps({"choices": [{"index": 0, "delta": delta, **others}]})


def read(reader: ChatCompletionReader, *events: str) -> list[Delta]:
    return [delta for data in events for delta in reader.read(ServerEvent(data))]


def test_request_has_url_and_headers() -> None:
    settings = ProviderSettings(kind="openai", base_url=URL, model="m")
    assert ChatCompletions(URL, settings, None).url == "http://model.example/v1/chat/completions"
    assert ChatCompletions(URL, settings, None).headers == {}
    assert ChatCompletions(URL, settings, "k").headers == {"Authorization": "Bearer k"}


def test_request_has_the_values_of_the_settings() -> None:
    assert body(Prompt(HISTORY)) == {
        "model": "m",
        "messages": [{"role": turn.role, "content": turn.content} for turn in HISTORY],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_request_has_the_values_of_the_agent() -> None:
    prompt = Prompt(HISTORY[:1], system="s", model="other", temperature=0, max_tokens=7)
    made = body(prompt, max_tokens=9)
    assert made["messages"] == [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}]
    assert (made["model"], made["temperature"], made["max_tokens"]) == ("other", 0, 7)


def test_request_has_the_configured_name_of_max_tokens() -> None:
    made = body(Prompt(HISTORY[:1]), max_tokens=9, max_tokens_field="max_completion_tokens")
    assert made["max_completion_tokens"] == 9
    assert "max_tokens" not in made


def test_request_asks_for_no_usage_if_the_settings_say_so() -> None:
    assert "stream_options" not in body(Prompt(HISTORY), ask_for_usage=False)


def test_request_alternates_roles_for_strict_chat_templates() -> None:
    assert body(Prompt(HISTORY, system="s"), alternate_roles=True)["messages"] == [
        {"role": "system", "content": "s\n\nb"},
        {"role": "user", "content": "a\n\nc"},
        {"role": "assistant", "content": "d"},
        {"role": "user", "content": "e"},
    ]


def test_events_become_deltas() -> None:
    reader = ChatCompletionReader()
    deltas = read(
        reader,
        event({"role": "assistant", "content": ""}),
        event({"content": "Hel"}),
        event({"content": "lo"}, finish_reason=None),
    )
    assert deltas == [TextDelta("Hel"), TextDelta("lo")]
    assert (reader.stop_reason, reader.over) == (None, False)
    read(reader, event({}, finish_reason="length"))
    assert (reader.stop_reason, reader.over, reader.usage) == ("length", False, None)
    read(reader, json.dumps({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}), "[DONE]")
    assert (reader.stop_reason, reader.over, reader.usage) == ("length", True, Usage(3, 2))


@pytest.mark.parametrize(
    ("delta", "deltas"),
    [
        ({"reasoning_content": "hm"}, [ReasoningDelta("hm")]),
        ({"reasoning": "hm"}, [ReasoningDelta("hm")]),
        ({"reasoning": "hm", "reasoning_content": "hm"}, [ReasoningDelta("hm")]),
        ({"reasoning_content": None, "reasoning": "hm", "content": "x"}, [ReasoningDelta("hm"), TextDelta("x")]),
        ({"content": None, "refusal": "I cannot"}, [TextDelta("I cannot")]),
        ({"tool_calls": []}, []),
        (None, []),
    ],
)
def test_piece_becomes_text_or_reasoning(delta: object, deltas: list[Delta]) -> None:
    assert read(ChatCompletionReader(), event(delta)) == deltas


def test_done_without_a_stop_reason_ends_the_answer() -> None:
    reader = ChatCompletionReader()
    read(reader, event({"content": "x"}), "[DONE]")
    assert reader.stop_reason == "stop"


def test_unknown_stop_reason_is_kept() -> None:
    reader = ChatCompletionReader()
    read(reader, event({}, finish_reason="tool_calls"))
    assert reader.stop_reason == "tool_calls"


def test_whole_body_becomes_deltas() -> None:
    reader = ChatCompletionReader()
    message = {"role": "assistant", "content": "Hello", "reasoning_content": "hm"}
    whole = {
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2},
    }
    assert read(reader, json.dumps(whole)) == [ReasoningDelta("hm"), TextDelta("Hello")]
    assert (reader.stop_reason, reader.usage) == ("stop", Usage(3, 2))


@pytest.mark.parametrize("counts", [{"prompt_tokens": 3}, {"prompt_tokens": "3", "completion_tokens": 2}])
def test_malformed_token_counts_are_ignored(counts: object) -> None:
    reader = ChatCompletionReader()
    read(reader, json.dumps({"choices": [], "usage": counts}))
    assert reader.usage is None


def test_error_in_the_stream_raises_attempt_error() -> None:
    with pytest.raises(AttemptError) as caught:
        read(ChatCompletionReader(), json.dumps({"error": {"message": "sk-secret", "code": 429}}))
    assert caught.value.code == "rate_limited"
    assert "sk-secret" not in caught.value.message + caught.value.reason


@pytest.mark.parametrize("depth", [20, 600])
def test_error_nested_to_any_depth_is_a_reported_error(depth: int) -> None:
    with pytest.raises(AttemptError):
        read(ChatCompletionReader(), '{"error": ' + "[" * depth + "]" * depth + "}")


NESTED = "[" * 600 + "]" * 600


@pytest.mark.parametrize(
    "event",
    [
        f'{{"choices": [{{"delta": {{"content": {NESTED}}}}}]}}',
        f'{{"choices": [{{"delta": {{"reasoning": {NESTED}}}}}]}}',
        f'{{"choices": [{{"message": {NESTED}, "finish_reason": {NESTED}}}], "usage": {NESTED}}}',
        f'{{"choices": {NESTED}}}',
        NESTED,
    ],
)
def test_nested_value_in_place_of_a_text_has_no_deltas(event: str) -> None:
    assert read(ChatCompletionReader(), event) == []


def test_list_of_26_000_objects_is_read_in_less_than_2_seconds() -> None:
    event = json.dumps([{"choices": [{"delta": {"content": "a"}}]}] * 26_000)
    reader = ChatCompletionReader()
    begun = time.process_time()
    deltas = read(reader, event)
    assert time.process_time() - begun < 2
    assert deltas == [TextDelta("a")] * 26_000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
CHOICE = st.fixed_dictionaries(
    {},
    optional={
        "delta": JSON
        | st.fixed_dictionaries({}, optional={"content": JSON, "reasoning": JSON, "reasoning_content": JSON}),
        "message": JSON,
        "finish_reason": JSON,
    },
)
EVENT = JSON | st.fixed_dictionaries({}, optional={"choices": JSON | st.lists(CHOICE), "usage": JSON, "error": JSON})


@given(st.lists(EVENT))
def test_any_json_is_read_or_is_a_reported_error(events: list[object]) -> None:
    reader = ChatCompletionReader()
    try:
        deltas = read(reader, *map(json.dumps, events))
    except AttemptError:
        return
    assert all(isinstance(delta, TextDelta | ReasoningDelta) and isinstance(delta.text, str) for delta in deltas)
    assert reader.stop_reason is None or isinstance(reader.stop_reason, str)
