"""The stream of an answer as Server-Sent Events, and the stop of an answer."""

from __future__ import annotations

import asyncio
import logging
from contextlib import closing
from typing import Annotated, Any, Literal
from uuid import UUID

import tornado.web
from pydantic import Field

from chatserver import sse
from chatserver.errors import ConflictError, TryLaterError
from chatserver.live.options import StreamOptions
from chatserver.live.reader import Reader
from chatserver.live.store import NewMessage, WhenBusy
from chatserver.schema_types import Id, Wire
from chatserver.schemas import StopAnswer, Stopped, StreamMessage
from chatserver.services.access import Need, Role
from chatserver.web.handler_context import HandlerContext
from chatserver.web.http import fast_flush
from chatserver.web.http.base_handler import ApiHandler
from chatserver.web.http.fast_flush import Outlet
from chatserver.web.http.parsing import parse_id
from chatserver.web.http.streaming_handler import StreamingHandler

logger = logging.getLogger(__name__)

_PING = sse.chunk(sse.PING)


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
            "is dropped. `continue`: it is generated to its end and stored, unless all who asked for that lose access. "
            "Ignored where the role is `reader`."
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


class StreamHandler(StreamingHandler, GET=Need.READER, POST=Need.MEMBER):
    """GET follows the answer to a message; POST adds the message first.

    There is one writer, `_pump`. It is called when the answer has more, and when the client takes more, and sends what
    it can. The method that serves the request only waits for the end.
    """

    head = tornado.web.RequestHandler.head

    def initialize(self, context: HandlerContext) -> None:
        super().initialize(context)
        self._reader: Reader | None = None
        """Only there from the opening to the end: before and after, the pump does nothing."""
        self._outlet: Outlet | None = None
        self._over = asyncio.get_running_loop().create_future()
        self._seen_cursor = 0
        self._silent_since = 0.0

    async def get(self, conversation_id: str) -> None:
        options = self._options()
        if options.resume is not None and options.resume.terminal:
            self.write_nothing()
            return
        conversation = parse_id(conversation_id)
        with self.context.streams.admitted(self):
            async with self.context.company_streams.counted(self.actor, conversation):
                self.require_client()
                reader = await self.context.answers.open(self.actor.companies, conversation, options)
                await self._follow(reader)

    def _options(self) -> StreamOptions:
        query = self.query(StreamQuery)
        last_event_id = self._last_event_id()
        resume = None if last_event_id is None else sse.parse_event_id(last_event_id)
        return StreamOptions(
            trigger_id=query.trigger_message_id,
            resume=resume,
            reset=last_event_id is not None and resume is None,
            when_busy=query.when_busy,
            continues=query.on_disconnect == "continue",
            asked_by=self._token(),
            begins_in=self.actor.companies_as(Role.MEMBER),
        )

    def _token(self) -> UUID | None:
        """The token on whose behalf an answer may go on; None: the client needs none."""
        access = self.actor.access
        return None if access is None else access.token_id

    async def post(self, conversation_id: str) -> None:
        message, options, conversation = self._message(), self._options_of_post(), parse_id(conversation_id)
        with self.context.streams.admitted(self):
            async with self.context.company_streams.counted(self.actor, conversation):
                self.require_client()
                reader, trigger_id = await self.context.answers.send(
                    self.actor.companies, conversation, message, options
                )
                del message  # the stream may last for hours
                self.set_header("X-Trigger-Message-Id", str(trigger_id))
                await self._follow(reader)

    def _options_of_post(self) -> StreamOptions:
        query = self.query(PostStreamQuery)
        continues = query.on_disconnect == "continue"
        return StreamOptions(when_busy=query.when_busy, continues=continues, asked_by=self._token())

    def _message(self) -> NewMessage:
        message = self.message_body(StreamMessage)
        return NewMessage(message.content, message.agent_id, self.idempotency_key(), self.actor.author)

    # --- the stream ---------------------------------------------------------------------------------------

    async def _follow(self, reader: Reader) -> None:
        """Send the reader's frames until its end, and close it."""
        with closing(reader):
            outlet = self._begin()
            outlet.write(sse.chunk(reader.opening))
            self.flush()
            fast_flush.forget_heads(self)
            loop = asyncio.get_running_loop()
            self._silent_since = loop.time()
            self._reader = reader
            reader.follow(self._pump)
            self._pump()
            self.look(loop.time())
            try:
                await self._over
            except Exception:
                # The response has begun: it can only be cut off, so that nobody takes it for complete.
                logger.exception("a stream is cut off")
                self.reset()
            finally:
                self._reader = None
        self.end_body()

    def _pump(self) -> None:
        """Send what the reader has, as far as the client takes it. The outlet calls again when it takes more."""
        reader, outlet = self._reader, self._outlet
        if reader is None or outlet is None:
            return
        try:
            while outlet.ready() and (frames := reader.take(outlet.room)):
                ends = reader.at_end
                if ends or len(frames) > 1:
                    # The end of the response leaves together with the last frames.
                    outlet.expect(len(frames) + ends)
                for frame in frames:
                    outlet.write(frame)
                    self.flush()
                if ends:
                    self._stop()
                if not reader.behind:
                    return
            if reader.at_end:
                # The answer has ended without a terminal event: the client comes back.
                self._stop()
        except Exception as error:
            self._stop(error)

    def _stop(self, error: Exception | None = None) -> None:
        """Have the response end."""
        self._reader = None
        if self._over.done():  # the handler was cancelled
            return
        if error is None:
            self._over.set_result(None)
        else:
            self._over.set_exception(error)

    def flush(self, include_footers: bool = False) -> asyncio.Future[None]:
        if self._outlet is None:
            return super().flush(include_footers)
        return self._outlet.flush(include_footers)

    def wake(self) -> None:
        if self._reader is not None:
            self._stop()

    def look(self, now: float) -> None:
        super().look(now)
        reader, outlet = self._reader, self._outlet
        if reader is None or outlet is None:
            return
        if self.gone or outlet.closed:
            self._stop()
        elif self.context.streams.closing and not reader.behind:
            outlet.write(sse.chunk(sse.come_back()))
            self._stop()
        elif self._needs_ping(now, reader) and not outlet.blocked:
            self._silent_since = now
            outlet.write(_PING)
            self.flush()

    def access_lost(self) -> None:
        """End the response without an event: the client comes back, and is asked who it is.

        Before there is an answer to follow, or while the client takes nothing, the connection is cut.
        """
        if self._over.done():
            return
        if self._reader is None or self._outlet is None or self._outlet.blocked:
            super().access_lost()
        else:
            self._stop()

    def _needs_ping(self, now: float, reader: Reader) -> bool:
        """Whether at the next look the silence could be longer than `ping_seconds`."""
        look_seconds = self.context.streams.look_seconds
        if self._seen_cursor != reader.cursor:
            # The last frame may have left right after the look before.
            self._seen_cursor, self._silent_since = reader.cursor, now - look_seconds
        return now + look_seconds - self._silent_since >= self.context.settings.ping_seconds

    def on_finish(self) -> None:
        super().on_finish()
        self._outlet = None

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
        outlet = self._begin()
        outlet.write(sse.chunk(sse.OK + sse.come_back()))
        self.flush()
        self.end_body()

    def _last_event_id(self) -> str | None:
        """The event id that the client has, in the header or in the query; the header wins."""
        in_query = self.request.query_arguments.get("lastEventId", [b""])[-1].decode("ascii", "replace")
        return self.request.headers.get("Last-Event-ID") or in_query or None

    def _begin(self) -> Outlet:
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("Cache-Control", "no-cache, no-transform")
        # Else nginx collects events.
        self.set_header("X-Accel-Buffering", "no")
        self.begin_body()
        self._outlet = self.context.fast_flush.outlet(self, super().flush, self._pump)
        return self._outlet


class StopHandler(ApiHandler, POST=Need.MEMBER):
    """Stops the answer that is being generated, for all its readers."""

    async def post(self, conversation_id: str) -> None:
        body = self.body(StopAnswer)
        stopped = await self.context.answers.stop(self.actor.companies, parse_id(conversation_id), keep=body.keep)
        self.write_json(Stopped(stopped=stopped))
