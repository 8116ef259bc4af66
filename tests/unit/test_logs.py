"""Lines of the log: their two forms, what is scrubbed from them, what is held back until the start is over."""

from __future__ import annotations

import json
import logging
import time
import warnings
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from tornado.testing import AsyncHTTPTestCase
from tornado.web import Application, RequestHandler

from chatserver import logs

logger = logging.getLogger("chatserver.test")


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("chatserver")
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:], root.level, ours.level = before
    logging.captureWarnings(False)


Captured = pytest.CaptureFixture[str]


def json_lines(capsys: Captured) -> list[dict[str, Any]]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def text_lines(capsys: Captured) -> list[str]:
    return capsys.readouterr().err.splitlines()


# --- forms -------------------------------------------------------------------------------------------------


def test_a_json_line(capsys: Captured) -> None:
    logs.configure("info", "json")
    before = time.time()
    logger.info("one %s", "two\nthrée", extra={"fields": {"count": 3}})
    (line,) = json_lines(capsys)
    moment = line.pop("time")
    assert line == {"level": "info", "logger": "chatserver.test", "message": "one two\nthrée", "count": 3}
    assert moment[-1] == "Z"
    assert len(moment) == len("2025-01-01T00:00:00.000Z")
    assert abs(datetime.fromisoformat(moment).timestamp() - before) < 5


def test_a_text_line(capsys: Captured) -> None:
    logs.configure("info", "text")
    logger.warning("careful", extra={"fields": {"count": 3}})
    (line,) = text_lines(capsys)
    assert line.endswith("Z WARNING chatserver.test: careful count=3")


def test_auto_is_json_where_there_is_no_terminal(capsys: Captured) -> None:
    logs.configure("info", "auto")
    logger.info("x")
    assert json_lines(capsys)[0]["message"] == "x"


def test_auto_is_text_on_a_terminal(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    logs.configure("info", "auto")
    logger.info("x")
    assert text_lines(capsys)[0].endswith("chatserver.test: x")


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_line_bears_the_request_it_belongs_to(capsys: Captured, form: Any) -> None:
    logs.configure("info", form)
    token = logs.request_id.set("abc123")
    logger.info("within")
    logs.request_id.reset(token)
    logger.info("outside")
    within, outside = text_lines(capsys)
    assert "abc123" in within
    assert "abc123" not in outside


@pytest.mark.parametrize("form", ["json", "text"])
def test_an_exception_stays_with_its_line(capsys: Captured, form: Any) -> None:
    logs.configure("info", form)
    try:
        raise ValueError("postgresql://chat:hunter2@db/chat does not answer")
    except ValueError:
        logger.exception("it failed")
    first, *rest = text_lines(capsys)
    if form == "json":
        assert rest == []
        assert "ValueError: postgresql://chat:…@db/chat" in json.loads(first)["exception"]
    else:
        assert all(line.startswith("    ") for line in rest)
        assert rest[-1] == "    ValueError: postgresql://chat:…@db/chat does not answer"


def test_nobody_can_forge_a_line(capsys: Captured) -> None:
    logs.configure("info", "text")
    logger.info("path %s", "/\n2025-01-01T00:00:00.000Z INFO all is well\x1b[2J\r")
    _first, second = text_lines(capsys)
    assert second == "    2025-01-01T00:00:00.000Z INFO all is well\\x1b[2J\\r"


# --- levels ------------------------------------------------------------------------------------------------


def test_the_level_is_ours_and_libraries_are_heard_from_warning_on(capsys: Captured) -> None:
    logs.configure("debug", "json")
    logger.debug("ours")
    logging.getLogger("library").info("chatter")
    logging.getLogger("library").warning("trouble")
    assert [line["message"] for line in json_lines(capsys)] == ["ours", "trouble"]


def test_at_error_nothing_less_is_heard(capsys: Captured) -> None:
    logs.configure("error", "json")
    logger.warning("ours")
    logging.getLogger("library").warning("trouble")
    logger.error("bad")
    assert [line["message"] for line in json_lines(capsys)] == ["bad"]


def test_a_warning_of_the_interpreter_is_a_line_too(capsys: Captured) -> None:
    logs.configure("info", "json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("old ways", UserWarning, stacklevel=1)
        logging.captureWarnings(False)
    (line,) = json_lines(capsys)
    assert "old ways" in line["message"]


# --- secrets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("GET /api/x?token=hunter2&limit=3", "GET /api/x?token=…&limit=3"),
        ("uri='/x?a=1&access_token=hunter2'", "uri='/x?a=1&access_token=…'"),
        ("/x?API_KEY=hunter2#f", "/x?API_KEY=…#f"),
        ("/x?client-secret=hunter2 HTTP/1.1", "/x?client-secret=… HTTP/1.1"),
        ("postgresql://chat:hunter2@db.example/chat", "postgresql://chat:…@db.example/chat"),
        ("postgresql://chat:hunter2@hunter2@db.example/chat", "postgresql://chat:…@db.example/chat"),
        ("host=db password=hunter2 user=chat", "host=db password=… user=chat"),
        ("host=db password='hunter2 it\\'s' user=chat", "host=db password=… user=chat"),
        ("Authorization: Bearer hunter2.hunter2-x=", "Authorization: Bearer …"),
        ("http://127.0.0.1:8000/a@b", "http://127.0.0.1:8000/a@b"),
        ("/x?limit=3&cursor=abc", "/x?limit=3&cursor=abc"),
    ],
)
def test_secrets_are_scrubbed(text: str, scrubbed: str) -> None:
    assert logs.scrub(text) == scrubbed


