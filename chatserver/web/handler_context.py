"""What all handlers share: services, limits, metrics and settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chatserver.live.answers import Answers
from chatserver.metrics import Metrics
from chatserver.rate_limits import RateLimiter
from chatserver.services.access import Authenticator
from chatserver.services.access_watch import AccessWatch
from chatserver.services.agents import AgentService
from chatserver.services.audit import AuditLog
from chatserver.services.bookmarks import BookmarkService
from chatserver.services.company_streams import CompanyStreams
from chatserver.services.conversations import ConversationService
from chatserver.services.export import ExportService
from chatserver.services.health import DatabaseHealth
from chatserver.services.owners import Owners
from chatserver.services.rendering import RenderingService
from chatserver.services.search import SearchService
from chatserver.settings import Settings
from chatserver.web.http.fast_flush import FastFlush
from chatserver.web.http.guards import Guards
from chatserver.web.http.hangups import Hangups
from chatserver.web.http.large_lists import LargeLists
from chatserver.web.http.open_requests import OpenRequests
from chatserver.web.http.open_streams import OpenStreams
from chatserver.web.page.page_files import Page


@dataclass(frozen=True, slots=True)
class HandlerContext:
    """Built once, by `app.py`. `draining` says whether the process is about to stop."""

    conversations: ConversationService
    rendering: RenderingService
    search: SearchService
    export: ExportService
    bookmarks: BookmarkService
    agents: AgentService
    answers: Answers
    streams: OpenStreams
    company_streams: CompanyStreams
    requests: OpenRequests
    access: Authenticator
    owners: Owners
    watch: AccessWatch
    audit: AuditLog
    guards: Guards
    settings: Settings
    metrics: Metrics
    health: DatabaseHealth
    rates: RateLimiter
    hangups: Hangups
    fast_flush: FastFlush
    large_lists: LargeLists
    draining: Callable[[], bool]
    page: Page
