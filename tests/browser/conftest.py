"""A real server, a real browser, and pages that must not write errors to the console."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright, expect, sync_playwright

from tests.browser.acting_model import ActingModel
from tests.browser.patient import PatientModel, patient_model
from tests.conftest import DatabaseMaker
from tests.kit.http_client import COMPANY
from tests.kit.in_thread import InThread, in_thread
from tests.kit.model_server import HEAD, Call, ModelServer
from tests.kit.server_process import ServerProcess, started
from tests.kit.tokens import Token
from tests.needs import chromium, headless_shell

# Stands for a machine in the LAN: to browsers, plain HTTP is as secure as HTTPS only to the machine itself.
LAN_HOST = "lan.test"
CHROMIUM_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--host-resolver-rules=MAP {LAN_HOST} 127.0.0.1",
)
TIMEOUT_MILLISECONDS = 15_000
# How often rendered messages are asked for; the server takes up to a second to answer without HTML.
RENDERING_ATTEMPTS = 30
# `slow` leaves time to act during an answer; nobody listens at the address of `away`; `thinking` sends reasoning;
# `dictated` says what a test tells it to; `patient` is a PatientModel, `acting` an ActingModel.
CONFIGURATION = """
allowed_hosts = ["{lan_host}"]

[providers.slow]
kind = "echo"
pace_ms = 30

[providers.away]
kind = "openai"
base_url = "http://127.0.0.1:9/v1"
model = "none"

[providers.thinking]
kind = "openai"
base_url = "{thinking_url}"
model = "none"

[providers.dictated]
kind = "openai"
base_url = "{dictated_url}"
model = "none"

[providers.patient]
kind = "openai"
base_url = "{patient_url}"
model = "none"
retries = 0

[providers.acting]
kind = "openai"
base_url = "{acting_url}"
model = "stage"
retries = 0
"""


async def think(call: Call) -> None:
    """Send reasoning before an answer."""
    await call.send(HEAD)
    await call.think("Six times ")
    await call.think("seven.")
    await call.send("Forty-two")
    await call.finish()


@pytest.fixture(scope="session")
def thinking_url() -> Iterator[str]:
    """The base URL of a model that sends reasoning before its answer."""
    with in_thread(lambda: ModelServer(think)) as model:
        yield model.part.base_url


@pytest.fixture(scope="session")
def dictated_model() -> Iterator[InThread[ModelServer]]:
    """A model that says what a test tells it to, when it is told."""
    with in_thread(ModelServer) as model:
        yield model


@pytest.fixture(scope="session")
def patient() -> Iterator[PatientModel]:
    with patient_model() as model:
        yield model


@pytest.fixture(scope="session")
def acting_model() -> Iterator[InThread[ActingModel]]:
    with in_thread(ActingModel) as model:
        yield model


class Server:
    """A running chatserver, and the calls of its API by which tests prepare data."""

    def __init__(
        self, process: InThread[ServerProcess], database_url: str, headers: Mapping[str, str] | None = None
    ) -> None:
        self.url = process.part.url
        self.database_url = database_url
        self._process = process
        self._headers = headers

    def used_by(self, token: Token) -> Server:
        """The same server; its calls are those of the token's person."""
        return Server(self._process, self.database_url, token.bearer)

    def call(self, method: str, path: str, body: object = None) -> Any:
        response = self._process.run(self._process.part.request(method, f"/api{path}", body, self._headers))
        assert response.status in (200, 201, 204), response
        return response.json if response.body else None

    def create_conversation(self, title: str | None = None, *turns: str, agent_id: str | None = None) -> str:
        """The id of a new conversation with these messages, by a user and an assistant in turn."""
        fields = {"title": title, "agentId": agent_id}
        conversation_id: str = self.call("POST", f"/companies/{COMPANY}/conversations", fields)["id"]
        for index, content in enumerate(turns):
            role = "assistant" if index % 2 else "user"
            self.call("POST", f"/conversations/{conversation_id}/messages", {"role": role, "content": content})
        return conversation_id

    def create_agent(self, name: str, provider: str) -> str:
        fields = {"name": name, "adapterType": "llm", "adapterConfig": {"provider": provider}}
        agent_id: str = self.call("POST", f"/companies/{COMPANY}/agents", fields)["id"]
        return agent_id

    def messages(self, conversation_id: str, query: str = "") -> list[dict[str, Any]]:
        path = f"/conversations/{conversation_id}/messages?limit=200{query}"
        items: list[dict[str, Any]] = self.call("GET", path)["items"]
        return items

    def until_rendered(self, *answers: str) -> None:
        """Wait until the server returns HTML for answers with these texts at once, however busy the machine is."""
        conversation_id = self.create_conversation(None)
        for content in answers:
            self.call("POST", f"/conversations/{conversation_id}/messages", {"role": "assistant", "content": content})
        for _ in range(RENDERING_ATTEMPTS):
            if all(message["html"] is not None for message in self.messages(conversation_id, "&render=html")):
                break
        else:
            raise AssertionError("the server renders nothing")
        self.call("DELETE", f"/conversations/{conversation_id}")


