"""The server beside its API: the page's files, health and metrics."""

from __future__ import annotations

import contextlib
import gzip
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import brotli
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text
from tornado.web import Application

from chatserver.app import App
from chatserver.web.assembly import make_application
from chatserver.web.page.codings import preferred_coding
from chatserver.web.page.page_files import PAGE_FOLDER, Page, load_files, slimmed
from tests.kit.http_client import Client
from tests.web.conftest import Api

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

KEEP = "public, max-age=31536000, immutable"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A page of the test's own, and a secret beside it."""
    page = tmp_path / "page"
    (page / "js").mkdir(parents=True)
    (page / "index.html").write_text(
        '<!doctype html><title>é</title><script type="module" src="/static/js/app.js"></script>', encoding="utf-8"
    )
    (page / "help.html").write_text('<link rel="stylesheet" href="/static/style.css">' * 9, encoding="utf-8")
    (page / "js" / "app.js").write_text("let a;\n", encoding="utf-8")
    (page / "style.css").write_text("body { margin: 0 }\n" * 20, encoding="utf-8")
    (page / "icon.svg").write_text("<svg/>", encoding="utf-8")
    (page / "notes.py").write_text("secret", encoding="utf-8")
    (page / ".hidden").write_text("secret", encoding="utf-8")
    (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
    return page


@pytest.fixture
def app(chat: App, folder: Path) -> Application:
    return make_application(replace(chat.context, page=Page(folder)))


# --- the page ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/?x=1", "/c/", "/c/01a2066c-ab45-7b03-90cb-32bab075e0f7", "/c/a/b", "/c/%ff"])
async def test_page_is_served(api: Api, folder: Path, path: str) -> None:
    answer = await api.get(path)
    version = load_files(folder).version
    assert answer.status == 200
    assert answer.body == (folder / "index.html").read_bytes().replace(b"/static/", f"/static/{version}/".encode())
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["X-Request-Id"]
    assert "Server" not in answer.headers


async def test_help_is_served_as_the_page_is(api: Api, folder: Path) -> None:
    answer = await api.get("/help")
    version = load_files(folder).version
    assert answer.status == 200
    assert answer.body == (folder / "help.html").read_bytes().replace(b"/static/", f"/static/{version}/".encode())
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert answer.headers["Cache-Control"] == "no-cache"
    again = await api.get("/help", If_None_Match=answer.headers["Etag"])
    assert (again.status, again.body) == (304, b"")
    assert (await api.get("/help/x")).error == (404, "Not found")


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("js/app.js", "text/javascript; charset=utf-8"),
        ("style.css", "text/css; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
        ("index.html", "text/html; charset=utf-8"),
    ],
)
async def test_files_of_the_page_are_served(api: Api, folder: Path, name: str, content_type: str) -> None:
    files = load_files(folder)
    path = f"/static/{files.version}/{name}"
    answer = await api.get(path)
    assert (answer.status, answer.body) == (200, files.by_name[name].content)
    assert name == "index.html" or answer.body == (folder / name).read_bytes()
    assert answer.headers["Content-Type"] == content_type
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert answer.headers["Cache-Control"] == KEEP
    again = await api.get(path, If_None_Match=answer.headers["Etag"])
    assert (again.status, again.body) == (304, b"")
    for header in ("Etag", "Cache-Control", "Vary"):
        assert again.headers[header] == answer.headers[header]
    changed = await api.get(path, If_None_Match='"other"')
    assert changed.body == answer.body
    head = await api.request("HEAD", path)
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(answer.body)))


@pytest.mark.parametrize("version", ["", "0123456789ab/"])
async def test_file_of_another_version_is_served_but_not_kept(api: Api, folder: Path, version: str) -> None:
    """A page may ask an older or a newer server than the one that it came from."""
    answer = await api.get(f"/static/{version}js/app.js")
    assert (answer.status, answer.body) == (200, (folder / "js" / "app.js").read_bytes())
    assert answer.headers["Cache-Control"] == "no-cache"
    again = await api.get(f"/static/{version}js/app.js", If_None_Match=answer.headers["Etag"])
    assert again.status == 304


def test_version_changes_with_each_file(folder: Path) -> None:
    versions = [load_files.__wrapped__(folder).version]
    for name in ("index.html", "js/app.js", "style.css", "icon.svg"):
        with (folder / name).open("a", encoding="utf-8") as file:
            file.write("<!-- -->")
        versions.append(load_files.__wrapped__(folder).version)
    (folder / "icon.svg").rename(folder / "other.svg")
    versions.append(load_files.__wrapped__(folder).version)
    assert len(set(versions)) == 6
    (folder / "notes.py").write_text("not a file of the page", encoding="utf-8")
    assert load_files.__wrapped__(folder).version == versions[-1]


DECOMPRESS = {"br": brotli.decompress, "gzip": gzip.decompress}


