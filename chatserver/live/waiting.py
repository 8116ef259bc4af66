"""The steps of a run that wait: for its turn, for another process, for a moment."""

from __future__ import annotations

import asyncio
import contextlib

from chatserver.live import steps
from chatserver.live.following import POLL_SECONDS, Following
from chatserver.live.journal import Journal
from chatserver.live.outcomes import Ended, Orphaned, Stored
from chatserver.live.queue import ConversationQueue, Q
from chatserver.live.terminal_events import end_of_stored, end_without_answer


async def wait_for_turn(queue: ConversationQueue[Q], run: Q, step: steps.WaitForTurn) -> steps.Step:
    """Wait until the run is the first in the queue of its conversation."""
    await queue.wait_for_turn(run)
    return steps.Claim(back=step)


async def pause(queue: ConversationQueue[Q], step: steps.Pause) -> steps.Step:
    """Wait a moment for a conversation that is busy in another process, or for the database."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(POLL_SECONDS):
            await queue.hint.wait()
    return step.then


async def follow(following: Following, journal: Journal, step: steps.Follow) -> steps.Step:
    """Bring the answer of another process to the readers of `journal`, until that process generates no more."""
    match await following.follow(journal):
        case Stored() as stored:
            return steps.ShowStored(stored)
        case Ended(status="dropped") | Orphaned():
            return steps.Claim(back=step)
        case Ended() as ended:
            return steps.Over("elsewhere", end_without_answer(ended))


def show_stored(journal: Journal, stored: Stored) -> steps.Over:
    """Append the rest of the answer; if readers were shown another text before, tell them to drop it."""
    if stored.edited or (stored.run_id, stored.epoch) != (journal.run_id, journal.epoch):
        journal.reset(stored.run_id, stored.epoch)
    journal.append_token(stored.text[journal.chars :])
    return steps.Over("elsewhere", end_of_stored(stored))
