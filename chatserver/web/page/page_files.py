"""The files of the chat page as they are sent: read once, slimmed, joined, compressed, and under a versioned address.

The version is a hash of all files, and a folder of their address: `/static/<version>/js/main.js`. Modules import each
other by relative paths, so they stay within the version that the page itself names. What such an address holds never
changes, and clients may keep it for ever.
"""

from __future__ import annotations

import asyncio
import logging
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from chatserver.web.page.bundles import STATIC_PREFIX, joined
from chatserver.web.page.codings import IDENTITY, compressed

logger = logging.getLogger(__name__)

PAGE_FOLDER = Path(__file__).resolve().parent / "static"
PAGE = "index.html"
HELP = "help.html"
# In the page, where the longest message's length belongs.
_MOST_CHARACTERS = b"{most_characters}"

_VERSION_DIGITS = 12
_VERSION = re.compile(rf"[0-9a-f]{{{_VERSION_DIGITS}}}")

# Not from the `mimetypes` module, which also reads tables of the machine.
_CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}

_BLOCK_COMMENT = rb"^[ \t]*/\*(?:[^*]|\*(?!/))*\*/[ \t]*\n"
_LINE_COMMENT = rb"^[ \t]*//.*\n"
_EMPTY_LINE = rb"^[ \t]*\n"
_INDENT = rb"^[ \t]+"
# Only comments on lines of their own: beside code, only a parser can tell a comment from a string.
_NOT_SENT = {
    ".css": re.compile(b"|".join((_BLOCK_COMMENT, _EMPTY_LINE, _INDENT)), re.MULTILINE),
    ".js": re.compile(b"|".join((_BLOCK_COMMENT, _LINE_COMMENT, _EMPTY_LINE, _INDENT)), re.MULTILINE),
}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file. `forms` has its content by content coding; `identity` is the content itself."""

    content_type: str
    digest: str
    forms: Mapping[str, bytes]

    @property
    def content(self) -> bytes:
        return self.forms[IDENTITY]

    def etag(self, coding: str) -> str:
        """A strong one: each coding is a representation of its own (RFC 9110, section 8.8.3.3)."""
        return f'"{self.digest}"' if coding == IDENTITY else f'"{self.digest}-{coding}"'


@dataclass(frozen=True, slots=True)
class PageFiles:
    """The files by their path below the folder. `version` is a part of the addresses that the page names."""

    by_name: Mapping[str, StaticFile]
    version: str

    def find(self, path: str) -> tuple[StaticFile | None, bool]:
        """The file at a path below STATIC_PREFIX, and whether the path says that it is of this version.

        Any other version leads to the same file. While servers are replaced one by one, a page may ask the older or the
        newer one for its files; and one that was opened before asks for the rest.
        """
        version, _, name = path.partition("/")
        if _VERSION.fullmatch(version):
            return self.by_name.get(name), version == self.version
        return self.by_name.get(path), False


class Page:
    """The files of a folder. They are read and compressed once, on a thread."""

    def __init__(self, folder: Path = PAGE_FOLDER, *, max_message_chars: int | None = None) -> None:
        self._folder = folder
        self._max_message_chars = max_message_chars
        self._loading: asyncio.Future[PageFiles] | None = None

    async def files(self) -> PageFiles:
        return await asyncio.shield(self.load())

    def load(self) -> asyncio.Future[PageFiles]:
        """Begin to read the files, unless that has begun. Nobody needs to wait for it.

        A failure is logged, and the next call tries again: perhaps too many files were open.
        """
        if self._loading is None:
            loop = asyncio.get_running_loop()
            self._loading = loop.run_in_executor(None, load_files, self._folder, self._max_message_chars)
            self._loading.add_done_callback(self._forget_failure)
        return self._loading

    def _forget_failure(self, loading: asyncio.Future[PageFiles]) -> None:
        if not loading.cancelled() and (error := loading.exception()) is not None:
            self._loading = None
            logger.error("the chat page cannot be read: %s", error)


@cache
def load_files(folder: Path, max_message_chars: int | None = None) -> PageFiles:
    """Read, join and compress the files of a folder. Only these are ever served. It takes a third of a second.

    The page tells its script how long a message may be, so that a longer one is not sent; None: it does not know.
    Raises OSError, and ValueError as `joined` does.
    """
    contents = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix in _CONTENT_TYPES and path.is_file():
            name = path.relative_to(folder).as_posix()
            contents[name] = slimmed(path.read_bytes(), path.suffix)
    contents, parts = joined(contents, sorted(contents.keys() & {PAGE, HELP}))
    version = _digest(b"".join(b"%b\0%d\0%b" % (name.encode(), len(text), text) for name, text in contents.items()))
    version = version[:_VERSION_DIGITS]
    prefix = f"{STATIC_PREFIX}{version}/"
    for name in contents.keys() & {PAGE, HELP}:
        contents[name] = contents[name].replace(b'"' + STATIC_PREFIX.encode(), b'"' + prefix.encode())
    if PAGE in contents:
        most = b"" if max_message_chars is None else b"%d" % max_message_chars
        contents[PAGE] = contents[PAGE].replace(_MOST_CHARACTERS, most)
    # Pages of this version do not ask for parts, so these are not compressed.
    by_name = {
        name: _file(name, content, {} if name in parts else compressed(content)) for name, content in contents.items()
    }
    return PageFiles(by_name, version)


def _file(name: str, content: bytes, compressed_forms: Mapping[str, bytes]) -> StaticFile:
    forms = {IDENTITY: content, **compressed_forms}
    return StaticFile(_CONTENT_TYPES[posixpath.splitext(name)[1]], _digest(content), forms)


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()[:32]


def slimmed(source: bytes, suffix: str) -> bytes:
    """The file without indents, empty lines, and comments that have lines of their own: a third of the page's code."""
    not_sent = _NOT_SENT.get(suffix)
    return not_sent.sub(b"", source) if not_sent else source
