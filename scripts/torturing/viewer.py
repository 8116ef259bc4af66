"""What a client shows of an answer: frames of event streams in, text out."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from typing import Any

_numbers = itertools.count(1)
TERMINAL = ("done", "stopped", "error")


@dataclass(slots=True)
class Viewer:
    """The state of a client over all its connections. `place` is run and epoch of the text, as the ids bear them."""

    number: int = field(default_factory=lambda: next(_numbers))
    text: str = ""
    last_id: str | None = None
    place: tuple[str, int] | None = None
    terminal: dict[str, Any] | None = None


@dataclass(slots=True)
class Frames:
    """Reads the body of one connection for a viewer. A block that was cut off is forgotten, as browsers do."""

    viewer: Viewer
    opened: bool = False
    terminals: list[dict[str, Any]] = field(default_factory=list)
    disorder: str | None = None
    new_epoch: bool = False
    """A later epoch of the run was seen, since somebody looked last."""
    _buffer: bytes = b""

    def feed(self, piece: bytes) -> None:
        *blocks, self._buffer = (self._buffer + piece).split(b"\n\n")
        for block in blocks:
            self._block(block.decode())

    def _block(self, block: str) -> None:
        fields: dict[str, str] = {}
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            if name in fields and name:
                self._wrong(f"two fields {name} in one frame: {block!r}")
            fields[name] = value.removeprefix(" ")
        if unknown := fields.keys() - {"", "id", "data", "retry"}:
            self._wrong(f"unknown fields {unknown}: {block!r}")
        if "id" in fields:
            self.opened = True
            self.viewer.last_id = fields["id"]
            self._look_at_place(fields["id"])
        if "data" in fields:
            try:
                self._event(json.loads(fields["data"]))
            except (ValueError, KeyError, TypeError):
                self._wrong(f"no event of the contract: {block!r}")

    def _look_at_place(self, event_id: str) -> None:
        run, epoch, *_ = [*event_id.split("."), "0"]
        place = (run, int(epoch))
        before = self.viewer.place
        if before is not None and before[0] == run and before[1] < place[1]:
            self.new_epoch = True
        self.viewer.place = place

    def _event(self, event: dict[str, Any]) -> None:
        if self.terminals:
            self._wrong(f"something follows the end: {event}")
        kind = event["type"]
        if kind == "token":
            self.viewer.text += event["content"]
        elif kind == "reset":
            self.viewer.text = ""
        elif kind in TERMINAL:
            self.terminals.append(event)
            self.viewer.terminal = event
        elif kind != "reasoning":
            self._wrong(f"unknown event {event}")

    def _wrong(self, text: str) -> None:
        self.disorder = self.disorder or text
