"""Lines of the log have a bound, and what comes too often is counted."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

import pytest

from chatserver import logs
from chatserver.logs.repeats import MAX_KINDS, TOLD_REFUSALS, TOLD_WARNINGS, WINDOW_SECONDS, Repeats

pytestmark = pytest.mark.usefixtures("logging_as_before")

logger = logging.getLogger("chatserver.test")
Captured = pytest.CaptureFixture[str]


# --- length ------------------------------------------------------------------------------------------------

LONG = {
    "path": "/" + "x" * 60_000,
    "beyond ASCII": "世" * 60_000,
    "beyond the plane": "😀" * 60_000,
    "quotes": '"\\' * 30_000,
    "escapes": "\x1b\x00" * 30_000,
    "lines": "a\n" * 30_000,
    "surrogates": "\ud800" * 60_000,
    "huge": "y" * 3_000_000,
}


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("text", LONG.values(), ids=LONG.keys())
def test_line_is_bounded_and_marked_as_cut(capsys: Captured, form: Any, text: str) -> None:
    logs.configure("info", form)
    fields = {"method": "GET", "path": text, "status": 200, "odd": [text, {"deep": text}]}
    try:
        raise ValueError(text)
    except ValueError:
        logger.exception("it failed: %s", text, extra={"fields": fields})
    line = capsys.readouterr().err
    assert len(line.encode("utf-8", "backslashreplace")) <= logs.LINE_BYTES + 1
    assert "characters cut" in line
    if form == "json":
        read = json.loads(line)
        assert (read["level"], read["status"], read["logger"]) == ("error", 200, "chatserver.test")
        assert read["exception"].startswith("Traceback")


@pytest.mark.parametrize("form", ["json", "text"])
def test_short_line_is_whole(capsys: Captured, form: Any) -> None:
    logs.configure("info", form)
    logger.info("m" * 3_000, extra={"fields": {"path": "p" * 3_000}})
    line = capsys.readouterr().err
    assert "m" * 3_000 in line
    assert "p" * 3_000 in line
    assert "cut" not in line


def test_end_of_a_long_exception_is_kept(capsys: Captured) -> None:
    def even(depth: int) -> None:
        odd(depth - 1)

    def odd(depth: int) -> None:
        if depth < 0:
            raise ValueError("the cause")
        even(depth - 1)

    logs.configure("info", "json")
    try:
        even(200)
    except ValueError:
        logger.exception("it failed")
    exception = json.loads(capsys.readouterr().err)["exception"]
    assert exception.startswith("Traceback")
    assert exception.endswith("ValueError: the cause")


def test_secret_in_a_text_that_is_cut_is_scrubbed(capsys: Captured) -> None:
    logs.configure("info", "json")
    for length in (0, 2_000, 8_000, 60_000, 65_520, 65_530, 100_000):
        secrets = "postgresql://chat:hunter2hunter2@db.example/chat?token=hunter2"
        logger.info("%s %s %s", "x" * length, secrets, "y" * length)
    assert "hunter2" not in capsys.readouterr().err


def test_long_line_costs_little(capsys: Captured) -> None:
    logs.configure("info", "json")
    began = time.perf_counter()
    for _ in range(20):
        logger.info("request", extra={"fields": {"path": "/?token=" * 1_000_000}})
    assert time.perf_counter() - began < 4
    capsys.readouterr()


def test_line_that_cannot_be_formatted_is_named(capsys: Captured) -> None:
    logs.configure("info", "json")
    logger.info("%d", "no number")
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["logger"]) == ("warning", "chatserver.test")
    assert "'%d'" in line["message"]


# --- repetition --------------------------------------------------------------------------------------------


def refusal(status: int = 403, level: int = logging.INFO) -> logging.LogRecord:
    record = logging.LogRecord("chatserver.access", level, "", 0, "request", None, None)
    record.fields = {"method": "GET", "path": "/x", "status": status, "ms": 1.0}
    return record


def warning(text: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord("chatserver.test", logging.WARNING, "", 0, text, arguments, None)


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = record.fields  # type: ignore[attr-defined]
    return fields


def test_refused_requests_past_a_rate_are_summed_up_by_status() -> None:
    repeats = Repeats()
    told = [repeats.tell(refusal(), 100.0) for _ in range(1_000)]
    assert told == [True] * TOLD_REFUSALS + [False] * (1_000 - TOLD_REFUSALS)
    assert repeats.tell(refusal(429), 100.0)
    assert repeats.due == 100.0 + WINDOW_SECONDS
    assert repeats.sums(100.0 + WINDOW_SECONDS / 2) == []
    (line,) = repeats.sums(100.0 + WINDOW_SECONDS)
    assert fields_of(line) == {"count": 1_000 - TOLD_REFUSALS, "seconds": WINDOW_SECONDS, "status": 403}
    assert (line.name, line.levelno) == ("chatserver.access", logging.INFO)
    assert repeats.due is None
    assert repeats.tell(refusal(), 110.0)


def test_few_refusals_are_told_and_not_summed_up() -> None:
    repeats = Repeats()
    assert all(repeats.tell(refusal(404), float(second)) for second in range(TOLD_REFUSALS))
    assert repeats.due is None
    assert repeats.sums(1_000.0) == []


def test_requests_that_were_carried_out_are_always_told() -> None:
    repeats = Repeats()
    assert all(repeats.tell(refusal(status), 0.0) for _ in range(1_000) for status in (200, 204, 304))


def test_warning_again_and_again_is_summed_up() -> None:
    repeats = Repeats()
    told = [repeats.tell(warning("database: %s", number), 0.0) for number in range(1_000)]
    assert sum(told) == TOLD_WARNINGS
    assert repeats.tell(warning("another"), 0.0)
    (line,) = repeats.sums(0.0, at_end=True)
    assert "database: %s" in line.getMessage()
    assert fields_of(line)["count"] == 1_000 - TOLD_WARNINGS


def test_warnings_that_are_all_different_are_bounded_too() -> None:
    repeats = Repeats()
    told = [repeats.tell(warning(f"number {number}"), 0.0) for number in range(10 * MAX_KINDS)]
    assert sum(told) <= MAX_KINDS + TOLD_WARNINGS


def test_summary_bears_no_request_id(capsys: Captured) -> None:
    logs.configure("info", "json")
    token = logs.request_id.set("mine")
    access = logging.getLogger("chatserver.access")
    for _ in range(TOLD_REFUSALS + 5):
        access.info("request", extra={"fields": {"status": 400}})
    logs.close()
    logs.request_id.reset(token)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert len(lines) == TOLD_REFUSALS + 1
    assert lines[0]["requestId"] == "mine"
    assert (lines[-1]["count"], lines[-1].get("requestId")) == (5, None)
