"""Taking an answer from a model into the journal, as long as it is wanted."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from chatserver.errors import ProviderError
from chatserver.live.cleaner import TextCleaner, clean_finish
from chatserver.live.demand import Demand
from chatserver.live.journal import Journal
from chatserver.metrics import Metrics
from chatserver.providers.base import Finish, Prompt, Provider, ReasoningDelta, TextDelta

# After so many deltas that were ready at once the loop has a turn, so that readers get them.
DELTAS_PER_TURN = 32


async def generate(
    provider: Provider, prompt: Prompt, journal: Journal, demand: Demand, *, max_chars: int, metrics: Metrics
) -> Finish:
    """The end of the answer, whose pieces are in the journal by then.

    No delta is taken while there is no demand, the end neither; one that was asked for before is held back. Raises
    ProviderError, also for an answer of more than `max_chars` characters and for an empty one. The model's connection
    is closed when this ends, however it does.
    """
    answer, thinking = TextCleaner(), TextCleaner()
    thought = taken = 0
    await demand.resume()
    clock = asyncio.get_running_loop().time
    started = clock()
    async with aclosing(provider.generate(prompt)) as deltas:
        async for delta in deltas:
            if demand.paused:
                await demand.resume()
            if not taken:
                metrics.first_token_seconds.observe(clock() - started)
            taken += 1
            match delta:
                case TextDelta():
                    if text := answer.clean(delta.text):
                        journal.append_text(text)
                        metrics.tokens.inc()
                case ReasoningDelta():
                    if text := thinking.clean(delta.text):
                        thought += len(text)
                        journal.append_reasoning(text)
                case Finish():
                    if rest := answer.rest():
                        journal.append_token(rest)
                    if not journal.chars:
                        raise ProviderError("bad_response", "The model gave an empty answer")
                    return clean_finish(delta)
            if journal.chars > max_chars or thought > max_chars:
                raise ProviderError("answer_too_long", f"The answer is longer than {max_chars} characters")
            if taken % DELTAS_PER_TURN == 0:
                await asyncio.sleep(0)
    raise ProviderError("interrupted", "The model broke off its answer")
