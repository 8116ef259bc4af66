"""The description of the API over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import RootModel

from chatserver.services.access import Need
from chatserver.web.http.base_handler import Handler


class OpenApiDocument(RootModel[dict[str, Any]]):
    """An OpenAPI 3.1 document."""


class OpenApiHandler(Handler, GET=Need.OPERATOR):
    """Writes the document that the application's setting `openapi`, a function, returns as bytes."""

    def get(self) -> None:
        document: Callable[[], bytes] = self.settings["openapi"]
        self.set_header("Content-Type", "application/json")
        self.finish(document())
