"""The lines of requests: one each, which is noted when the request ends, and made into a line when it is written."""

from __future__ import annotations

import logging
import time
from typing import NamedTuple

from chatserver.logs.lines import LINE_BYTES, request_id
from chatserver.logs.repeats import ACCESS_LOGGER

HEALTH_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})

# What a line has besides the path.
_OTHER_BYTES = 300


class RequestLine(NamedTuple):
    """What the log says about one request. `at`: when it ended, in seconds since the epoch."""

    at: float
    level: int
    method: str
    path: str
    status: int
    milliseconds: float
    request_id: str | None

    @property
    def size(self) -> int:
        """About how many bytes it will have."""
        return min(len(self.path) + _OTHER_BYTES, LINE_BYTES)

    def record(self) -> logging.LogRecord:
        record = logging.LogRecord(ACCESS_LOGGER, self.level, "", 0, "request", None, None)
        record.created = self.at
        record.fields = {"method": self.method, "path": self.path, "status": self.status, "ms": self.milliseconds}
        return record


def request_line(method: str, path: str, status: int, seconds: float, *, served: bool) -> RequestLine:
    """The line of a request that this context serves, and that ends now. `path`: without the query, which may hold
    private text. `served`: whether a handler responded."""
    if served and path in HEALTH_PATHS:  # a health check answers 503 every few seconds, which is no news
        level = logging.DEBUG
    elif status >= 500:
        level = logging.ERROR
    else:
        level = logging.INFO
    return RequestLine(time.time(), level, method, path, status, round(1000 * seconds, 1), request_id.get())
