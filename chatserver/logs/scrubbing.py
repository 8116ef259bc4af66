"""What must not be seen in the log: secrets."""

from __future__ import annotations

import re


def _spelled(text: str) -> str:
    """A pattern for a text of which any character may be percent-encoded, once or more often."""
    return "".join(f"(?:{character}|%(?:25)*(?i:{ord(character):02x}))" for character in text)


_SECRETS = (
    # A token of ours, perhaps cut off somewhere, or the cookie of a session; in a URL, in JSON and in Python's own
    # notation, too. What is shorter, or plain words, is left: it is a name, as of a database or a metric. Of a token
    # that is cut off so early, 160 bits or more are still secret. The bound of the words keeps the search linear.
    (
        re.compile(
            _spelled("chatserver")
            + r"(?:_|%(?:25)*5[fF]|\\+u005[fF]|\\+x5[fF])"
            + r"(?![a-z_-]{1,60}(?![\w%=\\-]))[\w%=\\-]{16,}"
        ),
        "chatserver_…",
    ),
    # a query value: ?token=…, &api_key=…, as in a request that Tornado logs with a traceback; the
    # bound keeps the search linear
    (re.compile(r"(?i)([?&;][\w.-]*(?:token|key|secret|passw|credential)[\w.-]{0,40}=)[^&;\s'\"#]+"), r"\1…"),
    # postgresql://user:password@host; greedy, since a password may hold an @
    (re.compile(r"(\w://[^\s:/@'\"]*:)[^\s/'\"]+@"), r"\1…@"),
    # libpq's other form
    (re.compile(r"(?i)(\bpassword=)('(?:[^'\\]|\\.)*'|[^\s'\"]+)"), r"\1…"),
    (re.compile(r"(?i)(\bBearer\s+)[\w.~+/=-]+"), r"\1…"),
)

# A text that has a secret has one of these.
_HINTS = ("=", "@", "%", "\\", "chatserver_")


def scrub(text: str) -> str:
    """The text without secrets: tokens of ours, values of query parameters that sound like one, passwords in URLs,
    bearer tokens."""
    if not any(hint in text for hint in _HINTS) and "earer" not in text.lower():  # what most are: no pattern fits
        return text
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text
