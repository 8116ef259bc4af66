"""For the operator's tools: whether the process lives, whether it takes traffic, and its metrics."""

from __future__ import annotations

from chatserver.errors import UnavailableError
from chatserver.services.access import Need
from chatserver.web.http.base_handler import Handler


class HealthHandler(Handler, GET=Need.NOTHING):
    def get(self) -> None:
        _write_ok(self)


class ReadyHandler(Handler, GET=Need.OPERATOR):
    async def get(self) -> None:
        if self.context.draining():
            raise UnavailableError("Shutting down")
        await self.context.health.require()
        _write_ok(self)


class MetricsHandler(Handler, GET=Need.OPERATOR):
    def get(self) -> None:
        text_format, content_type = self.context.metrics.render()
        self.set_header("Content-Type", content_type)
        self.finish(text_format)


def _write_ok(handler: Handler) -> None:
    handler.set_header("Content-Type", "application/json")
    handler.finish('{"status":"ok"}')
