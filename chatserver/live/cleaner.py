"""What a model says, as it can be stored and sent, whatever that is.

PostgreSQL keeps no NUL, and UTF-8 no lone surrogate. Models (or rather the JSON encoders before them) do cut a
surrogate pair between two deltas; then the halves belong together.
"""

from __future__ import annotations

from chatserver.providers.base import Finish

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# Of a stop reason in a provider's own words.
STOP_REASON_CHARS = 100
# PostgreSQL's `integer`.
MOST_TOKENS = 2**31 - 1


class TextCleaner:
    """Cleans the deltas of one text; half a pair at the end of one waits for the next."""

    def __init__(self) -> None:
        self._half = ""

    def clean(self, text: str) -> str:
        """What can be sent of `text` now; it may be empty."""
        if not self._half and (text.isascii() or _encodes(text)):
            return text.replace("\x00", "") if "\x00" in text else text
        text = self._half + text
        self._half = ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        return self.clean_whole(text)

    def rest(self) -> str:
        """What is left at the end of the text."""
        half, self._half = self._half, ""
        return REPLACEMENT if half else ""

    @staticmethod
    def clean_whole(text: str) -> str:
        """`text` with pairs joined, lone halves replaced, and without NUL."""
        if not _encodes(text):
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return text.replace("\x00", "")


def clean_finish(finish: Finish) -> Finish:
    """`finish` with a sound stop reason, and without a usage that cannot be."""
    usage = finish.usage
    if usage is not None and not all(0 <= count <= MOST_TOKENS for count in (usage.input_tokens, usage.output_tokens)):
        usage = None
    return Finish(TextCleaner.clean_whole(finish.stop_reason)[:STOP_REASON_CHARS], usage)


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
