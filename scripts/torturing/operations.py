"""What clients do, each drawn from the seed. Every method is one of the kinds in `options.WORK`."""

from __future__ import annotations

import asyncio
from random import Random

from scripts.torturing.following import Ask, Following
from scripts.torturing.history import Conversation
from scripts.torturing.looking import Looking
from scripts.torturing.viewer import Viewer
from scripts.torturing.world import World

# The byte of the response at which clients hang up: within the head, the opening, or the events.
CUT_BYTES = (1, 6_000)
# A share of all writes whose response the client does not wait for.
HASTY = 0.08


class Operations:
    """The operations of all clients, on the shared conversations."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._history = world.history
        self.following = Following(world)
        self._looking = Looking(world)

    async def do(self, kind: str, random: Random) -> None:
        conversation = await self._world.conversation(random)
        if conversation is None:
            await asyncio.sleep(0.3)
            return
        self._history.counts[f"op {kind}"] += 1
        await getattr(self, f"_{kind}")(random, conversation)

    # --- asking -------------------------------------------------------------------------------------------

    async def _ask(self, random: Random, conversation: Conversation) -> None:
        if (ask := await self._question(random, conversation)) is not None:
            await self.following.to_end(random, ask)

    async def _question(self, random: Random, conversation: Conversation) -> Ask | None:
        """A new question, by one request or by two. None: the message was not taken."""
        with_key = random.random() < 0.5
        if random.random() < 0.5:
            return self.following.ask(random, conversation, keyed=with_key)
        hasty = random.random() < HASTY
        message = await self._world.say(random, conversation, with_key=with_key, hasty=hasty)
        return None if message is None else Ask(conversation, message.id)

    async def _crowd(self, random: Random, conversation: Conversation) -> None:
        message = await self._world.say(random, conversation, with_key=True, hasty=False)
        if message is None:
            return
        when_busy = random.choice(["reject", "reject", "enqueue", "interrupt"])
        draws = [Random(random.getrandbits(64)) for _ in range(random.randint(2, 5))]  # noqa: S311 - no secret
        async with asyncio.TaskGroup() as tasks:
            for draw in draws:
                tasks.create_task(
                    self.following.to_end(draw, Ask(conversation, message.id, when_busy=when_busy), cuts=())
                )

    async def _resume(self, random: Random, conversation: Conversation) -> None:
        cuts = [random.randint(*CUT_BYTES) for _ in range(random.randint(1, 5))]
        if (ask := await self._question(random, conversation)) is not None:
            await self.following.to_end(random, ask, cuts=cuts)

    async def _leave(self, random: Random, conversation: Conversation) -> None:
        cut = random.randint(*CUT_BYTES)
        if (ask := await self._question(random, conversation)) is not None:
            await self.following.once(self._world.server(random), ask, Viewer(), cut)

    async def _enqueue(self, random: Random, conversation: Conversation) -> None:
        await self._busy(random, conversation, "enqueue")

    async def _interrupt(self, random: Random, conversation: Conversation) -> None:
        await self._busy(random, conversation, "interrupt")

    async def _busy(self, random: Random, conversation: Conversation, when_busy: str) -> None:
        cuts = [random.randint(*CUT_BYTES)] if random.random() < 0.4 else []
        if (ask := await self._question(random, conversation)) is not None:
            ask.when_busy = when_busy
            await self.following.to_end(random, ask, cuts=cuts)

    async def _continue(self, random: Random, conversation: Conversation) -> None:
        cut = random.randint(200, 2_000)
        wait = random.uniform(0.0, 4.0)
        ask = await self._question(random, conversation)
        if ask is None:
            return
        ask.continues = True
        stream = await self.following.once(self._world.server(random), ask, Viewer(), cut)
        if stream.status == 200 and ask.trigger is not None:
            await asyncio.sleep(wait)
            await self.following.to_end(random, ask)

    async def _stop(self, random: Random, conversation: Conversation) -> None:
        keep = random.random() < 0.5
        wait = random.uniform(0.05, 1.0)
        reader, stopper = Random(random.getrandbits(64)), Random(random.getrandbits(64))  # noqa: S311 - no secret
        ask = await self._question(random, conversation)
        if ask is None:
            return
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.following.to_end(reader, ask))
            await asyncio.sleep(wait)
            await self._world.change(
                self._world.server(stopper),
                "stop",
                "POST",
                f"/conversations/{conversation.id}/stop",
                conversation.id,
                [conversation.stops],
                body={"keep": keep},
                value="keep" if keep else "discard",
            )

    # --- changing -----------------------------------------------------------------------------------------

    async def _edit(self, random: Random, conversation: Conversation) -> None:
        messages = self._world.messages_of(conversation.id, "user")
        if not messages:
            return
        message = random.choice(messages[-6:])
        content = self._world.text(random)
        path = f"/conversations/{conversation.id}/messages/{message.id}"
        answer = await self._world.change(
            self._world.server(random),
            "edit",
            "PUT",
            path,
            conversation.id,
            [message.edits],
            body={"content": content},
            value=content,
            cut_after=self._haste(random),
        )
        if answer.ok:
            rewound = await self._rewind_to(random, conversation, message.id)
            if rewound:
                await self.following.to_end(random, Ask(conversation, message.id))

    async def _rewind(self, random: Random, conversation: Conversation) -> None:
        messages = self._world.messages_of(conversation.id)
        if messages:
            await self._rewind_to(random, conversation, random.choice(messages[-8:]).id)

    async def _rewind_to(self, random: Random, conversation: Conversation, message_id: str) -> bool:
        answer = await self._world.change(
            self._world.server(random),
            "rewind",
            "POST",
            f"/conversations/{conversation.id}/messages/{message_id}/rewind",
            conversation.id,
            [conversation.moves],
            cut_after=self._haste(random),
        )
        return answer.ok

    async def _restore(self, random: Random, conversation: Conversation) -> None:
        items = await self._looking.messages(self._world.server(random), conversation)
        superseded = [item["id"] for item in items or [] if item["supersededAt"] is not None]
        if superseded:
            await self._world.change(
                self._world.server(random),
                "restore",
                "POST",
                f"/conversations/{conversation.id}/messages/{random.choice(superseded)}/restore",
                conversation.id,
                [conversation.moves],
                value="restore",
                cut_after=self._haste(random),
            )

    async def _delete(self, random: Random, conversation: Conversation) -> None:
        haste, wait = self._haste(random), random.uniform(0.1, 1.5)
        await self._world.change(
            self._world.server(random),
            "delete",
            "DELETE",
            f"/conversations/{conversation.id}",
            conversation.id,
            [conversation.deletions],
            cut_after=haste,
        )
        await asyncio.sleep(wait)
        await self._world.undelete(random, conversation)

    async def _erase(self, random: Random, conversation: Conversation) -> None:
        haste = self._haste(random)
        whole = random.random() < 0.3
        messages = self._world.messages_of(conversation.id)
        if whole:
            await self._world.erase_all(random, conversation, cut_after=haste)
        elif messages:
            message = random.choice(messages[-6:])
            await self._world.change(
                self._world.server(random),
                "erase",
                "DELETE",
                f"/conversations/{conversation.id}/messages/{message.id}",
                conversation.id,
                [message.erasures, conversation.moves],
                cut_after=haste,
            )

    async def _look(self, random: Random, conversation: Conversation) -> None:
        await self._looking.look(random, conversation)

    @staticmethod
    def _haste(random: Random) -> int | None:
        draw, cut = random.random(), random.randint(0, 200)
        return cut if draw < HASTY else None
