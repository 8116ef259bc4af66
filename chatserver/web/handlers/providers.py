"""The configured providers over HTTP."""

from __future__ import annotations

from chatserver.services.access import Need
from chatserver.web.http.base_handler import ApiHandler


class ProvidersHandler(ApiHandler, GET=Need.READER):
    """They are those of the settings, so they are the same for everyone and never change while the server runs."""

    def get(self) -> None:
        self.write_json(self.context.providers)
