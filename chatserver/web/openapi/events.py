"""The events of a stream, for the OpenAPI document.

`live/journal.py` and `live/terminal_events.py` write them. A test compares both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, Field, Json, RootModel

from chatserver.errors import ErrorCode
from chatserver.message_schemas import TokenUsage
from chatserver.schema_types import Id, Wire


class TokenEvent(Wire):
    """The next piece of the answer. Joined, the pieces are the answer."""

    type: Literal["token"]
    content: str


class ReasoningEvent(Wire):
    """The next piece of the model's thinking. It is not part of the answer."""

    type: Literal["reasoning"]
    content: str


class ResetEvent(Wire):
    """Drop what was shown of this answer: the whole of it follows."""

    type: Literal["reset"]


class DoneEvent(Wire):
    """The end: the answer is committed."""

    type: Literal["done"]
    message_id: Annotated[Id, Field(description="The message that the answer became.")]
    usage: Annotated[TokenUsage | None, Field(description="Null where the provider does not count.")]
    stop_reason: Annotated[
        str | None,
        Field(description="Why the model ended: `stop`, `length`, `content_filter`, or the provider's own word."),
    ]


class StoppedEvent(Wire):
    """The end: the answer was stopped."""

    type: Literal["stopped"]
    message_id: Annotated[
        Id | None, Field(description="The message that the kept part became; null: nothing was kept.")
    ]


class ErrorEvent(Wire):
    """The end: the answer failed, and nothing was kept."""

    type: Literal["error"]
    error: Annotated[str, Field(description="For people; not to be parsed.")]
    code: ErrorCode
    retryable: Annotated[bool, Field(description="Whether the same question may well be answered later.")]


class StreamEvent(
    RootModel[
        Annotated[
            TokenEvent | ReasoningEvent | ResetEvent | DoneEvent | StoppedEvent | ErrorEvent,
            Field(discriminator="type"),
        ]
    ]
):
    """The `data` line of a frame. `done`, `stopped` and `error` are the end; the others come before."""


class StreamFrame(Wire):
    """A frame with an event. Frames without `data` only set the client's event id and reconnection time."""

    id: Annotated[str, Field(min_length=1, description="Opaque; sent back as Last-Event-ID it resumes right after.")]
    data: Json[StreamEvent]


# A sequence of frames. OpenAPI before 3.2 cannot express it otherwise.
STREAM: Mapping[str, type[BaseModel]] = {"text/event-stream": StreamFrame}

BUSY = "Another answer is being generated in this conversation, and `whenBusy` is `reject`."
ONLY_READS = (
    "Not allowed, or sent by another site's page; or the role is `reader`, and an answer would have to be begun."
)
FOLLOWING = """\
At most one answer to a message is live: the first request starts it, all others join it and get the whole of it. An
answer that is stored already is replayed. Clients with the role `reader` only join and replay.

The body is a stream of Server-Sent Events (WHATWG HTML), not one JSON text. The schema is that of each frame. It
begins at once, before the first token:

```
:ok

retry: 1000
id: 0190f5fe7c2e7a6c8f7e3d1c5b2a4e90.1.0.0

id: 0190f5fe7c2e7a6c8f7e3d1c5b2a4e90.1.1.4
data: {"type":"token","content":"Echo"}

id: 0190f5fe7c2e7a6c8f7e3d1c5b2a4e90.1.end
data: {"type":"done","messageId":"0190f5fe-8a11-7d3b-9c1e-2f4a6b8c0d1e","usage":null,"stopReason":"stop"}
```

A stream that is not cut ends with exactly one `done`, `stopped` or `error`. `: ping` comments keep a silent stream
open. Ids are opaque. With the last one as Last-Event-ID the stream goes on with the very next event."""
SENDING = """\
Adds the message and responds with the stream of its answer, as `GET …/stream` does. If the stream is cut, go on with
`GET …/stream`, the trigger's id and the last event's id. A refused request stores nothing."""