@pytest.mark.parametrize("path", ["/", "/help", "/static/style.css", "/static/{version}/style.css"])
@pytest.mark.parametrize("coding", ["br", "gzip"])
async def test_page_is_sent_compressed(api: Api, folder: Path, coding: str, path: str) -> None:
    (folder / "index.html").write_text("<p>The same.</p>\n" * 100, encoding="utf-8")
    path = path.format(version=load_files(folder).version)
    plain = await api.get(path)
    assert "Content-Encoding" not in plain.headers
    assert plain.headers["Vary"] == "Accept-Encoding"
    answer = await api.get(path, Accept_Encoding=coding)
    assert answer.headers["Content-Encoding"] == coding
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert answer.headers["Content-Type"] == plain.headers["Content-Type"]
    assert answer.headers["Content-Length"] == str(len(answer.body))
    assert len(answer.body) < len(plain.body)
    assert DECOMPRESS[coding](answer.body) == plain.body

    head = await api.request("HEAD", path, headers={"Accept-Encoding": coding})
    assert head.headers["Content-Length"] == str(len(answer.body))
    etag = answer.headers["Etag"]
    assert etag != plain.headers["Etag"]
    again = await api.get(path, Accept_Encoding=coding, If_None_Match=f'"other", {etag}')
    assert (again.status, again.body, again.headers["Etag"]) == (304, b"", etag)
    assert "Content-Encoding" not in again.headers
    assert (await api.get(path, If_None_Match=etag)).body == plain.body


async def test_file_that_compression_makes_longer_is_sent_as_it_is(api: Api) -> None:
    answer = await api.get("/static/icon.svg", Accept_Encoding="br, gzip")
    assert (answer.body, answer.headers.get("Content-Encoding")) == (b"<svg/>", None)


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("", "identity"),
        ("br", "br"),
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("GZIP", "gzip"),
        ("gzip, deflate, br, zstd", "br"),
        ("gzip;q=1.0, br;q=0.5", "gzip"),
        ("gzip ; q=0.8 ,br;Q=0.8", "br"),
        ("br;q=0, gzip;q=0.001", "gzip"),
        ("br;q=0,gzip;q=0", "identity"),
        ("*", "br"),
        ("*;q=0.5, br;q=0.1", "gzip"),
        ("*;q=0", "identity"),
        ("identity;q=0", "identity"),
        ("identity, gzip;q=0.5", "identity"),
        ("identity;q=0.5, gzip", "gzip"),
        ("identity;q=0.5, gzip;q=0.5", "gzip"),
        ("deflate, zstd", "identity"),
        ("br;q=2, br;level=3, b r, ;q=1, gzip;q=nan", "identity"),
    ],
)
def test_coding_is_the_one_that_the_client_prefers(accepted: str, coding: str) -> None:
    assert preferred_coding(accepted, ("identity", "br", "gzip")) == coding
    assert preferred_coding(accepted, ("identity",)) == "identity"


@pytest.mark.parametrize(
    "name",
    [
        "nowhere.js",
        "js",
        "js/",
        "notes.py",
        ".hidden",
        "../secret.txt",
        "..%2fsecret.txt",
        "%2e%2e/secret.txt",
        "js/../../secret.txt",
        "js%2f..%2f..%2fsecret.txt",
        "js/../style.css",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "style.css%00.js",
        "..\\secret.txt",
        "STYLE.CSS",
    ],
)
async def test_nothing_else_is_served(api: Api, name: str) -> None:
    answer = await api.get(f"/static/{name}")
    assert answer.error == (404, "Not found")


async def test_file_name_that_is_not_utf_8_is_malformed(api: Api) -> None:
    assert (await api.get("/static/%ff")).error == (400, "Malformed path")


async def test_page_that_could_not_be_read_is_read_when_it_is_asked_for_again(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "js" / "app.js").write_text('import "./later.js";\n', encoding="utf-8")
    page = Page(folder)
    with pytest.raises(ValueError, match="which is not there"):
        await page.files()
    assert [record.getMessage() for record in caplog.records] == [
        "the chat page cannot be read: js/app.js imports js/later.js, which is not there"
    ]
    (folder / "js" / "later.js").write_text("let later;\n", encoding="utf-8")
    assert "js/later.js" in (await page.files()).by_name


def test_package_has_a_page() -> None:
    assert {"index.html", "help.html"} <= set(load_files(PAGE_FOLDER).by_name)


def test_page_names_joined_files(tmp_path: Path) -> None:
    """What went into them is still there for pages of other versions, as it is."""
    (tmp_path / "index.html").write_text(
        '<link rel="stylesheet" href="/static/a.css">\n<link rel="stylesheet" href="/static/b.css">\n'
        '<script type="module" src="/static/main.js"></script>\n',
        encoding="utf-8",
    )
    for name in ("a.css", "b.css", "main.js", "part.js"):
        (tmp_path / name).write_text(f"/* {name} */ {{}}\n" * 50, encoding="utf-8")
    (tmp_path / "main.js").write_text('import "./part.js";\n', encoding="utf-8")
    loaded = load_files(tmp_path)
    prefix = f"/static/{loaded.version}".encode()
    assert loaded.by_name["index.html"].content == (
        b'<link rel="stylesheet" href="%b/index-all.css">\n<script type="module" src="%b/main.js"></script>\n'
        % (prefix, prefix)
    )
    assert loaded.by_name["part.js"].content in loaded.by_name["main.js"].content
    compressed = {name for name, file in loaded.by_name.items() if "br" in file.forms}
    assert compressed == {"index.html", "index-all.css", "main.js"}


