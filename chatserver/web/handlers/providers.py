"""The configured providers over HTTP."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from chatserver.services.access import Need
from chatserver.services.provider_choice import list_providers
from chatserver.web.http.base_handler import ApiHandler
from chatserver.web.openapi.queries import ListProviders


class ProvidersHandler(ApiHandler, GET=Need.READER):
    """They are those of the settings, so they never change while the server runs."""

    async def get(self) -> None:
        asked = self.query(ListProviders).company_id
        companies: Collection[UUID] | None
        if asked is not None:
            self.actor.require_company(asked)
            companies, first = frozenset({asked}), asked
        else:
            companies = self.actor.companies
            first = (await self.context.owners.companies_to_choose(self.actor))[0]
        self.write_json(list_providers(self.context.settings, companies, first))
