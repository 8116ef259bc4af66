"""The log: its two forms, the scrubbing of secrets, and lines that are held back during the start."""

from __future__ import annotations

import json
import logging
import time
import warnings
from datetime import datetime
from typing import Any

import pytest
from tornado.testing import AsyncHTTPTestCase
from tornado.web import Application, RequestHandler

from chatserver import logs
from chatserver.origin import Origin, origin

pytestmark = pytest.mark.usefixtures("logging_as_before")

logger = logging.getLogger("chatserver.test")


Captured = pytest.CaptureFixture[str]


def json_lines(capsys: Captured) -> list[dict[str, Any]]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def text_lines(capsys: Captured) -> list[str]:
    return capsys.readouterr().err.splitlines()


# --- forms -------------------------------------------------------------------------------------------------


def test_json_line_has_all_fields(capsys: Captured) -> None:
    logs.configure("info", "json")
    before = time.time()
    logger.info("one %s", "two\nthrée", extra={"fields": {"count": 3}})
    (line,) = json_lines(capsys)
    moment = line.pop("time")
    assert line == {"level": "info", "logger": "chatserver.test", "message": "one two\nthrée", "count": 3}
    assert moment[-1] == "Z"
    assert len(moment) == len("2025-01-01T00:00:00.000Z")
    assert abs(datetime.fromisoformat(moment).timestamp() - before) < 5


def test_text_line_has_all_fields(capsys: Captured) -> None:
    logs.configure("info", "text")
    logger.warning("careful", extra={"fields": {"count": 3}})
    (line,) = text_lines(capsys)
    assert line.endswith("Z WARNING chatserver.test: careful count=3")


def test_auto_is_json_without_a_terminal(capsys: Captured) -> None:
    logs.configure("info", "auto")
    logger.info("x")
    assert json_lines(capsys)[0]["message"] == "x"


def test_auto_is_text_on_a_terminal(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    logs.configure("info", "auto")
    logger.info("x")
    assert text_lines(capsys)[0].endswith("chatserver.test: x")


@pytest.mark.parametrize("form", ["json", "text"])
def test_line_has_the_id_of_its_request(capsys: Captured, form: Any) -> None:
    logs.configure("info", form)
    token = logs.request_id.set("abc123")
    logger.info("within")
    logs.request_id.reset(token)
    logger.info("outside")
    within, outside = text_lines(capsys)
    assert "abc123" in within
    assert "abc123" not in outside


@pytest.mark.parametrize("form", ["json", "text"])
def test_exception_stays_with_its_line(capsys: Captured, form: Any) -> None:
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


def test_logged_text_cannot_forge_a_line(capsys: Captured) -> None:
    logs.configure("info", "text")
    logger.info("path %s", "/\n2025-01-01T00:00:00.000Z INFO all is well\x1b[2J\r")
    _first, second = text_lines(capsys)
    assert second == "    2025-01-01T00:00:00.000Z INFO all is well\\x1b[2J\\r"


# --- levels ------------------------------------------------------------------------------------------------


def test_level_applies_to_our_lines_and_libraries_log_from_warning_on(capsys: Captured) -> None:
    logs.configure("debug", "json")
    logger.debug("ours")
    logging.getLogger("library").info("chatter")
    logging.getLogger("library").warning("trouble")
    assert [line["message"] for line in json_lines(capsys)] == ["ours", "trouble"]


def test_level_error_drops_warnings_of_libraries(capsys: Captured) -> None:
    logs.configure("error", "json")
    logger.warning("ours")
    logging.getLogger("library").warning("trouble")
    logger.error("bad")
    assert [line["message"] for line in json_lines(capsys)] == ["bad"]


def test_warning_of_the_interpreter_is_logged(capsys: Captured) -> None:
    logs.configure("info", "json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("old ways", UserWarning, stacklevel=1)
        logging.captureWarnings(False)
    (line,) = json_lines(capsys)
    assert "old ways" in line["message"]


def test_task_that_goes_on_without_its_request_knows_nothing_of_it() -> None:
    class Sender:
        client = "192.0.2.1"

    before = logs.request_id.set("r-1"), origin.set(Origin(Sender(), "ann"))
    context = logs.without_request()
    assert (context.run(logs.request_id.get), context.run(origin.get)) == (None, None)
    assert origin.get() is not None
    logs.request_id.reset(before[0])
    origin.reset(before[1])


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
        ("Bearer\thunter2", "Bearer\t…"),
        ("BEARER\nhunter2", "BEARER\n…"),
        ("http://127.0.0.1:8000/a@b", "http://127.0.0.1:8000/a@b"),
        ("/x?limit=3&cursor=abc", "/x?limit=3&cursor=abc"),
        ("Cookie: __Host-chatserver_session=hunter2-x; a", "Cookie: __Host-chatserver_…; a"),
        ("'chatserver_hunter2hunter2ab'", "'chatserver_…'"),
        ('database "chatserver_prod" does not exist', 'database "chatserver_prod" does not exist'),
        ("/etc/chatserver_prod2.toml?a=b", "/etc/chatserver_prod2.toml?a=b"),
        ("chatserver_audit_unrecorded_sign_ins_total 5.0", "chatserver_audit_unrecorded_sign_ins_total 5.0"),
        ("chatserver_audit_unrecorded_sign_ins_A", "chatserver_…"),
        ("chatserver.access: chatserver/app.py", "chatserver.access: chatserver/app.py"),
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


@pytest.mark.parametrize(
    "piece", ["token", "?token", "&key=", "a://b:", "password='", "Bearer ", "%", "%2563", "chatserver", "chatserver_"]
)
def test_hostile_text_is_scrubbed_quickly(piece: str) -> None:
    started = time.perf_counter()
    logs.scrub("?" + piece * (200_000 // len(piece)))
    assert time.perf_counter() - started < 2


# --- the start ---------------------------------------------------------------------------------------------


def test_held_lines_are_written_after_the_start(capsys: Captured) -> None:
    logs.configure("info", "json", hold=True)
    logger.info("starting")
    assert logs.holding()
    assert json_lines(capsys) == []
    logs.release()
    assert not logs.holding()
    logger.info("running")
    assert [line["message"] for line in json_lines(capsys)] == ["starting", "running"]


def test_oldest_held_lines_are_lost_first(capsys: Captured) -> None:
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


def _log_request(handler: RequestHandler) -> None:
    request = handler.request
    logs.log_request(request.method or "", request.path, handler.get_status(), request.request_time())


class LogRequestTest(AsyncHTTPTestCase):
    def get_app(self) -> Application:
        routes = [(r"/(\d+)", _Handler), (r"/healthz()", _Health)]
        return Application(routes, log_function=_log_request)

    @pytest.fixture(autouse=True)
    def _capture(self, capsys: Captured) -> None:
        self.capsys = capsys

    def line(self, path: str) -> dict[str, Any]:
        logs.configure("debug", "json")
        self.fetch(path)
        (line,) = json_lines(self.capsys)
        return line

    def test_request_is_logged_without_its_query(self) -> None:
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

    def test_client_error_is_not_logged_as_error(self) -> None:
        assert self.line("/404")["level"] == "info"

    def test_server_error_is_logged_as_error(self) -> None:
        assert self.line("/503")["level"] == "error"

    def test_health_checks_are_logged_at_debug(self) -> None:
        assert self.line("/healthz")["level"] == "debug"


class _Health(RequestHandler):
    def get(self, _nothing: str) -> None:
        self.set_status(503)
