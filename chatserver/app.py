"""The parts of one process, built and joined in one place."""

from __future__ import annotations

from collections.abc import Mapping

from chatserver.channels import inbox
from chatserver.databases import open_database
from chatserver.garbage import GarbageCollection
from chatserver.ids import uuid7
from chatserver.lanes import Lane
from chatserver.live.answers import Answers
from chatserver.live.following import Following
from chatserver.live.run_context import RunContext
from chatserver.live.sharing import Sharing
from chatserver.loop_lag import LoopLag
from chatserver.loop_share import LoopShare
from chatserver.metrics import Metrics
from chatserver.providers.echo import EchoProvider
from chatserver.providers.factory import make_provider
from chatserver.rate_limits import RateLimiter
from chatserver.services.access import Authenticator, LocalTrusted
from chatserver.services.access_watch import AccessWatch
from chatserver.services.agents import AgentService
from chatserver.services.answer_store import PostgresAnswerStore
from chatserver.services.audit import AuditLog
from chatserver.services.bookmarks import BookmarkService
from chatserver.services.company_streams import CompanyStreams
from chatserver.services.conversations import ConversationService
from chatserver.services.export import ExportService
from chatserver.services.health import ANSWER_SECONDS, DatabaseHealth
from chatserver.services.housekeeping import Housekeeping, rules_of
from chatserver.services.owners import Owners
from chatserver.services.provider_choice import ProviderChoice
from chatserver.services.proxy_sign_in import ProxySignIn
from chatserver.services.rendering import RenderingService
from chatserver.services.search import SearchService
from chatserver.services.sharing_store import PostgresHints, PostgresSharingStore
from chatserver.services.tokens import TokenSignIn
from chatserver.services.turns import Turns
from chatserver.settings import Settings
from chatserver.storage.frames import SESSION_SETTINGS as SHARING_SESSION_SETTINGS
from chatserver.storage.postgres.batches import MAX_UNDER_WAY
from chatserver.storage.postgres.notifications import Notifications
from chatserver.storage.sign_in import Lifetimes
from chatserver.storage.turns.statements import SESSION_SETTINGS
from chatserver.version import installed_version
from chatserver.web.assembly import make_application
from chatserver.web.handler_context import HandlerContext
from chatserver.web.http.fast_flush import FastFlush
from chatserver.web.http.guards import Guards
from chatserver.web.http.hangups import Hangups
from chatserver.web.http.large_lists import LargeLists
from chatserver.web.http.open_requests import OpenRequests
from chatserver.web.http.open_streams import OpenStreams
from chatserver.web.page.page_files import Page

# Each holds about a megabyte in memory while its reader takes nothing.
MAX_LARGE_LISTS = 64
# One writes events of answers for other processes, one reads theirs.
SHARING_CONNECTIONS = 2
# How long a call of these may take: what readers elsewhere wait for is tried again soon.
SHARING_SECONDS = 5.0
# So many calls that hang are given up before a lease is over.
LEASE_CALLS = 2


