"""The channels of PostgreSQL's NOTIFY on which processes tell each other what is worth a look."""

from __future__ import annotations

from uuid import UUID


def inbox(process: UUID) -> str:
    """Where a process is told of its own runs, and of its turns."""
    return f"chatserver_{process.hex}"


def frames_of(process: UUID) -> str:
    """Where a process tells of the answers that it generates."""
    return f"chatserver_frames_{process.hex}"
