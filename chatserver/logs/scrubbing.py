"""What must not be seen in the log: secrets."""

from __future__ import annotations

import re

_SECRETS = (
    # a query value: ?token=…, &api_key=…, as in a request that Tornado logs with a traceback; the
    # bound keeps the search linear
    (re.compile(r"(?i)([?&;][\w.-]*(?:token|key|secret|passw|credential)[\w.-]{0,40}=)[^&;\s'\"#]+"), r"\1…"),
    # postgresql://user:password@host; greedy, since a password may hold an @
    (re.compile(r"(\w://[^\s:/@'\"]*:)[^\s/'\"]+@"), r"\1…@"),
    # libpq's other form
    (re.compile(r"(?i)(\bpassword=)('(?:[^'\\]|\\.)*'|[^\s'\"]+)"), r"\1…"),
    (re.compile(r"(?i)(\bBearer\s+)[\w.~+/=-]+"), r"\1…"),
)


def scrub(text: str) -> str:
    """The text without secrets: values of query parameters that sound like one, passwords in URLs, bearer
    tokens."""
    if "=" not in text and "@" not in text and "earer" not in text.lower():  # what most are: none of the patterns fits
        return text
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text