@pytest.fixture(scope="module")
def server(
    make_database: DatabaseMaker,
    tmp_path_factory: pytest.TempPathFactory,
    thinking_url: str,
    dictated_model: InThread[ModelServer],
    patient: PatientModel,
    acting_model: InThread[ActingModel],
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    configuration = folder / "chatserver.toml"
    urls = {
        "thinking_url": thinking_url,
        "dictated_url": dictated_model.part.base_url,
        "patient_url": patient.base_url,
        "acting_url": acting_model.part.base_url,
    }
    configuration.write_text(CONFIGURATION.format(lan_host=LAN_HOST, **urls))
    with make_database() as database_url:
        arguments = ("--config", str(configuration), "--data-dir", str(folder / "data"), "--database-url", database_url)
        with in_thread(lambda: started(*arguments, log=folder / "log")) as process:
            server = Server(process, database_url)
            server.until_rendered("*The renderer is started when it is needed first.*")
            yield server


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    expect.set_options(timeout=TIMEOUT_MILLISECONDS)
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def browser(playwright: Playwright) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=headless_shell(), args=CHROMIUM_ARGUMENTS)
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def whole_browser(playwright: Playwright) -> Iterator[Browser]:
    """For what a browser without windows lacks: icons of tabs, and notifications."""
    browser = playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_ARGUMENTS)
    yield browser
    browser.close()


@dataclass
class Complaints:
    """Errors and warnings on the consoles of all pages, policy violations included. Tests expect none."""

    texts: list[str]
    lost_requests_expected: bool = False

    def forgive(self) -> None:
        """Forget what was complained about so far. The browser reports requests that failed by itself, and late: from
        now on such reports are no complaints either."""
        self.texts.clear()
        self.lost_requests_expected = True

    @property
    def unexpected(self) -> list[str]:
        if not self.lost_requests_expected:
            return self.texts
        return [text for text in self.texts if not ("Failed to load resource" in text or "net::ERR_" in text)]

    def watch(self, page: Page) -> None:
        def on_console(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                self.texts.append(f"{message.text} ({message.location})")

        page.on("console", on_console)
        page.on("pageerror", lambda error: self.texts.append(str(error)))


@pytest.fixture
def complaints() -> Iterator[Complaints]:
    """Tests that expect complaints forgive them after they have checked them."""
    complaints = Complaints([])
    yield complaints
    assert complaints.unexpected == []


OpenContext = Callable[..., BrowserContext]


@pytest.fixture
def open_context(browser: Browser, server: Server, complaints: Complaints) -> Iterator[OpenContext]:
    """Returns a function that opens a separate browser profile; its options are those of Playwright's `new_context`."""
    contexts: list[BrowserContext] = []

    def open_one(**options: Any) -> BrowserContext:
        context = browser.new_context(**{"base_url": server.url, **options})
        context.set_default_timeout(TIMEOUT_MILLISECONDS)
        context.on("page", complaints.watch)
        contexts.append(context)
        return context

    yield open_one
    for context in contexts:
        context.close()


@pytest.fixture
def context(open_context: OpenContext) -> BrowserContext:
    return open_context()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()
