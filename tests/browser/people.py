"""A server that asks who is there, and people who sign in to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from playwright.sync_api import Locator, Page, expect

from tests.browser.chat import Chat
from tests.browser.conftest import LAN_HOST, Server
from tests.browser.patient import PatientModel
from tests.conftest import DatabaseMaker
from tests.kit.http_client import COMPANY
from tests.kit.in_thread import in_thread
from tests.kit.server_process import started
from tests.kit.tokens import Token, make_token

OTHER_COMPANY = "00000000-0000-4000-8000-00000000000b"
CONFIGURATION = """
auth = "authenticated"
allowed_hosts = ["{lan_host}"]
default_provider = "patient"

[providers.patient]
kind = "openai"
base_url = "{patient_url}"
model = "patient"
retries = 0

[companies."{company}"]
name = "Acme"
"""


@contextmanager
def guarded_server(make_database: DatabaseMaker, folder: Path, patient: PatientModel) -> Iterator[Server]:
    """A server in the mode `authenticated`, whose calls are those of Mia, a manager."""
    configuration = folder / "chatserver.toml"
    configuration.write_text(CONFIGURATION.format(lan_host=LAN_HOST, patient_url=patient.base_url, company=COMPANY))
    with make_database() as url:
        manager = make_token(url, COMPANY, "manager", name="Mia")
        arguments = ("--config", str(configuration), "--data-dir", str(folder / "data"), "--database-url", url)
        with in_thread(lambda: started(*arguments, log=folder / "log")) as process:
            server = Server(process, url, manager.bearer)
            server.until_rendered("*The renderer is started when it is needed first.*")
            yield server


def token_of(server: Server, name: str, role: str = "member", company: str | UUID | None = COMPANY) -> Token:
    return make_token(server.database_url, company, role, name=name)


class Visit(Chat):
    """The page with what people see of who they are."""

    def __init__(self, page: Page) -> None:
        super().__init__(page)
        self.token = page.get_by_label("Access token")
        self.account = page.get_by_title("Account")

    def sign_in(self, token: Token) -> Visit:
        """Sign in where the page asks for it, and wait until somebody is here."""
        self.token.fill(token.text)
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.account).to_be_attached()
        return self

    def arrive(self, token: Token, path: str = "/") -> Visit:
        """Open an address and sign in."""
        self.page.goto(path)
        return self.sign_in(token)

    def choose_account(self, action: str) -> None:
        """Choose from the account's menu."""
        self.account.click()
        self.item(action).first.click()

    def choose_company(self, name: str) -> None:
        self.account.click()
        self.page.get_by_role("menuitemradio", name=name, exact=True).click()

    def item(self, name: str) -> Locator:
        return self.page.get_by_role("menuitem", name=name)


def stored(page: Page) -> str:
    """All that the page keeps in this browser, except the look, which stays."""
    kept: str = page.evaluate(
        """() => JSON.stringify([localStorage, sessionStorage].map((storage) =>
          Object.entries(storage).filter(([key]) => key !== "chatserver-look")))"""
    )
    return kept
