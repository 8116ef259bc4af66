"""The wire format of Anthropic's messages, which llama.cpp and others speak, too."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any

from chatserver.providers.base import Delta, Prompt, Usage
from chatserver.providers.error_events import error_of_part
from chatserver.providers.json_content import NO_DELTAS, content_deltas, count
from chatserver.providers.turns import alternate, lift_system
from chatserver.providers.wire import NO_FIELDS, STREAM_FIELD, ResponseReader, messages_of
from chatserver.settings_tables import ProviderSettings

_VERSION = "2023-06-01"
# The API requires a bound. All of Anthropic's models allow this one.
_DEFAULT_MAX_TOKENS = 4096
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
        self.optional_fields = STREAM_FIELD
        self._settings = settings

    def body(self, prompt: Prompt, without: AbstractSet[str] = NO_FIELDS) -> dict[str, Any]:
        system, turns = lift_system(prompt)
        if self._settings.alternate_roles is not False:
            turns = alternate(turns)
        body: dict[str, Any] = {
            "messages": messages_of(turns),
            "max_tokens": prompt.max_tokens or self._settings.max_tokens or _DEFAULT_MAX_TOKENS,
        }
        if "stream" not in without:
            body["stream"] = True
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

    __slots__ = ("_counts", "_started_with")

    def __init__(self) -> None:
        super().__init__()
        self._counts: dict[str, int] = {}
        self._started_with: Any = None  # content in `message_start`, where none belongs

    def _take(self, event: dict[str, Any]) -> tuple[Delta, ...]:
        kind = event.get("type")
        if kind == "content_block_delta":
            return self._block(event.get("delta"))
        if kind == "content_block_start":
            return self._block(event.get("content_block"))
        if kind == "message_start":
            message = event.get("message")
            self._take_message(message)
            self._started_with = message.get("content") if isinstance(message, dict) else None
        elif kind == "message_delta":
            self._count(event.get("usage"))
            self._take_message(event.get("delta"))
        elif kind == "message_stop":
            self.end()
            return self._whole(content_deltas(self._started_with))
        elif kind == "message" or (kind is None and "content" in event):
            self._take_message(event)
            return self._whole(content_deltas(event.get("content")))
        # `ping`, `content_block_stop` and others: the API asks clients to ignore unknown events.
        return NO_DELTAS

    def _block(self, piece: Any) -> tuple[Delta, ...]:
        """The deltas of a block, or of a piece of one; blocks of other kinds (signatures, tools) have none."""
        if (error := error_of_part(piece)) is not None:
            raise error
        return self._note(content_deltas(piece))

    def _take_message(self, message: Any) -> None:
        """Take in all of a message, or of a change to one, but its content."""
        if (error := error_of_part(message)) is not None:
            raise error
        if isinstance(message, dict):
            self._count(message.get("usage"))
            self._stop(message.get("stop_reason"))

    def _count(self, counts: Any) -> None:
        """Take in the tokens counted so far. Later counts replace earlier ones."""
        if not isinstance(counts, dict):
            return
        for name in (*_INPUT_COUNTS, "output_tokens"):
            if (number := count(counts.get(name))) is not None:
                self._counts[name] = number
        if "output_tokens" in self._counts and "input_tokens" in self._counts:
            sent = sum(self._counts.get(name, 0) for name in _INPUT_COUNTS)
            self.usage = Usage(sent, self._counts["output_tokens"])
