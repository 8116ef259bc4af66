"""Content codings (RFC 9110, section 8.4): a file in each of them, and the one that a client gets."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Iterator

IDENTITY = "identity"
"""The coding that changes nothing."""

# The page is compressed once, on a thread, in a third of a second. 9 makes it 5 % larger; 11 makes it 2 % smaller, and
# takes twice as long.
_BROTLI_QUALITY = 10

_ITEM = re.compile(
    r"[ \t]*(?P<coding>[!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*"
    r"(?:;[ \t]*[qQ]=(?P<weight>0(?:\.\d{0,3})?|1(?:\.0{0,3})?)[ \t]*)?",
    re.ASCII,
)


def compressed(content: bytes) -> dict[str, bytes]:
    """The content in each coding that makes it smaller, the best coding first."""
    import brotli  # a start does not wait for it

    forms = {"br": brotli.compress(content, quality=_BROTLI_QUALITY), "gzip": gzip.compress(content, mtime=0)}
    return {coding: form for coding, form in forms.items() if len(form) < len(content)}


def preferred_coding(accept_encoding: str, available: Iterable[str]) -> str:
    """The coding that a client prefers, by its Accept-Encoding (RFC 9110, section 12.5.3).

    Among equals the first one of `available`. `identity` if the client accepts none: something has to be sent.
    """
    weights = dict(_weights(accept_encoding))
    others = weights.get("*", 0.0)
    # A client that accepts a coding is served with it, unless it weighs `identity` higher by name.
    candidates = [(weights.get(coding, others), coding) for coding in available if coding != IDENTITY]
    weight, coding = max(candidates, key=lambda candidate: candidate[0], default=(0.0, IDENTITY))
    return coding if weight > 0 and weight >= weights.get(IDENTITY, 0.0) else IDENTITY


def _weights(accept_encoding: str) -> Iterator[tuple[str, float]]:
    """Each coding and its weight from 0 to 1. Malformed items are left out."""
    for item in accept_encoding.split(","):
        match = _ITEM.fullmatch(item)
        if match is not None:
            yield match["coding"].lower().removeprefix("x-"), float(match["weight"] or 1)
