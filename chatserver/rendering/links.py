"""Addresses: which of them are links, where one ends that stands bare in a text, and what readers see of its host."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from markdown_it.rules_inline import StateInline

from chatserver.rendering import hosts

# --- any link ---------------------------------------------------------------------------------------------

_ADDRESS = re.compile(r"https?://(?P<authority>[^/?#\\]+)|mailto:.", re.IGNORECASE | re.DOTALL)
_HOST = re.compile(r"https?://(?P<host>[^/?#:@]+)|mailto:[^/?#@]*@(?P<domain>[^/?#,]+)", re.IGNORECASE)


def is_allowed(url: str) -> bool:
    """Whether a normalised address may be a link: on the web, or of an e-mail.

    `http://good.example@evil.example` leads to evil.example, which few readers see. Nobody needs a link of that form.
    """
    found = _ADDRESS.match(url)
    return found is not None and "@" not in (found["authority"] or "")


def deceptive_host(url: str) -> str | None:
    """The host of a normalised address, in ASCII, if it could be taken for another in its readable form; else None."""
    found = _HOST.match(url)
    host = (found["host"] or found["domain"]) if found else ""
    return host if hosts.is_deceptive(host) else None


def shown_address(written: str, url: str) -> str:
    """What readers see of an address: as it was written, but a deceptive host in ASCII. `url` is it, normalised."""
    host = deceptive_host(url)
    found = _HOST.match(written)
    if host is None or found is None:
        return written
    start, end = found.span("host" if found["host"] else "domain")
    return written[:start] + host + written[end:]


# --- bare links -------------------------------------------------------------------------------------------

_SCHEME = re.compile(r"(?:(?<![A-Za-z0-9.+-])https?|(?<![A-Za-z0-9.+-])mailto)\Z", re.IGNORECASE)
_LONGEST_SCHEME = len("mailto")
_MAX_HOST_CHARS = 255
_WEB_HOST = re.compile(r"://(\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~-]|[^\x00-\x7f])+)(:[0-9]{0,5})?(?![^/?#])")
_NOT_IN_HOST = re.compile(r"[,;!$&'()*+={}^]")
_AUTHORITY = re.compile(rf"://[^\s/?#]{{1,{_MAX_HOST_CHARS}}}(?![^\s/?#])")
_MAIL = re.compile(r":[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")
# ASCII characters that end an address: quotes, what encloses it, and Markdown around it.
_END = re.compile(r"""[\s\x00-\x20<>"`|\\]|'(?![A-Za-z0-9])|\*\*|~~|&(?:quot|apos|lt|gt|nbsp|#[0-9]+);""")
_NON_ASCII = re.compile(r"[^\x00-\x7f]")
# Within names of pages: Michelson–Morley, col·lecció.
_JOINT = re.compile("[\u2010-\u2013\u00b7](?=[A-Za-z0-9\u00c0-\u024f])")
_BRACKETS = {")": "(", "]": "[", "}": "{"}
_BRACKET = re.compile(r"[()\[\]{}]")


def bare_link(state: StateInline, silent: bool) -> bool:
    """A rule of markdown-it: an address that stands in the text as it is. It begins with its scheme."""
    colon = state.pos
    if silent or state.linkLevel > 0 or state.src[colon] != ":":
        return False
    scheme = _SCHEME.search(state.src[max(0, colon - _LONGEST_SCHEME - 1) : colon])
    if scheme is None or not state.pending.endswith(scheme[0]):
        return False
    mail = scheme[0].lower() == "mailto"
    rest = _rest_of_mail(state, scheme[0]) if mail else _rest_of_web(state, scheme[0])
    if not rest:
        return False
    written = scheme[0] + rest
    url = state.md.normalizeLink(written)
    state.pending = state.pending[: -len(scheme[0])]
    state.push("link_open", "a", 1).attrs = {"href": url}
    state.push("text", "", 0).content = shown_address(written, url)
    state.push("link_close", "a", -1)
    state.pos += len(rest)
    return True


def _rest_of_mail(state: StateInline, scheme: str) -> str:
    """All of an address from its colon on; empty if it is none."""
    found = _MAIL.match(state.src, state.pos)
    return found[0] if found and state.md.validateLink(scheme + found[0]) else ""


def _rest_of_web(state: StateInline, scheme: str) -> str:
    """As `_rest_of_mail`. Only the host can be bad: the search for the end is not repeated for many bad addresses."""
    start = state.pos
    found = _AUTHORITY.match(state.src, start, state.posMax)
    if found is None:
        return ""
    authority = _until_end(found[0])
    if "@" not in authority and (mark := _NOT_IN_HOST.search(authority)):
        authority = authority[: mark.start()]
    host = _WEB_HOST.match(authority)
    if host is None or not any(map(str.isalnum, host[1])):
        return ""
    if not state.md.validateLink(state.md.normalizeLink(scheme + authority)):
        return ""
    ascii_host = _ascii_part(host[1])
    if ascii_host != host[1]:
        return f"://{ascii_host}"
    if len(authority) < len(found[0]):
        return authority
    end = _END.search(state.src, start, state.posMax)
    return _until_end(state.src[start : end.start() if end else state.posMax])


def _ascii_part(host: str) -> str:
    """A host without the words that follow it in a language that is written without spaces."""
    last = host.rpartition(".")[2]
    if last[0].isascii() and any(unicodedata.east_asian_width(character) in "WF" for character in last):
        return host[: len(host) - len(last)] + re.split(_NON_ASCII, last)[0]
    return host


def _until_end(address: str) -> str:
    """An address without what follows it: punctuation, closing quotes, brackets that it does not open."""
    end = len(address)
    if found := _END.search(address):
        end = found.start()
    for each in _NON_ASCII.finditer(address, 0, end):
        if not _in_address(each[0]) and not _JOINT.match(address, each.start()):
            end = each.start()
            break
    opened: list[str] = []
    for each in _BRACKET.finditer(address, 0, end):
        if each[0] not in _BRACKETS:
            opened.append(each[0])
        elif not opened or opened.pop() != _BRACKETS[each[0]]:
            end = each.start()
            break
    return address[:end].rstrip(".,:;!?*_~'")


@lru_cache(1024)
def _in_address(character: str) -> bool:
    """Whether an address goes on with a character that is not ASCII: not with punctuation, spaces or controls."""
    return unicodedata.category(character)[0] not in "PZC" and unicodedata.category(character) != "Sm"
