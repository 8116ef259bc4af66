"""The configured providers over HTTP."""

from __future__ import annotations

from chatserver.services.access import Need
from chatserver.services.provider_choice import list_providers
from chatserver.web.http.base_handler import ApiHandler
from chatserver.web.openapi.queries import ListProviders


class ProvidersHandler(ApiHandler, GET=Need.READER):
    """They are those of the settings, so they never change while the server runs."""

    def get(self) -> None:
        companies, company_id = self.actor.companies, self.query(ListProviders).company_id
        if company_id is not None:
            self.actor.require_company(company_id)
            companies = frozenset({company_id})
        self.write_json(list_providers(self.context.settings, companies))
