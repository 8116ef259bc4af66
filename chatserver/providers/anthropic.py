"""The wire format of Anthropic's messages, which llama.cpp and others speak, too."""

from __future__ import annotations

import json
from typing import Any

from chatserver.providers.base import Delta, Prompt, Usage
from chatserver.providers.failures import reported
from chatserver.providers.turns import alternate, lift_system
from chatserver.providers.wire import NO_DELTAS, ResponseReader, messages_of, reasoning_deltas, text_deltas
from chatserver.settings import ProviderSettings

_VERSION = "2023-06-01"
# The API requires a bound. All of Anthropic's models allow this one.
_DEFAULT_MAX_TOKENS = 4096
_STOP_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}
_INPUT_COUNTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


class Messages:
    """`base_url` may end with the version of the API (`/v1`).

    Roles alternate unless the settings say otherwise. System messages of the history join the system prompt, because
    the API has no such role. `api_key` None: no key is sent.
    """

    def __init__(self, base_url: str, settings: ProviderSettings, api_key: str | None) -> None:
        self.url = f"{base_url}/messages" if base_url.endswith("/v1") else f"{base_url}/v1/messages"
        self.headers = {"anthropic-version": _VERSION}
        if api_key is not None:
            self.headers["x-api-key"] = api_key
        self._settings = settings

    def body(self, prompt: Prompt) -> dict[str, Any]:
        system, turns = lift_system(prompt)
        if self._settings.alternate_roles is not False:
            turns = alternate(turns)
        body: dict[str, Any] = {
            "messages": messages_of(turns),
            "max_tokens": prompt.max_tokens or self._settings.max_tokens or _DEFAULT_MAX_TOKENS,
            "stream": True,
        }
        if system:
            body["system"] = system
        model = prompt.model or self._settings.model
        if model is not None:
            body["model"] = model
        if prompt.temperature is not None:
            body["temperature"] = prompt.temperature
        return body

    def reader(self) -> ResponseReader:
        return MessageReader()


class MessageReader(ResponseReader):
    """Reads the events of a streamed message, and the one `message` object of a server that does not stream."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        super().__init__()
        self._counts: dict[str, int] = {}

    def read(self, data: str) -> tuple[Delta, ...]:
        event = json.loads(data)
        kind = event["type"]
        if kind == "content_block_delta":
            return self._piece(event["delta"])
        if kind == "content_block_start":
            return self._piece(event["content_block"])
        if kind == "message_start":
            self._count(event["message"].get("usage"))
        elif kind == "message_delta":
            self._count(event.get("usage"))
            self._stop(event["delta"].get("stop_reason"))
        elif kind == "message_stop":
            self._stop(self.stop_reason or "end_turn")
            self.over = True
        elif kind == "error":
            raise reported(event["error"])
        elif kind == "message":
            self._count(event.get("usage"))
            self._stop(event["stop_reason"])
            return sum(map(self._piece, event["content"]), NO_DELTAS)
        # `ping`, `content_block_stop` and others: the API asks clients to ignore unknown events.
        return NO_DELTAS

    @staticmethod
    def _piece(piece: dict[str, Any]) -> tuple[Delta, ...]:
        """The deltas of a block, or of a piece of one; blocks of other kinds (signatures, tools) have none."""
        kind = piece["type"]
        if kind in ("text_delta", "text"):
            return text_deltas(piece["text"])
        if kind in ("thinking_delta", "thinking"):
            return reasoning_deltas(piece["thinking"])
        return NO_DELTAS

    def _stop(self, reason: Any) -> None:
        if reason and isinstance(reason, str):
            self.stop_reason = _STOP_REASONS.get(reason, reason)

    def _count(self, counts: dict[str, Any] | None) -> None:
        """Take in the tokens counted so far. Later counts replace earlier ones."""
        if counts is None:
            return
        self._counts.update((name, count) for name, count in counts.items() if type(count) is int)
        if "output_tokens" in self._counts and "input_tokens" in self._counts:
            sent = sum(self._counts.get(name, 0) for name in _INPUT_COUNTS)
            self.usage = Usage(sent, self._counts["output_tokens"])
