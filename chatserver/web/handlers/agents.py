"""Agents over HTTP."""

from __future__ import annotations

from chatserver.schemas import CreateAgent, UpdateAgent
from chatserver.web.http.base_handler import ApiHandler
from chatserver.web.http.parsing import parse_id
from chatserver.web.openapi.queries import ListAgents


class AgentsHandler(ApiHandler):
    async def get(self, company_id: str) -> None:
        company, query = parse_id(company_id), self.query(ListAgents)
        page = await self.context.agents.list_agents(self.actor, company, limit=query.limit, cursor=query.cursor)
        await self.write_page(page)

    async def post(self, company_id: str) -> None:
        company, body = parse_id(company_id), self.body(CreateAgent)
        self.write_json(await self.context.agents.create_agent(self.actor, company, body), 201)


class AgentHandler(ApiHandler):
    async def get(self, agent_id: str) -> None:
        self.write_json(await self.context.agents.get_agent(self.actor, parse_id(agent_id)))

    async def patch(self, agent_id: str) -> None:
        agent, body = parse_id(agent_id), self.body(UpdateAgent)
        self.write_json(await self.context.agents.update_agent(self.actor, agent, body))

    async def delete(self, agent_id: str) -> None:
        await self.context.agents.delete_agent(self.actor, parse_id(agent_id))
        self.write_nothing()
