"""The checks of a whole history: each takes it, and what is left at the end, and tells what broke the contract."""

from __future__ import annotations

from scripts.torturing.checks import answers, messages, refusals, remains, streams
from scripts.torturing.history import Final, History
from scripts.torturing.options import Options


def check(history: History, final: Final, options: Options) -> None:
    """Add all violations to the history."""
    for part in (messages, streams, answers, refusals, remains):
        part.check(history, final, options)
