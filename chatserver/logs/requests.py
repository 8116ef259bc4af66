"""The lines of requests: one each, which is noted when the request ends, and made into a line when it is written."""

from __future__ import annotations

import json
import logging
import time
from typing import NamedTuple

from chatserver.logs.lines import LINE_BYTES, clean, request_id, time_of
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

    def to_json(self) -> str | None:
        """What `JsonFormatter` makes of the record, in a quarter of the time; None: the line would be too long."""
        level = logging.getLevelName(self.level).lower()
        line = (
            f'{{"time": "{time_of(self.at)}", "level": "{level}", "logger": "{ACCESS_LOGGER}", "message": "request", '
            f'"method": {json.dumps(self.method)}, "path": {json.dumps(clean(self.path))}, '
            f'"status": {self.status}, "ms": {self.milliseconds}'
        )
        line += "}" if self.request_id is None else f', "requestId": {json.dumps(self.request_id)}}}'
        return line if len(line) <= LINE_BYTES else None


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
