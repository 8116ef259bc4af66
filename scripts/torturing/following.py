"""Following answers: one client of a stream, which comes back until it has the end."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from urllib.parse import urlencode

from scripts.torturing import markers
from scripts.torturing.history import Conversation, Message, Post, Stream
from scripts.torturing.servers import Server
from scripts.torturing.viewer import Frames, Viewer
from scripts.torturing.wire import Exchange, LostError
from scripts.torturing.world import World

# Pings come every second. Silence for so long, without a fault, is a violation.
SILENCE_SECONDS = 25.0
# So long a client comes back before it says that it is stuck.
END_SECONDS = 120.0
# After these faults an answer is generated anew by another process; that is measured from their beginning.
TAKEN_OVER = ("kill", "freeze", "partition", "term")


@dataclass(slots=True)
class Ask:
    """What a client wants: the answer to `trigger`, or to a new message `content` (POST …/stream), with its key."""

    conversation: Conversation
    trigger: str | None = None
    content: str | None = None
    key: str | None = None
    when_busy: str = "reject"
    continues: bool = False


class Following:
    """Opens streams and records them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._history = world.history
        self._numbers = itertools.count(1)
        self.open = 0

    def ask(self, random: Random, conversation: Conversation, *, keyed: bool) -> Ask:
        """A new question that POST …/stream sends."""
        content = self._world.text(random)
        self._history.posts[content] = Post(conversation.id, content)
        key = str(uuid.UUID(int=random.getrandbits(128))) if keyed else None
        return Ask(conversation, content=content, key=key)

    async def to_end(
        self, random: Random, ask: Ask, *, cuts: Sequence[int] = (), viewer: Viewer | None = None
    ) -> Stream:
        """Follow until the end of the answer, or a refusal; the client hangs up after each of `cuts` bytes."""
        viewer = viewer or Viewer()
        left = list(cuts)
        deadline = self._history.now() + END_SECONDS
        while True:
            stream = await self.once(self._world.server(random), ask, viewer, left.pop(0) if left else None)
            if stream.end == "terminal":
                if random.random() < 0.5:
                    await self._after_the_end(random, ask.conversation, viewer)
                return stream
            if stream.status is not None and 400 <= stream.status < 500 and stream.status != 429:
                return stream
            if ask.trigger is None and ask.key is None:
                return stream  # it may have been stored; without a key nobody can tell
            if self._history.now() > deadline:
                self._history.violate(
                    "no end", f"viewer {viewer.number} of trigger {ask.trigger} has no end", ask.conversation.id
                )
                return stream
            await asyncio.sleep(random.uniform(0.02, 0.5))

    async def once(self, server: Server, ask: Ask, viewer: Viewer, cut_after: int | None = None) -> Stream:
        """One request, to the end of its response."""
        history = self._history
        stream = Stream(
            next(self._numbers),
            viewer.number,
            server.number,
            ask.conversation.id,
            ask.trigger,
            history.now(),
            method="GET" if ask.trigger else "POST",
            last_id=viewer.last_id,
            when_busy=ask.when_busy,
            continues=ask.continues,
        )
        history.streams.append(stream)
        history.counts["stream"] += 1
        self.open += 1
        exchange = Exchange(server.port, server.connections, cut_after=cut_after, patience_seconds=SILENCE_SECONDS)
        frames = Frames(viewer)
        why = ""
        try:
            await self._begin(exchange, ask, viewer, stream)
            if stream.status == 200:
                await self._read(exchange, frames, stream)
            else:
                why = (await exchange.whole())[:200].decode(errors="replace")
                stream.end = "refused"
        except LostError as error:
            stream.end = "left" if error.why == "left" else "broken"
            if frames.terminals:
                stream.end = "terminal"  # it has seen all
            why = error.why
        finally:
            self.open -= 1
            stream.ended = history.now()
            stream.text = viewer.text
            stream.opened = frames.opened
            stream.terminals = frames.terminals
            stream.disorder = frames.disorder
            await exchange.close()
        if stream.end == "terminal":
            self._learn(stream, viewer)
        what = f"{stream.method} stream #{stream.number} of viewer {viewer.number} at {server.name}"
        how = f"whenBusy={ask.when_busy}{' continue' if ask.continues else ''} after {stream.last_id}"
        end = f"{stream.end} {why} {frames.terminals or ''} with {len(viewer.text)} characters, {viewer.text[:32]!r}"
        history.note(
            ask.conversation.id,
            f"{what}, trigger {stream.trigger}, {how}, since {stream.began:.3f}: {stream.status} {end}",
        )
        return stream

    async def _begin(self, exchange: Exchange, ask: Ask, viewer: Viewer, stream: Stream) -> None:
        query = {"whenBusy": ask.when_busy}
        if ask.continues:
            query["onDisconnect"] = "continue"
        path = f"/api/conversations/{ask.conversation.id}/stream"
        headers = {} if viewer.last_id is None else {"Last-Event-ID": viewer.last_id}
        if ask.trigger is None:
            assert ask.content is not None
            if ask.key is not None:
                headers["Idempotency-Key"] = ask.key
            await exchange.begin("POST", f"{path}?{urlencode(query)}", {"content": ask.content}, headers)
        else:
            query["triggerMessageId"] = ask.trigger
            await exchange.begin("GET", f"{path}?{urlencode(query)}", None, headers)
        stream.status = exchange.status
        stream.head_at = self._history.now()
        if exchange.status == 503 and "retry-after" not in exchange.headers:
            stream.disorder = "503 without Retry-After"
        if ask.trigger is None and exchange.status == 200:
            assert ask.content is not None
            message = exchange.headers.get("x-trigger-message-id")
            if message is None:
                stream.disorder = "no X-Trigger-Message-Id"
            else:
                ask.trigger = stream.trigger = self._world.took(ask.conversation, message, ask.content).id

    async def _read(self, exchange: Exchange, frames: Frames, stream: Stream) -> None:
        while piece := await exchange.piece():
            frames.feed(piece)
            if frames.new_epoch:
                frames.new_epoch = False
                self._taken_over(stream)
        # The response ended in order; only then are its terminal events counted.
        stream.end = "terminal" if frames.terminals else "clean"

    def _taken_over(self, stream: Stream) -> None:
        """Measure from the last fault of a process that generated this answer, if this reader was there already.

        The echo does not say which process it was.
        """
        history = self._history
        message = history.messages.get(stream.trigger or "")
        wordings = [] if message is None else message.wordings
        asked = {marker for text in wordings for marker in markers.found_in(text)}
        processes = {generation.process for generation in history.generations if generation.question in asked}
        for fault in reversed(history.faults):
            if fault.began < stream.began:
                return
            if fault.kind in TAKEN_OVER and fault.process in processes:
                history.takeovers.append(history.now() - fault.began)
                return

    def _learn(self, stream: Stream, viewer: Viewer) -> None:
        """A terminal event names a message: from now on it must be there."""
        message_id = stream.terminals[-1].get("messageId")
        if message_id is not None:
            status = "completed" if stream.terminals[-1]["type"] == "done" else "stopped"
            self._history.messages.setdefault(
                message_id,
                Message(
                    message_id,
                    stream.conversation,
                    "assistant",
                    viewer.text,
                    self._history.now(),
                    reply_to=stream.trigger,
                    status=status,
                ),
            )

    async def _after_the_end(self, random: Random, conversation: Conversation, viewer: Viewer) -> None:
        """The id of a terminal event gets 204, at every process."""
        assert viewer.last_id is not None
        await self._world.call(
            self._world.server(random),
            "after end",
            "GET",
            f"/conversations/{conversation.id}/stream",
            conversation.id,
            headers={"Last-Event-ID": viewer.last_id},
        )
