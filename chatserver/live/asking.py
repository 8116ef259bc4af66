"""What a client asks for, as the runs of this process and the store see it."""

from __future__ import annotations

from uuid import UUID

from chatserver.live.options import StreamOptions
from chatserver.live.queue import ConversationQueue
from chatserver.live.run import Run
from chatserver.live.store import Companies, NewMessage, OpenRequest, includes


def find_run(queue: ConversationQueue[Run], companies: Companies, options: StreamOptions) -> Run | None:
    """The run that the client means, if it is in this process: then the database need not be asked."""
    for run in queue.runs:
        if options.resume is not None:
            # The id of an event names its run.
            found = options.resume.run_id == run.journal.run_id
        else:
            found = options.trigger_id is not None and options.trigger_id == run.key.trigger_id
        if found and includes(companies, run.key.company_id):
            return run
    return None


def open_request(
    queue: ConversationQueue[Run],
    companies: Companies,
    conversation_id: UUID,
    options: StreamOptions,
    message: NewMessage | None,
) -> OpenRequest:
    runs = queue.runs
    return OpenRequest(
        companies=companies,
        conversation_id=conversation_id,
        trigger_id=options.trigger_id,
        resume=options.resume,
        message=message,
        begins_in=options.begins_in,
        askers=options.askers,
        when_busy=options.when_busy,
        here=[run.key.trigger_id for run in runs],
        wanted_here=any(run.wanted for run in runs),
    )
