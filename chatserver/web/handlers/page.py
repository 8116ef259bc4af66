"""The chat page and its files, all from the package."""

from __future__ import annotations

from chatserver.errors import NotFoundError
from chatserver.web.http.base_handler import Handler
from chatserver.web.page.page_files import PAGE, load_files

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


class FileHandler(Handler):
    """Base of the handlers that send a file. Clients ask at each request whether their copy is the newest."""

    def write_file(self, name: str) -> None:
        """Send a file of the page by its name. Raises NotFoundError."""
        file = load_files(self.context.page_folder).by_name.get(name)
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
    """The page itself. Its script reads from the path which view to show."""

    def get(self) -> None:
        links = load_files(self.context.page_folder).links
        if links:
            self.set_header("Link", links)
        self.write_file(PAGE)
