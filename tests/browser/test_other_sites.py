"""A page of another server on this machine, in a real browser: it reaches nothing, whatever it embeds or links to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.chat import Chat
from tests.browser.conftest import Complaints, OpenContext, Server

pytestmark = pytest.mark.browser


class OtherSite(BaseHTTPRequestHandler):
    """An empty page at every path."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>Other</title>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def other_url() -> Iterator[str]:
    """The address of another server on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), OtherSite) as site:
        thread = threading.Thread(target=site.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{site.server_port}"
        site.shutdown()
        thread.join()


@pytest.fixture
def context(open_context: OpenContext) -> BrowserContext:
    return open_context()


@pytest.fixture
def other_page(context: BrowserContext, other_url: str, complaints: Complaints) -> Iterator[Page]:
    """A page of that server. The browser complains of what it may not load."""
    page = context.new_page()
    page.goto(other_url)
    yield page
    page.close()
    complaints.forgive()


def is_answered(server: Server, conversation_id: str) -> bool:
    """Whether the question has an answer, or one is being generated, if only for a while without readers."""
    active = server.call("GET", f"/conversations/{conversation_id}")["activeRun"]
    return active is not None or len(server.messages(conversation_id)) > 1


@pytest.mark.parametrize("element", ["img", "script", "iframe", "link"])
def test_embedded_stream_starts_no_answer(other_page: Page, server: Server, element: str) -> None:
    conversation_id = server.create_conversation("Asked", "a question")
    other_page.evaluate(
        """([name, url]) => new Promise((done) => {
            const element = document.createElement(name);
            if (name === "link") element.rel = "stylesheet";
            element[name === "link" ? "href" : "src"] = url;
            element.onload = element.onerror = done;
            document.documentElement.append(element);
        }).then(() => null)""",
        [element, f"{server.url}/api/conversations/{conversation_id}/stream"],
    )
    assert not is_answered(server, conversation_id)


def test_link_to_a_stream_starts_no_answer(other_page: Page, server: Server) -> None:
    conversation_id = server.create_conversation("Asked", "a question")
    address = f"{server.url}/api/conversations/{conversation_id}/stream"
    with other_page.expect_navigation() as caught:
        other_page.evaluate("url => { location.href = url; }", address)
    assert caught.value is not None
    assert caught.value.status == 403
    typed = other_page.goto(address)
    assert typed is not None
    assert typed.status == 403
    assert not is_answered(server, conversation_id)


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/", "/static/index.html", "/nowhere", "/api/session"])
def test_no_response_can_be_embedded(other_page: Page, server: Server, path: str) -> None:
    loads = "url => fetch(url, {mode: 'no-cors'}).then(() => 'loaded', () => 'blocked')"
    assert other_page.evaluate(loads, f"{server.url}{path}") == "blocked"


def test_link_to_the_page_works_and_gives_no_hold_on_its_window(
    context: BrowserContext, other_page: Page, server: Server
) -> None:
    conversation_id = server.create_conversation("Asked", "a question")
    with context.expect_page() as opened:
        other_page.evaluate("url => { window.held = window.open(url); }", f"{server.url}/c/{conversation_id}")
    expect(Chat(opened.value).messages).to_have_count(1)
    assert opened.value.evaluate("window.opener") is None
    assert other_page.evaluate("window.held.closed") is True
