"""The files of the chat page as they are sent: read once, without comments, and with a `Link` header for the page."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

PAGE_FOLDER = Path(__file__).resolve().parent / "static"
PAGE = "index.html"
STATIC_PREFIX = "/static/"

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
# Only comments on lines of their own: beside code, only a parser can tell a comment from a string.
_COMMENTS = {
    ".css": re.compile(_BLOCK_COMMENT, re.MULTILINE),
    ".js": re.compile(_BLOCK_COMMENT + b"|" + _LINE_COMMENT, re.MULTILINE),
}
_MODULE_SCRIPT = re.compile(rb'<script type="module" src="' + STATIC_PREFIX.encode() + rb'([^"]+)">')
_STATIC_IMPORT = re.compile(rb'^(?:import|export)\b(?!\()[^;]*?"(\.[^"]+)";', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class StaticFile:
    content: bytes
    content_type: str
    etag: str


@dataclass(frozen=True, slots=True)
class PageFiles:
    """All files by their path below the folder.

    `links` is the value of the page's `Link` header. It names the modules that the page needs at once, so that browsers
    request them all, instead of reading one module to learn of the next.
    """

    by_name: Mapping[str, StaticFile]
    links: str


@cache
def load_files(folder: Path) -> PageFiles:
    """Read all files of a folder, once for the life of the process. Only these are ever served."""
    by_name = {}
    for path in sorted(folder.rglob("*")):
        content_type = _CONTENT_TYPES.get(path.suffix)
        if content_type is not None and path.is_file():
            content = without_comments(path.read_bytes(), path.suffix)
            etag = f'"{sha256(content).hexdigest()[:32]}"'
            by_name[path.relative_to(folder).as_posix()] = StaticFile(content, content_type, etag)
    links = ", ".join(f"<{STATIC_PREFIX}{name}>; rel=modulepreload" for name in _modules(by_name))
    return PageFiles(by_name, links)


def without_comments(source: bytes, suffix: str) -> bytes:
    """The file without the comments that have lines of their own, which are a third of the page's code."""
    comments = _COMMENTS.get(suffix)
    return comments.sub(b"", source) if comments else source


def _modules(by_name: Mapping[str, StaticFile]) -> list[str]:
    """The page's scripts and all that they import, each once. Modules that are imported by a call are left out."""
    page = by_name.get(PAGE)
    found = [name.decode() for name in _MODULE_SCRIPT.findall(page.content)] if page else []
    for name in found:  # The list grows during the loop.
        for imported in _imports(by_name, name):
            if imported not in found:
                found.append(imported)
    return found


def _imports(by_name: Mapping[str, StaticFile], name: str) -> Iterator[str]:
    if name in by_name:
        for path in _STATIC_IMPORT.findall(by_name[name].content):
            yield posixpath.normpath(posixpath.join(posixpath.dirname(name), path.decode()))
