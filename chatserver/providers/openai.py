"""The wire format of OpenAI's chat completions, which vLLM, Ollama, llama.cpp and many others speak, too."""

from __future__ import annotations

import json
from typing import Any

from chatserver.providers.base import Delta, Prompt, Usage
from chatserver.providers.failures import reported
from chatserver.providers.turns import alternate, lift_system
from chatserver.providers.wire import NO_DELTAS, ResponseReader, messages_of, reasoning_deltas, text_deltas
from chatserver.settings import ProviderSettings


class ChatCompletions:
    """`base_url` ends with the version of the API: `https://api.openai.com/v1`.

    Roles alternate only if the settings say so: some chat templates refuse two turns of one role, or a system
    message that is not the first. `api_key` None: no key is sent.
    """

    def __init__(self, base_url: str, settings: ProviderSettings, api_key: str | None) -> None:
        self.url = f"{base_url}/chat/completions"
        self.headers = {"Authorization": f"Bearer {api_key}"} if api_key is not None else {}
        self._settings = settings

    def body(self, prompt: Prompt) -> dict[str, Any]:
        if self._settings.alternate_roles:
            system, turns = lift_system(prompt)
            messages = messages_of(alternate(turns))
        else:
            system = prompt.system
            messages = messages_of(prompt.turns)
        if system:
            messages.insert(0, {"role": "system", "content": system})
        body: dict[str, Any] = {"messages": messages, "stream": True, "stream_options": {"include_usage": True}}
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

    def read(self, data: str) -> tuple[Delta, ...]:
        if data.startswith("[DONE]"):
            self.over = True
            self.stop_reason = self.stop_reason or "stop"
            return NO_DELTAS
        event = json.loads(data)
        if error := event.get("error"):
            raise reported(error)
        if usage := event.get("usage"):
            self.usage = _usage(usage)
        choices = event.get("choices")
        if not choices:
            return NO_DELTAS
        choice = choices[0]
        reason = choice.get("finish_reason")
        if reason and isinstance(reason, str):
            self.stop_reason = reason
        piece = choice.get("delta") or choice.get("message")
        deltas = NO_DELTAS
        if piece:
            # Servers use either name; some send both, with the same text.
            if reasoning := piece.get("reasoning_content") or piece.get("reasoning"):
                deltas = reasoning_deltas(reasoning)
            # A refusal is the model's text in place of an answer.
            if text := piece.get("content") or piece.get("refusal"):
                deltas += text_deltas(text)
        return deltas


def _usage(counts: dict[str, Any]) -> Usage | None:
    sent, received = counts.get("prompt_tokens"), counts.get("completion_tokens")
    return Usage(sent, received) if type(sent) is int and type(received) is int else None
