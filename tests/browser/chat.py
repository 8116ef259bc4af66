"""The page as people use it, found by accessible names."""

from __future__ import annotations

import re
import uuid

from playwright.sync_api import Locator, Page, expect

ECHO = "Echo from agent: "
# Whether what scrolls shows its end, for `wait_for_function`.
AT_END = "(node) => node.scrollHeight - node.scrollTop - node.clientHeight < 5"


class Chat:
    """The parts of one page, and what people do with them."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.main = page.get_by_role("main")
        self.sidebar = page.get_by_role("navigation", name="Conversations")
        self.box = page.get_by_role("textbox", name="Message", exact=True)
        self.agent = page.get_by_role("combobox", name="Agent", exact=True)
        self.messages = self.main.get_by_role("article")
        self.alert = page.get_by_role("alert")
        # The menu of the open conversation.
        self.options = page.get_by_role("banner").get_by_role("button", name="Options")
        # The list of pinned conversations; absent if there are none.
        self.pinned = self.sidebar.get_by_role("heading", name="Pinned").locator("xpath=following-sibling::ul[1]")
        # The composer's; a form in which a message is edited has a "Send" of its own.
        self.send = page.locator("#composer").get_by_role("button", name="Send", exact=True)
        self.send_edited = page.locator("form.edit").get_by_role("button", name="Send", exact=True)
        # By class: the text alone, without the times and buttons of a message.
        self.questions = self.main.locator(".user .content")
        self.answers = self.main.locator(".assistant .content")

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def message(self, text: str) -> Locator:
        """The messages whose content has `text` as whole words."""
        said = re.compile(rf"(?<!\w){re.escape(text)}(?!\w)")
        return self.messages.filter(has=self.page.locator(".content", has_text=said))

    def link(self, title: str) -> Locator:
        return self.sidebar.get_by_role("link", name=title, exact=True)

    def row(self, title: str) -> Locator:
        return self.sidebar.get_by_role("listitem").filter(has=self.page.get_by_role("link", name=title, exact=True))

    def open(self, conversation_id: str | None = None) -> Chat:
        """Open a conversation, or a new one, and wait until its title is shown."""
        self.page.goto(f"/c/{conversation_id}" if conversation_id else "/")
        expect(self.page.get_by_role("heading", level=1)).not_to_be_empty()
        return self

    def ask(self, text: str) -> Chat:
        """Send, and wait until the question is shown with words of its answer or with an error."""
        expect(self.page.get_by_role("heading", level=1)).not_to_be_empty()  # until the messages are there, too
        last = self.messages.last.get_attribute("id") if self.messages.count() else None
        question = f"#{last} ~ .user" if last else ".user"
        self.box.fill(text)
        self.send.click()
        expect(self.main.locator(question)).to_have_count(1)
        answer = self.main.locator(f"{question} ~ .assistant .content").filter(has_text=re.compile(r"\S"))
        expect(answer.or_(self.main.locator(f"{question} ~ [role=alert]")).first).to_be_visible()
        return self

    def until_answered(self) -> Chat:
        expect(self.button("Regenerate")).to_be_visible(timeout=30_000)
        expect(self.send).to_be_visible()
        return self

    def choose_agent(self, name: str, *, once: bool = False) -> Chat:
        """Choose the agent with exactly this name, for the conversation or for the next message only."""
        self.agent.click()
        chooser = self.page.get_by_role("dialog", name="Choose an agent")
        scope = "Only the next message" if once else "From now on"
        chooser.get_by_role("radio", name=scope, exact=True).check()
        named = self.page.get_by_text(name, exact=True)
        chooser.get_by_role("option").filter(has=named).click()
        expect(chooser).to_be_hidden()
        expect(self.agent).to_have_text(name)
        return self

    def choose(self, title: str, action: str) -> Chat:
        """Choose an action from the menu of a conversation."""
        self.row(title).hover()
        self.row(title).get_by_role("button", name="Options").click()
        self.page.get_by_role("menuitem", name=action, exact=True).click()
        return self

    @property
    def conversation_id(self) -> str:
        expect(self.page).to_have_url(re.compile("/c/"))
        return self.page.url.partition("/c/")[2].partition("#")[0]


def words(count: int) -> str:
    return " ".join(f"word{number}" for number in range(count))


def unique_word() -> str:
    """A word that no other test has."""
    return f"w{uuid.uuid4().hex[:10]}"


def unique(title: str) -> str:
    """A title that no other test has."""
    return f"{title} {unique_word()}"


def listen(page: Page) -> None:
    """From now on note every text that the page announces to screen readers."""
    page.evaluate(
        """() => {
          window.spoken = [];
          const region = document.querySelector("[aria-live=polite]");
          new MutationObserver(() => window.spoken.push(region.textContent)).observe(region, {childList: true});
        }"""
    )


def spoken(page: Page) -> list[str]:
    """The announcements since `listen`."""
    heard: list[str] = page.evaluate("window.spoken")
    return heard


def hide(page: Page, hidden: bool) -> None:
    """Do what a browser does when another tab is opened, or this one again."""
    page.evaluate(
        """(hidden) => {
          Object.defineProperty(document, "hidden", {get: () => hidden, configurable: true});
          document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )
