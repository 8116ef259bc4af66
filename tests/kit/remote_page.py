"""A page in a browser that Playwright does not drive, found by roles and names, and used by pointer and keys."""

from __future__ import annotations

import json
from typing import Any, Protocol

from tests.kit.in_thread import InThread
from tests.kit.waiting import PATIENCE_SECONDS

Action = dict[str, Any]

# Keys by their code points in WebDriver (https://www.w3.org/TR/webdriver2/#keyboard-actions).
KEYS = {"Enter": "\ue007", "Escape": "\ue00c", "Tab": "\ue004", "Home": "\ue011", "End": "\ue010"}

SELECTORS = {
    "article": "article",
    "button": "button, summary",
    "link": "a[href]",
    "menuitem": "[role=menuitem]",
    "searchbox": "input[type=search]",
    "textbox": "textarea, input:not([type=search])",
}

# The visible elements of a role and a name, in the order of the document.
_FIND = """
const find = (selector, name) => [...document.querySelectorAll(selector)].filter((node) => {
  const called = (node.getAttribute("aria-label") ?? node.textContent).trim();
  return called === name && node.checkVisibility({visibilityProperty: true}) && !node.disabled;
});
"""
_WAIT = """
new Promise((resolve, reject) => {
  const deadline = performance.now() + %(milliseconds)d;
  const look = () => {
    try {
      const value = (() => { %(body)s })();
      if (value) resolve(value);
      else if (performance.now() > deadline) reject(new Error("it is not so: " + document.body.innerText));
      else setTimeout(look, 10);
    } catch (error) {
      reject(error);
    }
  };
  look();
})
"""


class Driver(Protocol):
    """What a browser's protocol does for a page."""

    async def open(self, url: str) -> None:
        """Load an address in the browser's one tab, and wait until the page is loaded."""

    async def reload(self) -> None:
        """Load the address again, and wait until the page is loaded."""

    async def evaluate(self, expression: str) -> str:
        """The value of a JavaScript expression that yields a string, or a promise of one."""

    async def perform(self, actions: list[Action]) -> None:
        """Do what people do with pointer and keys (https://www.w3.org/TR/webdriver2/#actions)."""


class RemotePage:
    """The one page of a browser."""

    def __init__(self, driver: InThread[Driver], base_url: str) -> None:
        self._driver = driver
        self._base_url = base_url

    def open(self, path: str) -> None:
        self._driver.run(self._driver.part.open(self._base_url + path))

    def reload(self) -> None:
        self._driver.run(self._driver.part.reload())

    def evaluate(self, expression: str) -> Any:
        """The value of an expression; it has to fit into JSON."""
        written = f"Promise.resolve({expression}).then((value) => JSON.stringify(value ?? null))"
        return json.loads(self._driver.run(self._driver.part.evaluate(written)))

    def wait(self, condition: str) -> Any:
        """The value of an expression, as soon as it is true."""
        return self._wait(f"return {condition};")

    def wait_for(self, role: str, name: str) -> None:
        """Wait until an element with this role and name can be seen."""
        self._wait(f"{_FIND} return find({json.dumps(SELECTORS[role])}, {json.dumps(name)}).length > 0;")

    def wait_until_gone(self, role: str, name: str) -> None:
        self._wait(f"{_FIND} return find({json.dumps(SELECTORS[role])}, {json.dumps(name)}).length === 0;")

    def click(self, role: str, name: str) -> None:
        """Click the last element with this role and name in the middle."""
        x, y = self._wait(
            f"""{_FIND}
            const node = find({json.dumps(SELECTORS[role])}, {json.dumps(name)}).at(-1);
            if (!node) return null;
            node.scrollIntoView({{block: "nearest"}});
            const box = node.getBoundingClientRect();
            return [Math.round(box.left + box.width / 2), Math.round(box.top + box.height / 2)];"""
        )
        moves = [{"type": "pointerMove", "x": x, "y": y, "duration": 0}, {"type": "pointerDown", "button": 0}]
        mouse = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}}
        self._perform({**mouse, "actions": [*moves, {"type": "pointerUp", "button": 0}]})

    def write(self, text: str) -> None:
        """Type a text into what has the focus."""
        strokes = [{"type": kind, "value": character} for character in text for kind in ("keyDown", "keyUp")]
        self._perform({"type": "key", "id": "keyboard", "actions": strokes})

    def press(self, key: str) -> None:
        self.write(KEYS[key])

    def _wait(self, body: str) -> Any:
        return self.evaluate(_WAIT % {"milliseconds": PATIENCE_SECONDS * 1000, "body": body})

    def _perform(self, action: Action) -> None:
        self._driver.run(self._driver.part.perform([action]))
