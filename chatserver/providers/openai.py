"""The wire format of OpenAI's chat completions, which vLLM, Ollama, llama.cpp and many others speak, too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from chatserver.providers.base import Delta, Prompt, Usage
from chatserver.providers.error_events import error_of_part
from chatserver.providers.json_content import NO_DELTAS, content_deltas, count, reasoning_deltas
from chatserver.providers.turns import alternate, lift_system
from chatserver.providers.wire import NO_FIELDS, STREAM_FIELD, ResponseReader, messages_of
from chatserver.settings_tables import ProviderSettings

# Servers use one of these names; some send two, with the same text.
_THINKING_FIELDS = ("reasoning_content", "reasoning", "thinking", "reasoning_text", "reasoning_details")
# A refusal is the model's text in place of an answer.
_CONTENT_KEYS = ("content", "refusal", "text")
# How errors name the field, or what is in it.
_STREAM_OPTIONS = re.compile(r"stream[_ -]?options|include_usage")


class ChatCompletions:
    """`base_url` ends with the version of the API: `https://api.openai.com/v1`.

    Roles alternate only if the settings say so: some chat templates refuse two turns of one role, or a system
    message that is not the first. `api_key` None: no key is sent.
    """

    def __init__(self, base_url: str, settings: ProviderSettings, api_key: str | None) -> None:
        self.url = f"{base_url}/chat/completions"
        self.headers = {"Authorization": f"Bearer {api_key}"} if api_key is not None else {}
        self.optional_fields: Mapping[str, re.Pattern[str]] = {"stream_options": _STREAM_OPTIONS, **STREAM_FIELD}
        self._settings = settings

    def body(self, prompt: Prompt, without: AbstractSet[str] = NO_FIELDS) -> dict[str, Any]:
        if self._settings.alternate_roles:
            system, turns = lift_system(prompt)
            messages = messages_of(alternate(turns))
        else:
            system = prompt.system
            messages = messages_of(prompt.turns)
        if system:
            messages.insert(0, {"role": "system", "content": system})
        body: dict[str, Any] = {"messages": messages}
        if "stream" not in without:
            body["stream"] = True
            if self._settings.ask_for_usage and "stream_options" not in without:
                body["stream_options"] = {"include_usage": True}
        model = prompt.model or self._settings.model
        if model is not None:
            body["model"] = model
        if prompt.temperature is not None:
            body["temperature"] = prompt.temperature
        max_tokens = prompt.max_tokens or self._settings.max_tokens
        if max_tokens is not None:
            body[self._settings.max_tokens_field] = max_tokens
        return body

    def reader(self) -> ResponseReader:
        return ChatCompletionReader()


class ChatCompletionReader(ResponseReader):
    """Reads `chat.completion.chunk` objects, and the one `chat.completion` of a server that does not stream."""

    __slots__ = ()

    def _take(self, event: dict[str, Any]) -> tuple[Delta, ...]:
        if "usage" in event:
            self._count(event["usage"])
        choices = event.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else choices
        if not isinstance(choice, dict):
            return NO_DELTAS
        if (error := error_of_part(choice)) is not None:
            raise error
        if reason := choice.get("finish_reason"):
            self._stop(reason)
        deltas = NO_DELTAS
        if delta := choice.get("delta"):
            deltas = self._note(_piece(delta))
        if message := choice.get("message"):
            deltas += self._whole(_piece(message))
        elif delta is None and "text" in choice:
            deltas = content_deltas(choice["text"])
        if "usage" in choice:  # Moonshot
            self._count(choice["usage"])
        return deltas

    def _count(self, counts: Any) -> None:
        if isinstance(counts, dict):
            sent, received = count(counts.get("prompt_tokens")), count(counts.get("completion_tokens"))
            if sent is not None and received is not None:
                self.usage = Usage(sent, received)


def _piece(piece: Any) -> tuple[Delta, ...]:
    """The deltas of a delta or a message."""
    if not isinstance(piece, dict):
        return content_deltas(piece)
    if len(piece) == 1 and "content" in piece:  # nearly all are so
        return content_deltas(piece["content"])
    if (error := error_of_part(piece)) is not None:
        raise error
    deltas = _reasoning(piece)
    for key in _CONTENT_KEYS:
        if piece.get(key) and (content := content_deltas(piece[key])):
            return deltas + content
    return deltas


def _reasoning(piece: dict[str, Any]) -> tuple[Delta, ...]:
    return next(filter(None, (reasoning_deltas(piece[key]) for key in _THINKING_FIELDS if key in piece)), NO_DELTAS)
