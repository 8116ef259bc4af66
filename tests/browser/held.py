"""Requests that a test holds back as long as it wants."""

from __future__ import annotations

import time
from collections.abc import Callable

from playwright.sync_api import Page, Route

LONGEST_WAIT_SECONDS = 15


# From now on requests of the page end only if the page itself gives them up.
NO_TIMEOUTS = "() => void (AbortSignal.timeout = () => new AbortController().signal)"


class Held:
    """Holds a page's requests until they are let go or lost.

    They are held before they reach the server. With `arrives` the server carries them out, and the response is held.
    """

    def __init__(self, page: Page, url: str, method: str = "GET", *, arrives: bool = False) -> None:
        self.urls: list[str] = []
        self._page = page
        self._method = method
        self._arrives = arrives
        self._routes: list[Route] = []
        self._then: Callable[[Route], None] = self._keep
        page.route(url, self._take)

    def until(self, count: int) -> None:
        """Wait until so many requests have come."""
        until(self._page, lambda: len(self.urls) >= count)

    def let_go(self) -> None:
        """Send the requests that are held, and do not hold later ones."""
        self._release(lambda route: route.continue_())

    def let_later_ones_go(self) -> None:
        """Do not hold later requests; those that are held never arrive."""
        self._then = lambda route: route.continue_()

    def lose(self) -> None:
        """Fail as a lost network does: the requests that are held, and later ones."""
        self._release(lambda route: route.abort())

    def _take(self, route: Route) -> None:
        if route.request.method == self._method:
            self._then(route)
            self.urls.append(route.request.url)
        else:
            route.fallback()

    def _keep(self, route: Route) -> None:
        if self._arrives:
            route.fetch()
        self._routes.append(route)

    def _release(self, then: Callable[[Route], None]) -> None:
        self._then = then
        while self._routes:
            then(self._routes.pop(0))


def until(page: Page, condition: Callable[[], bool]) -> None:
    """Wait for a condition that no page shows, such as the server's state. The page runs on meanwhile."""
    deadline = time.monotonic() + LONGEST_WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        page.wait_for_timeout(50)
