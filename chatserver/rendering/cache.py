"""A cache of rendered texts in memory.

The HTML of a text never changes, and a text that failed is not tried again as long as it is remembered. HTML is
not kept for long, so that texts which another process erased are soon nowhere any more.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Collection, Sequence

from chatserver.rendering.turns import Company

# How long HTML is kept, however often it is asked for.
MAX_AGE_SECONDS = 300.0
# The size of an entry besides its HTML, in characters: of one that failed, or for each company that asked for it.
ENTRY_CHARS = 300

Key = bytes


class RenderedTexts:
    """Holds at most `max_chars` characters of HTML, then evicts the least recently used entries.

    Besides that it remembers which texts could not be rendered: as many as would fill it, then it forgets the oldest.
    Texts that were rendered do not push them out: a text that fails costs far more than one that does not.
    """

    def __init__(self, max_chars: int) -> None:
        self._max_chars = max_chars
        self._rendered: OrderedDict[Key, str] = OrderedDict()
        self._kept_at: OrderedDict[Key, float] = OrderedDict()  # of the rendered ones, the oldest first
        self._companies: dict[Key, set[Company]] = {}  # of the rendered ones
        self._keys: dict[Company, set[Key]] = {}  # the same, by company
        self._failed: OrderedDict[Key, None] = OrderedDict()
        self._rendered_chars = 0

    def __len__(self) -> int:
        return len(self._rendered) + len(self._failed)

    @property
    def chars(self) -> int:
        """The size of all entries, in characters."""
        return self._rendered_chars + ENTRY_CHARS * len(self._failed)

    @staticmethod
    def key(text: str, headings: Sequence[int] | None = None) -> Key:
        """The key of a text as HTML, or, with `headings`, of its blocks below headings of these levels."""
        form = b"" if headings is None else bytes([0, *headings])  # no text has the character 0
        return hashlib.sha256(text.encode() + form).digest()

    def look_up(self, key: Key, company: Company = None) -> str | None:
        """The HTML of a text; None: it could not be rendered. Raises KeyError if it was not tried for the company.

        A text of another company is rendered again: how long that takes shall not tell what others have.
        """
        if key in self._failed:
            return None
        if company not in self._companies[key]:
            raise KeyError(key)
        self._rendered.move_to_end(key)
        return self._rendered[key]

    def keep(
        self, key: Key, html: str | None, now: float = 0.0, companies: Collection[Company] = frozenset({None})
    ) -> None:
        """Keep the HTML of a text; None: it could not be rendered. `now`, in seconds, never goes back.

        `companies`: those that asked for it, in addition to those that it was kept for before.
        """
        owners = {*companies, *self._companies.get(key, ())}
        self._forget(key)
        if html is None:
            self._failed[key] = None
            while len(self._failed) * ENTRY_CHARS > self._max_chars:
                self._failed.popitem(last=False)
        else:
            self._rendered[key] = html
            self._kept_at[key] = now
            self._companies[key] = set()
            self._rendered_chars += len(html)
            for company in owners:
                self._give(key, company)
            self._evict()

    @property
    def oldest(self) -> float | None:
        """Since when the oldest HTML has been kept; None: there is none."""
        return next(iter(self._kept_at.values()), None)

    def forget_old(self, now: float) -> None:
        """Forget the HTML that has been kept for MAX_AGE_SECONDS."""
        while (oldest := self.oldest) is not None and oldest + MAX_AGE_SECONDS <= now:
            self._forget(next(iter(self._kept_at)))

    def forget_html_of(self, company: Company) -> None:
        """Forget the HTML that a company asked for. Which texts failed stays: of those there are only hashes."""
        for key in tuple(self._keys.get(company, ())):
            self._forget(key)

    def forget_html(self) -> None:
        """Forget all HTML."""
        for key in tuple(self._rendered):
            self._forget(key)

    def _give(self, key: Key, company: Company) -> None:
        companies = self._companies[key]
        if company not in companies:
            companies.add(company)
            self._keys.setdefault(company, set()).add(key)
            self._rendered_chars += ENTRY_CHARS

    def _evict(self) -> None:
        while self._rendered_chars > self._max_chars:
            self._forget(next(iter(self._rendered)))

    def _forget(self, key: Key) -> None:
        self._failed.pop(key, None)
        self._kept_at.pop(key, None)
        companies = self._companies.pop(key, set())
        self._rendered_chars -= len(self._rendered.pop(key, "")) + ENTRY_CHARS * len(companies)
        for company in companies:
            keys = self._keys[company]
            keys.remove(key)
            if not keys:
                del self._keys[company]
