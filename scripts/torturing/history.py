"""What happened in a run: requests, streams, messages, generations and faults. The checks read nothing else.

All times are seconds since the beginning of the run; infinity: not yet.
"""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

NEVER = math.inf


@dataclass(slots=True)
class Fault:
    """Something that was done to a process, or (`process` None) to all that use the database."""

    kind: str
    process: int | None
    began: float
    ended: float = NEVER


@dataclass(slots=True)
class Write:
    """A request that changes something. `acked`: when its success was read; `refused`: it changed nothing."""

    sent: float
    acked: float = NEVER
    refused: bool = False
    value: str = ""


@dataclass(slots=True)
class Message:
    """A message that a server acknowledged, or named in a terminal event."""

    id: str
    conversation: str
    role: str
    content: str
    acked: float
    reply_to: str | None = None
    status: str = "completed"
    edits: list[Write] = field(default_factory=list)
    erasures: list[Write] = field(default_factory=list)

    @property
    def wordings(self) -> list[str]:
        """All that it may say: its first content, and what it was edited to."""
        return [self.content, *(edit.value for edit in self.edits)]


@dataclass(slots=True)
class Post:
    """A user message that was sent, perhaps several times under one key; `id` None: no answer was read."""

    conversation: str
    content: str
    ids: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Conversation:
    """`deletions` are DELETEs, `erasures` those for good, `moves` rewinds, restores and erasures of single messages."""

    id: str
    echo: bool
    deletions: list[Write] = field(default_factory=list)
    restorations: list[Write] = field(default_factory=list)
    erasures: list[Write] = field(default_factory=list)
    moves: list[Write] = field(default_factory=list)
    stops: list[Write] = field(default_factory=list)


StreamEnd = Literal["open", "terminal", "clean", "left", "broken", "refused"]


@dataclass(slots=True)
class Stream:
    """One request for an answer, and its response.

    `opened`: its first block was read, which names the run. `end`: "left" and "broken" are ends by the client and by
    the network, "clean" is an end of the response without a terminal event. `text` is what the viewer shows at its end.
    """

    number: int
    viewer: int
    process: int
    conversation: str
    trigger: str | None
    began: float
    method: str = "GET"
    last_id: str | None = None
    when_busy: str = "reject"
    continues: bool = False
    head_at: float = NEVER
    ended: float = NEVER
    status: int | None = None
    opened: bool = False
    end: StreamEnd = "open"
    terminals: list[dict[str, Any]] = field(default_factory=list)
    text: str = ""
    disorder: str | None = None


@dataclass(slots=True)
class Request:
    """A plain request; `status` None: there was no response, `lost` says why."""

    method: str
    kind: str
    process: int
    conversation: str | None
    began: float
    ended: float = NEVER
    status: int | None = None
    retry_after: bool = False
    last_id: bool = False
    lost: str | None = None
    body: str = ""


@dataclass(slots=True)
class Generation:
    """One call of the model. `text` is all that it was to say; `hung_up`: the model broke off on purpose."""

    question: str
    marker: str
    process: int
    text: str
    began: float
    ended: float = NEVER
    finished: bool = False
    failed: bool = False
    hung_up: bool = False


@dataclass(slots=True)
class Violation:
    kind: str
    text: str
    conversation: str | None
    at: float


@dataclass(slots=True)
class Run:
    """A row of `chat_runs` at the end."""

    id: str
    conversation: str
    trigger: str | None
    status: str
    epoch: int


@dataclass(slots=True)
class Final:
    """What is left when all has settled.

    `messages` are the lists of the API by conversation, superseded ones included; `gone` the conversations that are
    404; `active` those that still have an `activeRun`; `stuck` those of which a new question got no answer, and why;
    `markers` where in the database each marker word is, as `table.column`; `rows` counts rows that should be gone.
    """

    messages: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    active: dict[str, str] = field(default_factory=dict)
    stuck: dict[str, str] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    markers: dict[str, set[str]] = field(default_factory=dict)
    model_connections: int = 0
    unsettled: list[str] = field(default_factory=list)


class History:
    """All that was recorded; `note` adds a line to the story of a conversation."""

    def __init__(self) -> None:
        self._beginning = time.monotonic()
        self.conversations: dict[str, Conversation] = {}
        self.messages: dict[str, Message] = {}
        self.posts: dict[str, Post] = {}
        self.streams: list[Stream] = []
        self.requests: list[Request] = []
        self.generations: list[Generation] = []
        self.faults: list[Fault] = []
        self.violations: list[Violation] = []
        self.takeovers: list[float] = []
        self.counts: Counter[str] = Counter()
        self._stories: dict[str, list[tuple[float, str]]] = defaultdict(list)

    def restart_clock(self) -> None:
        self._beginning = time.monotonic()

    def now(self) -> float:
        return time.monotonic() - self._beginning

    def note(self, conversation: str, text: str) -> None:
        self._stories[conversation].append((self.now(), text))

    def violate(self, kind: str, text: str, conversation: str | None = None, at: float | None = None) -> None:
        self.violations.append(Violation(kind, text, conversation, self.now() if at is None else at))

    def story(self, conversation: str) -> list[tuple[float, str]]:
        """All notes of a conversation and all faults, in the order of time."""
        lines = list(self._stories[conversation])
        for fault in self.faults:
            who = "" if fault.process is None else f" of p{fault.process}"
            lines.append((fault.began, f"*** {fault.kind}{who} begins"))
            if fault.ended != NEVER:
                lines.append((fault.ended, f"*** {fault.kind}{who} is over"))
        return sorted(lines)

    def read_elsewhere(self, generation: Generation) -> bool:
        """True if another process than the one that generates the answer has a reader of it now."""
        for stream in reversed(self.streams):
            if stream.end == "open" and stream.process != generation.process and stream.trigger in self.messages:
                trigger = self.messages[stream.trigger]
                if any(text.startswith(generation.question) for text in trigger.wordings):
                    return True
        return False

    def disturbed(self, since: float, until: float, process: int | None = None, *, slack: float = 0.0) -> bool:
        """True if a fault touched the process (None: any process) within that time, or was over `slack` seconds before.

        Cuts of connections do not count: they touch nothing but these.
        """
        return any(fault.kind != "cut" for fault in self.faults_within(since, until, process, slack=slack))

    def faults_within(
        self, since: float, until: float, process: int | None = None, *, slack: float = 0.0
    ) -> Iterator[Fault]:
        for fault in self.faults:
            touches = process is None or fault.process is None or fault.process == process
            if touches and fault.began <= until and fault.ended + slack >= since:
                yield fault