@pytest.mark.parametrize("form", ["json", "text"])
def test_messages_and_fields_are_scrubbed(capsys: Captured, form: Any) -> None:
    logs.configure("info", form)
    url = "http://me:hunter2@models.example"
    logger.info("at %s", url, extra={"fields": {"url": url}})
    (line,) = text_lines(capsys)
    assert line.count("models.example") == 2
    assert "hunter2" not in line


@pytest.mark.parametrize("piece", ["token", "?token", "&key=", "a://b:", "password='", "Bearer "])
def test_scrubbing_a_hostile_text_takes_no_time(piece: str) -> None:
    started = time.perf_counter()
    logs.scrub("?" + piece * (200_000 // len(piece)))
    assert time.perf_counter() - started < 2


# --- the start ---------------------------------------------------------------------------------------------


def test_what_is_held_back_is_written_once_the_start_is_over(capsys: Captured) -> None:
    logs.configure("info", "json", hold=True)
    logger.info("starting")
    assert logs.holding()
    assert json_lines(capsys) == []
    logs.release()
    assert not logs.holding()
    logger.info("running")
    assert [line["message"] for line in json_lines(capsys)] == ["starting", "running"]


def test_of_what_is_held_back_the_oldest_is_lost_first(capsys: Captured) -> None:
    logs.configure("info", "json", hold=True)
    for number in range(1_003):
        logger.info("%d", number)
    logs.release()
    messages = [line["message"] for line in json_lines(capsys)]
    assert (len(messages), messages[0], messages[-1]) == (1_000, "3", "1002")


# --- requests ----------------------------------------------------------------------------------------------


class _Handler(RequestHandler):
    def get(self, status: str) -> None:
        logs.request_id.set("req-1")
        self.set_status(int(status))


class LogRequestTest(AsyncHTTPTestCase):
    def get_app(self) -> Application:
        routes = [(r"/(\d+)", _Handler), (r"/healthz()", _Health)]
        return Application(routes, log_function=logs.log_request)

    @pytest.fixture(autouse=True)
    def _capture(self, capsys: Captured) -> None:
        self.capsys = capsys

    def line(self, path: str) -> dict[str, Any]:
        logs.configure("debug", "json")
        self.fetch(path)
        (line,) = json_lines(self.capsys)
        return line

    def test_a_request_is_logged_without_its_query(self) -> None:
        line = self.line("/200?q=private&token=hunter2")
        assert line.pop("ms") >= 0
        assert line.pop("time")
        assert line == {
            "level": "info",
            "logger": "chatserver.access",
            "message": "request",
            "method": "GET",
            "path": "/200",
            "status": 200,
            "requestId": "req-1",
        }

    def test_what_the_client_did_wrong_is_no_error(self) -> None:
        assert self.line("/404")["level"] == "info"

    def test_what_the_server_did_wrong_is(self) -> None:
        assert self.line("/503")["level"] == "error"

    def test_health_checks_are_for_debugging(self) -> None:
        assert self.line("/healthz")["level"] == "debug"


class _Health(RequestHandler):
    def get(self, _nothing: str) -> None:
        self.set_status(503)
