"""Secrets that let somebody in: tokens, and the values of cookies. Only their digests are stored."""

from __future__ import annotations

import hashlib
import re
import secrets

TOKEN_PREFIX = "chatserver_"  # noqa: S105 (how tokens begin; no secret)
_BYTES = 32
# 32 bytes in base64url without padding.
_FORM = r"[A-Za-z0-9_-]{43}"
_TOKEN = re.compile(TOKEN_PREFIX + _FORM)
_COOKIE = re.compile(_FORM)


def new_token() -> str:
    """A new token: 256 random bits."""
    return TOKEN_PREFIX + secrets.token_urlsafe(_BYTES)


def new_cookie() -> str:
    """The value of a new cookie: 256 random bits, which have nothing to do with the token."""
    return secrets.token_urlsafe(_BYTES)


def is_token(text: str) -> bool:
    """Whether a text has the form of a token."""
    return _TOKEN.fullmatch(text) is not None


def is_cookie(text: str) -> bool:
    """Whether a text has the form of a cookie's value."""
    return _COOKIE.fullmatch(text) is not None


def digest(secret: str) -> bytes:
    """What is stored of a secret: SHA-256. Random secrets need no slow hash."""
    return hashlib.sha256(secret.encode("ascii", "replace")).digest()
