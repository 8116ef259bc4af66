"""What all runs of a process have in common."""

from __future__ import annotations

from dataclasses import dataclass

from chatserver.live.following import Following
from chatserver.live.sharing import Sharing
from chatserver.live.store import AnswerStore
from chatserver.metrics import Metrics


@dataclass(frozen=True, slots=True)
class RunContext:
    """`sharing` and `following` bring answers to the readers of other processes, and theirs here."""

    store: AnswerStore
    sharing: Sharing
    following: Following
    metrics: Metrics
    resume_grace_seconds: float
    max_answer_chars: int
