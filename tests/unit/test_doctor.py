"""The doctor against a small server on a real socket that has the faults of proxies, one at a time.

Its test against a real chatserver is in tests/process.
"""

from __future__ import annotations

import io
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from chatserver import doctor

COMPANY = "00000000-0000-4000-8000-000000000001"


class Patient(ThreadingHTTPServer):
    """Answers like chatserver, except for the faults in `ills`."""

    daemon_threads = False
    block_on_close = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.ills: set[str] = set()
        self.contents: list[str] = []
        self.deleted: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Patient

    def log_message(self, *_args: object) -> None:
        pass

    def has(self, ill: str) -> bool:
        return ill in self.server.ills

    def answer(self, status: int, body: object = None, headers: dict[str, str] | None = None) -> None:
        text = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(text)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self) -> None:
        if self.path == "/healthz":
            self.answer(200)
        elif self.path == "/readyz":
            self.answer(503 if self.has("not ready") else 200)
        elif self.has("redirects"):
            self.answer(301, headers={"Location": "https://chat.example.org"})
        elif self.has("is something else"):
            self.answer(200, ["hello"])
        elif self.has("refuses the host"):
            self.answer(403, {"error": "Not allowed"})
        elif self.path == "/api/session":
            self.answer(200, {"mode": "local_trusted", "actor": None, "companies": [{"id": COMPANY}]})
        else:
            self.stream()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
        if self.path == f"/api/companies/{COMPANY}/agents":
            self.answer(201, {"id": "agent"})
        elif self.path == f"/api/companies/{COMPANY}/conversations":
            self.answer(201, {"id": "conversation"})
        else:
            assert self.path == "/api/conversations/conversation/messages"
            self.server.contents.append(body["content"])
            self.answer(201, {"id": str(len(self.server.contents) - 1)})

    def do_DELETE(self) -> None:
        self.server.deleted.append(self.path)
        self.answer(204)

    # --- streams

    def stream(self) -> None:
        query = re.fullmatch(r"/api/conversations/conversation/stream\?triggerMessageId=(\d+)(.*)", self.path)
        assert query
        if self.has("has no stream left"):
            self.answer(503, {"error": "Too many streams"}, {"Retry-After": "1"})
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if self.has("changes the type") else "text/event-stream")
        self.send_header("Cache-Control", "no-store" if self.has("rewrites") else "no-cache, no-transform")
        if self.has("compresses"):
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if not self.has("swallows comments"):
            self.chunk(":ok\n\n")
        self.chunk("retry: 1000\nid: x\n\n")
        content = self.server.contents[int(query[1])]
        match query[2]:
            case "":
                self.echo(content)
            case "&onDisconnect=continue":
                self.event({"type": "token", "content": "a"})
            case "&whenBusy=enqueue":
                self.wait()
        self.wfile.write(b"0\r\n\r\n")

    def echo(self, content: str) -> None:
        held = ""
        if self.has("garbles"):
            content = content.replace("07", "70")
        for piece in re.findall(r"\S+|\s+", f"Echo from agent: {content}"):
            frame = "id: x\ndata: " + json.dumps({"type": "token", "content": piece}) + "\n\n"
            time.sleep(0.005)
            held += frame
            if not self.has("buffers") or len(held) > 4_096:
                self.chunk(held)
                held = ""
        if self.has("cuts answers"):
            return
        end = {"type": "error", "error": "The model hung up"} if self.has("fails") else {"type": "done"}
        self.chunk(held)
        self.event(end)

    def wait(self) -> None:
        if self.has("cuts silence"):
            time.sleep(0.1)
        elif self.has("stays silent"):
            time.sleep(1)
        elif self.has("never pings"):
            self.event({"type": "token", "content": "x"})
        else:
            time.sleep(0.1)
            self.chunk(": ping\n\n")

    def event(self, event: dict[str, str]) -> None:
        self.chunk("id: x\ndata: " + json.dumps(event) + "\n\n")

    def chunk(self, text: str) -> None:
        if text:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(text), text.encode()))


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> Iterator[Patient]:
    monkeypatch.setattr(doctor, "PING_SECONDS", 0.5)
    with Patient() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


Report = tuple[bool, list[str]]


def report(url: str) -> Report:
    output = io.StringIO()
    return doctor.examine(url, output), output.getvalue().splitlines()


def test_healthy_server_passes_all_checks(patient: Patient) -> None:
    well, lines = report(patient.url + "/")
    assert well, lines
    assert [line.split(":")[0] for line in lines] == [
        "ok    healthz",
        "ok    readyz",
        "ok    session",
        "ok    conversation",
        "ok    stream",
        "ok    pings",
        "ok    clean-up",
    ]
    assert patient.deleted == ["/api/conversations/conversation?erase=true", "/api/agents/agent"]


@pytest.mark.parametrize(
    ("ill", "problem"),
    [
        ("not ready", "readyz: GET /readyz is answered 503"),
        ("redirects", "session: GET /api/session is redirected to https://chat.example.org"),
        ("is something else", "session: the answer is not chatserver's"),
        ("refuses the host", "session: GET /api/session is answered 403 Not allowed"),
        ("has no stream left", "stream: the stream is answered 503 Too many streams"),
        ("changes the type", "stream: the stream's Content-Type is 'text/html'"),
        ("rewrites", "stream: the stream's Cache-Control lacks no-transform"),
        ("compresses", "stream: the stream comes compressed (gzip)"),
        ("swallows comments", "stream: the stream does not begin with :ok"),
        ("buffers", r"stream: the answer came in \d pieces, not word by word"),
        ("garbles", "stream: the answer came damaged"),
        ("fails", "stream: the answer ends with The model hung up"),
        ("cuts answers", "stream: the answer ends with a cut"),
        ("cuts silence", "pings: a silent stream was cut after 0 s"),
        ("stays silent", "pings: nothing came for 0.5 s"),
        ("never pings", "pings: no ping came within 0 s"),
    ],
)
def test_each_fault_is_named_with_advice(patient: Patient, ill: str, problem: str) -> None:
    patient.ills.add(ill)
    well, lines = report(patient.url)
    assert not well
    place = next(number for number, line in enumerate(lines) if line.startswith("FAIL"))
    assert re.match("FAIL  " + problem.replace("(", r"\(").replace(")", r"\)"), lines[place]), lines
    assert re.match(r"      [a-z]", lines[place + 1])
    assert bool(patient.deleted) == ("session" not in problem), "what was made is removed again"


def unreachable(answer: Callable[[socket.socket], None]) -> list[str]:
    """The doctor's report on a port that sends `answer` to each connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(3):
                connection, _ = listener.accept()
                with connection:
                    answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        well, lines = report(f"http://127.0.0.1:{listener.getsockname()[1]}")
        thread.join()
    assert not well
    return lines


def test_unreachable_server_is_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    well, lines = report(f"http://127.0.0.1:{port}")
    assert not well
    assert "refused" in lines[0]


def test_server_without_http_is_reported() -> None:
    def garbage(connection: socket.socket) -> None:
        connection.recv(1_000)
        connection.sendall(b"220 mail.example ESMTP\x1b[2J\r\n")

    lines = unreachable(garbage)
    assert lines[0].startswith("FAIL  healthz: the connection fails: ")
    assert "\x1b" not in lines[0]


def test_server_without_tls_is_reported(patient: Patient) -> None:
    well, lines = report(patient.url.replace("http:", "https:"))
    assert not well
    assert lines[0].startswith("FAIL  healthz: TLS fails")
