"""The routes of agents and of what they may name: a part of the route table."""

from __future__ import annotations

from chatserver import schemas
from chatserver.provider_schemas import Providers
from chatserver.services.agents import AgentPage
from chatserver.web.handlers import agents, providers
from chatserver.web.openapi import queries
from chatserver.web.openapi.operations import Operation, Route

AGENT_ROUTES: tuple[Route, ...] = (
    Route(
        "/api/companies/{companyId}/agents",
        agents.AgentsHandler,
        {
            "GET": Operation("listAgents", "List agents", response=AgentPage, query=queries.ListAgents),
            "POST": Operation("createAgent", "Create an agent", schemas.CreateAgent, schemas.Agent, status=201),
        },
    ),
    Route(
        "/api/agents/{id}",
        agents.AgentHandler,
        {
            "GET": Operation("getAgent", "Get an agent", response=schemas.Agent),
            "PATCH": Operation("updateAgent", "Change an agent", schemas.UpdateAgent, schemas.Agent),
            "DELETE": Operation(
                "deleteAgent",
                "Delete an agent",
                status=204,
                description="The default adapter serves its conversations from then on.",
            ),
        },
    ),
    Route(
        "/api/providers",
        providers.ProvidersHandler,
        {
            "GET": Operation(
                "listProviders",
                "List the providers that agents may name",
                response=Providers,
                query=queries.ListProviders,
                description="Those of the server's configuration that your companies may use, or the one that you "
                "name. `default` is the one of that company, or of the first of yours. URLs and keys are never told.",
            )
        },
    ),
)
