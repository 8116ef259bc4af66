"""The chat page and its files, all from the package."""

from __future__ import annotations

from chatserver.errors import NotFoundError
from chatserver.services.access import Need
from chatserver.web.http.base_handler import Handler
from chatserver.web.page.codings import IDENTITY, preferred_coding
from chatserver.web.page.page_files import HELP, PAGE, StaticFile

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


# Clients ask at each request whether their copy is the newest.
_ASK_AGAIN = "no-cache"
# The address has the version: what it holds never changes.
_KEEP = "public, max-age=31536000, immutable"


class FileHandler(Handler):
    """Base of the handlers that send a file of the page."""

    def write_file(self, file: StaticFile, cache_control: str) -> None:
        coding = preferred_coding(self.request.headers.get("Accept-Encoding", ""), file.forms)
        self.set_header("Cache-Control", cache_control)
        self.add_header("Vary", "Accept-Encoding")
        self.set_header("Content-Security-Policy", _POLICY)
        self.set_header("Content-Type", file.content_type)
        self.set_header("Etag", file.etag(coding))
        if coding != IDENTITY:
            self.set_header("Content-Encoding", coding)
        if self.check_etag_header():
            self.set_status(304)
            self.finish()
        else:
            self.finish(file.forms[coding])


class StaticHandler(FileHandler, GET=Need.NOTHING):
    async def get(self, path: str) -> None:
        file, is_of_this_version = (await self.context.page.files()).find(path)
        if file is None:
            raise NotFoundError
        self.write_file(file, _KEEP if is_of_this_version else _ASK_AGAIN)


class PageHandler(FileHandler, GET=Need.NOTHING):
    """The page itself. Its script reads from the path which view to show."""

    async def get(self) -> None:
        files = await self.context.page.files()
        if PAGE not in files.by_name:
            raise NotFoundError
        self.write_file(files.by_name[PAGE], _ASK_AGAIN)


class HelpHandler(FileHandler, GET=Need.NOTHING):
    """The page that tells how a model is connected."""

    async def get(self) -> None:
        files = await self.context.page.files()
        if HELP not in files.by_name:
            raise NotFoundError
        self.write_file(files.by_name[HELP], _ASK_AGAIN)
