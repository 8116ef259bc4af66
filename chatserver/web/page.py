"""The chat page: files of the package, and nothing else of the disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from chatserver.errors import NotFoundError
from chatserver.web.base import Handler

# Not the `mimetypes` module: it also believes the machine's own files.
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
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class StaticFile:
    content: bytes
    content_type: str
    etag: str


@cache
def load_files(folder: Path) -> Mapping[str, StaticFile]:
    """The files in a folder by relative path. They are read once: a name that is not among them leads nowhere."""
    files = {}
    for path in sorted(folder.rglob("*")):
        content_type = _CONTENT_TYPES.get(path.suffix)
        if content_type is not None and path.is_file():
            content = path.read_bytes()
            etag = f'"{sha256(content).hexdigest()[:32]}"'
            files[path.relative_to(folder).as_posix()] = StaticFile(content, content_type, etag)
    return files


class FileHandler(Handler):
    """Base of what answers with a file; clients ask each time whether theirs is still the newest."""

    def write_file(self, name: str) -> None:
        """Raises NotFoundError."""
        file = load_files(self.services.page_folder).get(name)
        if file is None:
            raise NotFoundError
        self.set_header("Cache-Control", "no-cache")
        self.set_header("Content-Security-Policy", _POLICY)
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Content-Type", file.content_type)
        self.set_header("Etag", file.etag)
        if self.check_etag_header():
            self.set_status(304)
            self.finish()
        else:
            self.finish(file.content)


class StaticHandler(FileHandler):
    def get(self, name: str) -> None:
        self.write_file(name)


class PageHandler(FileHandler):
    """The page, whichever of its views the path names: that is for its script to read."""

    def get(self) -> None:
        self.write_file("index.html")
