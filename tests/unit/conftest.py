"""What the unit tests share."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from hypothesis import settings

# How long a single example takes says something about the machine's other work only.
settings.register_profile("chatserver", deadline=None)
settings.load_profile("chatserver")


@pytest.fixture
def no_error_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A test that expects one clears the log."""
    yield
    assert [record for record in caplog.get_records("call") if record.levelno >= logging.ERROR] == []
