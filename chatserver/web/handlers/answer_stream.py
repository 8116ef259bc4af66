"""The stream of an answer as Server-Sent Events, and the stop of an answer."""

from __future__ import annotations

import asyncio
import logging
from contextlib import closing
from typing import Annotated, Any, Literal

import tornado.web
from pydantic import Field
from tornado.iostream import StreamClosedError

from chatserver import sse
from chatserver.errors import ConflictError, TryLaterError
from chatserver.live.answers import StreamOptions, WhenBusy
from chatserver.live.reader import BATCH_FRAMES, Reader
from chatserver.live.store import NewMessage
from chatserver.schema_types import Id, Wire
from chatserver.schemas import StopAnswer, Stopped, StreamMessage
from chatserver.web.handler_context import HandlerContext
from chatserver.web.http.base_handler import ApiHandler
from chatserver.web.http.parsing import parse_id
from chatserver.web.http.streaming_handler import StreamingHandler

logger = logging.getLogger(__name__)


class PostStreamQuery(Wire):
    """Query of POST …/stream."""

    when_busy: Annotated[
        WhenBusy,
        Field(
            description="What a request that would start an answer does while another one is being generated. "
            "`reject`: it gets 409. `interrupt`: it stops the other answer. `enqueue`: it waits for its turn. Requests "
            "that join an answer ignore it."
        ),
    ] = "reject"
    on_disconnect: Annotated[
        Literal["cancel", "continue"],
        Field(
            description="What happens when the last reader has left and none is back in time. `cancel`: the answer "
            "is dropped. `continue`: it is generated to its end and stored."
        ),
    ] = "cancel"


class StreamQuery(PostStreamQuery):
    """Query of GET …/stream."""

    trigger_message_id: Annotated[
        Id | None, Field(description="The user message to answer; by default the newest one.")
    ] = None
    last_event_id: Annotated[
        Annotated[str, Field(min_length=1)] | None,
        Field(
            description="The same as the header Last-Event-ID, for clients that cannot set headers. The header wins."
        ),
    ] = None


class StreamHandler(StreamingHandler):
    """GET follows the answer to a message; POST adds the message first.

    There is one writer, the loop in `_write_frames`. Every event wakes it, and it finds out what has happened.
    """

    head = tornado.web.RequestHandler.head

    def initialize(self, context: HandlerContext) -> None:
        super().initialize(context)
        self._reader: Reader | None = None

    def wake(self) -> None:
        if self._reader is not None:
            self._reader.wake()

    async def get(self, conversation_id: str) -> None:
        query = self.query(StreamQuery)
        last_event_id = self._last_event_id()
        resume = None if last_event_id is None else sse.parse_event_id(last_event_id)
        if resume is not None and resume.terminal:
            self.write_nothing()
            return
        options = StreamOptions(
            trigger_id=query.trigger_message_id,
            resume=resume,
            reset=last_event_id is not None and resume is None,
            when_busy=query.when_busy,
            continues=query.on_disconnect == "continue",
        )
        with self.context.streams.admitted(self):
            reader = await self.context.answers.open(self.actor.companies, parse_id(conversation_id), options)
            await self._follow(reader)

    async def post(self, conversation_id: str) -> None:
        query = self.query(PostStreamQuery)
        message = self.message_body(StreamMessage)
        with self.context.streams.admitted(self):
            reader, trigger_id = await self.context.answers.send(
                self.actor.companies,
                parse_id(conversation_id),
                NewMessage(message.content, message.agent_id, self.idempotency_key()),
                StreamOptions(when_busy=query.when_busy, continues=query.on_disconnect == "continue"),
            )
            self.set_header("X-Trigger-Message-Id", str(trigger_id))
            await self._follow(reader)

    # --- the stream ---------------------------------------------------------------------------------------

    async def _follow(self, reader: Reader) -> None:
        """Write the reader's frames until its end, and close it."""
        self._reader = reader
        with closing(reader):
            try:
                self._begin()
                await self.send(reader.opening)
                await self._write_frames(reader)
            except StreamClosedError:
                pass
            except TimeoutError:
                self.context.metrics.slow_readers.inc()
                logger.info("a reader that took nothing for %s s is cut off", self.context.settings.slow_reader_seconds)
                self.connection.stream.close()
        self.end_body()

    async def _write_frames(self, reader: Reader) -> None:
        while not self.gone:
            frames = reader.take()
            for frame in frames:
                await self.send(frame)
            if frames:
                if len(frames) >= BATCH_FRAMES:
                    # Awaiting a flush that the socket takes at once gives other tasks no turn.
                    await asyncio.sleep(0)
            elif reader.at_end:
                return
            elif self.context.streams.closing:
                await self.send(sse.come_back())
                return
            elif not await reader.wait(self.context.settings.ping_seconds):
                await self.send(sse.PING)

    # --- before the stream --------------------------------------------------------------------------------

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """As for every handler, but a client that reconnects is not told to wait: it is told to come back.

        At any status but 200 an EventSource gives up for good. Wherever a request was refused, even before `get`, a
        client that has an event id gets 200 and the end, or 204 if it has the terminal event.
        """
        last_event_id = self._last_event_id() if self.request.method == "GET" else None
        error = kwargs.get("exc_info", (None, None, None))[1]
        if last_event_id is None or not isinstance(error, ConflictError | TryLaterError):
            super().write_error(status_code, **kwargs)
            return
        self.let_other_sites_read()
        event_id = sse.parse_event_id(last_event_id)
        if event_id is not None and event_id.terminal:
            self.write_nothing()
            return
        self.set_status(200)
        self._begin()
        self.write(sse.OK + sse.come_back())
        self.flush()
        self.end_body()

    def _last_event_id(self) -> str | None:
        """The event id that the client has, in the header or in the query; the header wins."""
        in_query = self.request.query_arguments.get("lastEventId", [b""])[-1].decode("ascii", "replace")
        return self.request.headers.get("Last-Event-ID") or in_query or None

    def _begin(self) -> None:
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("Cache-Control", "no-cache, no-transform")
        # Else nginx collects events.
        self.set_header("X-Accel-Buffering", "no")
        self.begin_body()


class StopHandler(ApiHandler):
    """Stops the answer that is being generated, for all its readers."""

    async def post(self, conversation_id: str) -> None:
        body = self.body(StopAnswer)
        stopped = await self.context.answers.stop(self.actor.companies, parse_id(conversation_id), keep=body.keep)
        self.write_json(Stopped(stopped=stopped))
