"""The routes that search and render texts: a part of the route table."""

from __future__ import annotations

from chatserver.services.rendering import RenderedBlocks, RenderText
from chatserver.services.search import SearchPage
from chatserver.web.handlers import render, search
from chatserver.web.openapi import queries
from chatserver.web.openapi.operations import Operation, Route

TEXT_ROUTES: tuple[Route, ...] = (
    Route(
        "/api/companies/{companyId}/search",
        search.SearchHandler,
        {
            "GET": Operation(
                "search",
                "Search messages and titles, the best first",
                response=SearchPage,
                query=queries.Search,
                description="Looks into the effective content of live messages and the titles of their conversations. "
                "Where hits are equally good the newer one comes first.",
            )
        },
    ),
    Route(
        "/api/companies/{companyId}/render",
        render.RenderHandler,
        {
            "POST": Operation(
                "renderText",
                "Render a Markdown text as HTML, block by block",
                RenderText,
                RenderedBlocks,
                description="For texts that still grow: all blocks but the last are as they will stay, apart from "
                "links by reference and footnotes. Send what follows them with the next request. Nothing is stored.",
            )
        },
    ),
)