class App:
    """The server without its sockets; `web` is the Tornado application. The database at `url` must be migrated.

    Raises ConfigurationError if nobody could sign in by a proxy, or a provider's key is not valid. `serving.py` starts
    and closes it.
    """

    def __init__(self, settings: Settings, url: str, environment: Mapping[str, str]) -> None:
        self.settings = settings
        self.draining = False
        self._hangups = Hangups()
        self.metrics = Metrics(installed_version())
        self._loop_lag = LoopLag(self.metrics.loop_lag_seconds)
        self.database = open_database(settings, url, self.metrics, settings.database_connections)
        # For leases and access: they must not wait behind the requests of users. A call that hangs must leave time for
        # another one before a lease is over.
        self.pulse = open_database(
            settings, url, self.metrics, 1, heavy=0, call_seconds=settings.lease_seconds / LEASE_CALLS
        )
        share = LoopShare()
        self.providers = ProviderChoice(
            {name: make_provider(name, provider, environment, share) for name, provider in settings.providers.items()},
            EchoProvider(share=share),
            settings.default_provider,
            {name: provider.companies for name, provider in settings.providers.items()},
        )
        owner = uuid7()
        self.batches = open_database(
            settings, url, self.metrics, MAX_UNDER_WAY, heavy=0, session_settings=SESSION_SETTINGS
        )
        common_turns = Turns(self.batches, self.providers, owner, settings.lease_seconds)
        store = PostgresAnswerStore(
            self.database,
            self.pulse,
            self.providers,
            owner,
            settings.lease_seconds,
            common_turns,
            settings.company_max_runs,
        )
        self.streams = OpenStreams(settings.max_streams, self.metrics, look_seconds=_look_seconds(settings))
        # For this alone: it may wait for a transaction of another process. Without a limit it is never connected.
        self.counting = open_database(settings, url, self.metrics, 1, heavy=0)
        owners = Owners(self.database, settings.default_company_id)
        self.company_streams = CompanyStreams(self.counting, owners, owner, settings.company_max_streams)
        self.requests = OpenRequests()
        # For this alone: many times a second, and it must not wait behind the requests of users.
        self.sharing = open_database(
            settings,
            url,
            self.metrics,
            SHARING_CONNECTIONS,
            heavy=0,
            session_settings=SHARING_SESSION_SETTINGS,
            call_seconds=SHARING_SECONDS,
        )
        self.notifications = Notifications(settings.listen_database_url or url, self.metrics)
        sharing_store = PostgresSharingStore(self.sharing, owner, store.absence)
        run_context = RunContext(
            store,
            Sharing(sharing_store),
            Following(sharing_store, PostgresHints(self.notifications)),
            self.metrics,
            resume_grace_seconds=settings.resume_grace_seconds,
            max_answer_chars=settings.max_answer_chars,
        )
        self.answers = Answers(run_context, lease_seconds=settings.lease_seconds, max_runs=settings.max_runs)
        self.notifications.listen(inbox(owner), self.answers.heard)
        lifetimes = Lifetimes(settings.session_idle_hours * 3_600, settings.session_max_days * 86_400)
        self.audit = AuditLog(self.database, owners, self.metrics)
        access: Authenticator = LocalTrusted()
        if settings.auth == "authenticated":
            access = TokenSignIn(self.batches, lifetimes, self.audit)
        elif settings.auth == "proxy":
            access = ProxySignIn(settings)
        self._probe = open_database(settings, url, self.metrics, 1, heavy=0, call_seconds=ANSWER_SECONDS)
        self.health = DatabaseHealth(
            self._probe, (self.database, self.pulse, self.batches, self.counting, self.sharing)
        )
        self._watch = AccessWatch(self.pulse, self.answers, lifetimes)
        self._garbage = GarbageCollection(lambda: len(self.streams) + len(self.answers))
        self.rendering = RenderingService()
        # One thread for Python that takes long: more would only wait for each other.
        self.texts = Lane("texts", 1)
        self.housekeeping = Housekeeping(
            self.database,
            rules_of(settings),
            lifetimes,
            audit_days=settings.audit_retention_days,
            forget=self.rendering.forget,
        )
        self.context = HandlerContext(
            conversations=ConversationService(self.database, self.answers, common_turns, forget=self.rendering.forget),
            rendering=self.rendering,
            search=SearchService(self.database, self.texts),
            export=ExportService(self.database, self.texts, self.audit),
            bookmarks=BookmarkService(self.database),
            agents=AgentService(self.database, self.providers.rights),
            answers=self.answers,
            streams=self.streams,
            company_streams=self.company_streams,
            requests=self.requests,
            access=access,
            watch=self._watch,
            owners=owners,
            audit=self.audit,
            guards=Guards(allowed_hosts=settings.allowed_hosts, allowed_origins=settings.allowed_origins),
            settings=settings,
            metrics=self.metrics,
            health=self.health,
            hangups=self._hangups,
            fast_flush=FastFlush(enabled=settings.fast_flush),
            large_lists=LargeLists(MAX_LARGE_LISTS),
            rates=RateLimiter(settings.requests_per_minute, bound="requests_per_minute"),
            draining=lambda: self.draining,
            page=Page(max_message_chars=settings.max_message_chars),
        )
        self.web = make_application(self.context)

    def start(self) -> None:
        """Begin what works in the background."""
        self.health.start()
        self.notifications.start()
        self.answers.start()
        self._watch.start()
        self._loop_lag.start()
        self._garbage.start()
        self.housekeeping.start()

    def begin_drain(self) -> None:
        """Take no new work. What has begun goes on."""
        self.draining = True
        self.streams.draining = True
        self.answers.draining = True

    async def finish_work(self) -> None:
        """Return when all streams, all answers that go on without readers, and all other requests have ended."""
        await self.streams.wait_empty()
        await self.answers.finish_continuing()
        await self.requests.finish()

    async def close(self) -> None:
        """Hand over the answers that are still being generated, and close all parts."""
        await self.health.close()
        await self.housekeeping.close()
        await self._watch.close()
        await self.answers.close()
        await self.notifications.close()
        await self.company_streams.close()
        await self.rendering.close()
        self._loop_lag.close()
        self._garbage.close()
        self._hangups.close()
        self.providers.close()
        self.texts.close()
        self.database.close()
        self.batches.close()
        self.pulse.close()
        self.counting.close()
        self.sharing.close()
        self._probe.close()


def _look_seconds(settings: Settings) -> float:
    """How often streams are looked after. Pings are early by twice that at most."""
    return min(settings.ping_seconds, settings.slow_reader_seconds, 16) / 32
