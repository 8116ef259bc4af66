"""The lines of requests are made and written in the background, with all that holds for other lines."""

from __future__ import annotations

import json
import logging
import os
import threading
from typing import Any

import pytest

from chatserver import logs
from chatserver.logs.output import Output
from chatserver.logs.repeats import TOLD_REFUSALS
from chatserver.logs.writer import WAITING_BYTES

pytestmark = pytest.mark.usefixtures("logging_as_before")

logger = logging.getLogger("chatserver.test")


class Log:
    """A log in the background, whose lines go into a pipe."""

    def __init__(self, form: logging.Formatter) -> None:
        self._reading, writing = os.pipe()
        self.stream = os.fdopen(writing, "w")
        self.output = Output(self.stream, hold=True)
        self.output.setFormatter(form)

    def end(self) -> str:
        """All that was written, after a stop."""
        taken: list[str] = []

        def read() -> None:
            with open(self._reading, closefd=False) as reading:
                taken.append(reading.read())

        reader = threading.Thread(target=read)
        reader.start()
        self.output.finish(10)
        self.stream.close()
        reader.join(10)
        os.close(self._reading)
        return taken[0]

    def end_json(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.end().splitlines()]


def install(form: logging.Formatter | None = None) -> Log:
    log = Log(form or logs.JsonFormatter())
    logging.getLogger().handlers[:] = [log.output]
    logging.getLogger("chatserver").setLevel("INFO")
    logs.release(background=True)
    return log


def test_lines_of_requests_and_others_come_in_their_order() -> None:
    log = install()
    for number in range(500):
        logs.request_id.set(f"id-{number}")
        logs.log_request("GET", f"/{number}", 200, 0.0015)
        logger.info("between %d", number)
    logs.request_id.set(None)
    lines = log.end_json()
    assert [line["requestId"] for line in lines] == [f"id-{number}" for number in range(500) for _ in range(2)]
    assert [line.get("path", line["message"]) for line in lines] == [
        text for number in range(500) for text in (f"/{number}", f"between {number}")
    ]
    assert {key: lines[0][key] for key in ("level", "logger", "message", "method", "path", "status", "ms")} == {
        "level": "info",
        "logger": "chatserver.access",
        "message": "request",
        "method": "GET",
        "path": "/0",
        "status": 200,
        "ms": 1.5,
    }


def test_line_made_in_the_background_looks_like_one_made_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    for form, made in (("json", logs.JsonFormatter()), ("text", logs.TextFormatter())):
        logs.configure("info", form)  # type: ignore[arg-type]
        log_some_requests()
        at_once = capsys.readouterr().err
        log = install(made)
        log_some_requests()
        behind = log.end()
        assert "hunter2" not in at_once + behind
        assert [without_time(line) for line in behind.splitlines()] == [
            without_time(line) for line in at_once.splitlines()
        ]


def log_some_requests() -> None:
    logs.request_id.set("the-id")
    for path in ("/x", '/"ä\x85\\', "/" + "y" * 60_000, "/?token=hunter2"):
        for status, seconds in ((200, 0.25), (404, 0.0), (500, 12_345.6789)):
            logs.log_request('G"T', path, status, seconds)
    logs.request_id.set(None)
    logs.log_request("GET", "/x", 200, 0.1 + 0.2)


def without_time(line: str) -> str:
    return line.replace(line[10:33] if line.startswith('{"time": "') else line[:24], "", 1)


def test_refused_requests_are_counted_and_the_count_is_told_at_the_end() -> None:
    log = install()
    for _ in range(TOLD_REFUSALS + 30):
        logs.log_request("GET", "/api/x", 403, 0.0)
    *told, total = log.end_json()
    assert [line["message"] for line in told] == ["request"] * TOLD_REFUSALS
    assert (total["message"], total["count"], total["status"]) == ("further requests with this status", 30, 403)
    assert "requestId" not in total


def test_burst_that_nobody_reads_is_bounded_and_the_loss_is_told() -> None:
    log = install()
    path, many = "/" + "x" * 7_000, WAITING_BYTES // 7_300 + 200
    for _ in range(many):
        logs.log_request("GET", path, 200, 0.0)
    lost = logs.lost_lines()
    assert 0 < lost <= 200
    lines = log.end_json()
    assert sum("path" in line for line in lines) == many - lost
    assert sum(line.get("lost", 0) for line in lines) == lost


def test_request_below_the_level_is_not_logged() -> None:
    log = install()
    logs.log_request("GET", "/healthz", 503, 0.0)
    assert log.end() == ""