@pytest.mark.parametrize(
    ("suffix", "source", "sent"),
    [
        (".js", "/** What. */\nlet a;\n", "let a;\n"),
        (".js", "\t/**\n\t * @param {X} x\n\t **/\n\tlet a;\n", "let a;\n"),
        (".js", "// one\n\t// two\nlet a; // three\n", "let a; // three\n"),
        (".js", "/** @type {X} */ (a).b(); /* c */\n", "/** @type {X} */ (a).b(); /* c */\n"),
        (".js", '"/*";\nlet a;\n"*/";\n', '"/*";\nlet a;\n"*/";\n'),
        (".js", "let a;\n\n \t\nlet b;\n", "let a;\nlet b;\n"),
        (".js", "if (a) {\n\t\tb('\tc');\n\t}\n", "if (a) {\nb('\tc');\n}\n"),
        (".css", "/* a */\nb {}\n// c\n", "b {}\n// c\n"),
        (".css", "a {}\n\n/* b */\n\nb {}\n", "a {}\nb {}\n"),
        (".css", "@media x {\n\ta {}\n}\n", "@media x {\na {}\n}\n"),
        (".html", "<!-- a -->\n/* b */\n", "<!-- a -->\n/* b */\n"),
    ],
)
def test_comments_and_indents_are_not_sent(suffix: str, source: str, sent: str) -> None:
    assert slimmed(source.encode(), suffix).decode() == sent


# --- health -----------------------------------------------------------------------------------------------


async def test_health_is_reported(api: Api) -> None:
    for path in ("/healthz", "/readyz"):
        answer = await api.get(path)
        assert (answer.status, answer.json) == (200, {"status": "ok"})
        assert answer.headers["Cache-Control"] == "no-store"


async def test_draining_process_is_not_ready(api: Api, chat: App) -> None:
    chat.begin_drain()
    answer = await api.get("/readyz")
    assert answer.error == (503, "Shutting down")
    assert int(answer.headers["Retry-After"]) >= 1
    assert (await api.get("/healthz")).status == 200


async def test_silent_database_makes_the_process_unready(api: Api, chat: App) -> None:
    """It is told in time, and on another connection when that answers."""
    asked = text("SELECT pg_backend_pid()")
    backend = await chat._probe.autocommit(lambda connection: connection.execute(asked).scalar_one())
    os.kill(backend, signal.SIGSTOP)
    try:
        assert (await api.get("/readyz")).error == (503, "The database is not available")
        assert (await api.get("/readyz")).status == 200
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(backend, signal.SIGCONT)


async def test_metrics_count_requests_by_handler(api: Api) -> None:
    conversation = await api.conversation()
    await api.get(conversation)
    await api.get(f"{conversation}/x")
    answer = await api.get("/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    samples: dict[tuple[str, ...], Any] = {}
    for family in text_string_to_metric_families(answer.body.decode()):
        for sample in family.samples:
            if sample.name == "chatserver_requests_total":
                samples[tuple(sample.labels[name] for name in ("handler", "method", "status"))] = sample.value
    assert samples == {
        ("ConversationsHandler", "POST", "201"): 1,
        ("ConversationHandler", "GET", "200"): 1,
        ("NotFoundHandler", "GET", "404"): 1,
    }


async def test_metrics_label_each_action_on_a_conversation(api: Api, chat: App) -> None:
    conversation = await api.conversation()
    verbs = ("restore", "archive", "unarchive", "pin", "unpin")
    for verb in verbs:
        assert (await api.post(f"{conversation}/{verb}")).status == 200
    registry = chat.context.metrics.registry
    for verb in verbs:
        labels = {"handler": f"{verb.capitalize()}Handler", "method": "POST", "status": "200"}
        assert registry.get_sample_value("chatserver_requests_total", labels) == 1, verb


# --- a database that is away ------------------------------------------------------------------------------


class TestWithoutADatabase:
    @pytest.fixture
    def app(self, make_chat: Callable[[str], App], tmp_path: Path) -> Application:
        return make_chat(f"postgresql://chat@/chat?host={tmp_path}").web

    async def test_process_without_database_is_alive_but_not_ready(self, client: Client) -> None:
        api = Api(client)
        assert (await api.get("/healthz")).status == 200
        assert (await api.get("/")).status == 200
        for answer in (
            await api.get("/readyz"),
            await api.get(api.conversations),
            await api.post(api.conversations, {}),
            await api.get(f"/api/conversations/{api.company}"),
        ):
            assert answer.error == (503, "The database is not available")
            assert int(answer.headers["Retry-After"]) >= 1
