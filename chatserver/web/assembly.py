"""The web layer put together: all routes as one Tornado application."""

from __future__ import annotations

from functools import cache
from typing import Any

from chatserver import logs
from chatserver.version import installed_version
from chatserver.web.handler_context import HandlerContext
from chatserver.web.http.application import Application
from chatserver.web.http.base_handler import Handler, NotFoundHandler
from chatserver.web.http.body_limits import Bodies
from chatserver.web.http.router import Router, Target
from chatserver.web.routes import BESIDE_THE_API, ROUTES


def make_router(context: HandlerContext) -> Router[Handler]:
    """All routes, with handlers that are given the context."""
    given: dict[str, Any] = {"context": context}
    return Router(
        [(route.path, Target(route.handler, {**given, **route.handler_arguments})) for route in ROUTES],
        [(pattern, Target(handler, given)) for pattern, handler in BESIDE_THE_API],
    )


def make_application(context: HandlerContext, **settings: Any) -> Application:
    """The web layer as one Tornado application. `settings` are Tornado's own."""

    def log_request(handler: Handler) -> None:
        request, status, seconds = handler.request, handler.get_status(), handler.request.request_time()
        method = request.method or ""
        logs.log_request(method, request.path, status, seconds)
        context.metrics.request(handler.label, method, status, seconds if handler.timed else None)

    def render_openapi() -> bytes:
        from chatserver.web.openapi import document  # few ask for it, and a start need not wait for it

        return document.render(ROUTES, context.settings, installed_version())

    return Application(
        make_router(context),
        Target(NotFoundHandler, {"context": context}),
        bodies=Bodies(context.settings.max_body_bytes),
        openapi=cache(render_openapi),
        log_function=log_request,
        **settings,
    )
