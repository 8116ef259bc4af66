"""What a client asks of a stream."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from chatserver.live.outcomes import NOBODY, Askers
from chatserver.live.store import Companies, WhenBusy, includes
from chatserver.sse import EventId


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """What a client asks of a stream, and what it may.

    `trigger_id` None: the newest user message. `resume`: the event id that the client has. `reset`: it has an id that
    is not one of ours. `continues`: the answer shall be generated to its end even if all readers leave; `asked_by` is
    the token on whose behalf, None: the client needs none. `begins_in`: the companies in which it may begin an answer,
    and have one continue; None: all that it can see.
    """

    trigger_id: UUID | None = None
    resume: EventId | None = None
    reset: bool = False
    when_busy: WhenBusy = "reject"
    continues: bool = False
    asked_by: UUID | None = None
    begins_in: Companies = None

    @property
    def askers(self) -> Askers:
        """On whose behalf the answer shall go on without readers, where the client may begin one."""
        return frozenset((self.asked_by,)) if self.continues else NOBODY

    def begins(self, company_id: UUID) -> bool:
        """Whether the client may begin an answer in a company that it can see."""
        return includes(self.begins_in, company_id)

    def askers_in(self, company_id: UUID) -> Askers:
        """On whose behalf an answer of that company shall go on without readers."""
        return self.askers if self.begins(company_id) else NOBODY
