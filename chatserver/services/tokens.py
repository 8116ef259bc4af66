"""Signing in with tokens (`auth = "authenticated"`): bearers, and the sessions of browsers.

Who sends a request is looked up in the database, each time: a token that was revoked lets nobody in any more. The
lookups of requests that come together are one statement.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from uuid import UUID

from sqlalchemy import Connection

from chatserver import credentials
from chatserver.audit_events import SignIn, SignInFailed, SignInFailure, SignInWay, SignOut
from chatserver.errors import BadTokenError, NotSignedInError, Problem, UnavailableError, ValidationError
from chatserver.rate_limits import RateLimiter
from chatserver.services.access import Access, Actor, Caller, Mode, Role
from chatserver.services.audit import AuditLog
from chatserver.storage import audit, sign_in
from chatserver.storage.postgres.batches import Batcher, Batches
from chatserver.storage.postgres.database import Database
from chatserver.storage.sign_in import Credential, Known, Lifetimes, Unknown

COOKIE = "chatserver_session"
# With this prefix browsers take a cookie only from this very host, over TLS.
SECURE_COOKIE = f"__Host-{COOKIE}"

# So many bad credentials, and failed sign-ins, of one address per minute cost a lookup; of others nothing is asked.
BAD_TOKENS_PER_MINUTE = 60
FAILED_SIGN_INS_PER_MINUTE = 20
# More of cookies: those of sessions that are over stay in browsers, and many may share an address.
BAD_COOKIES_PER_MINUTE = 600
# The most credentials that are remembered as good ones: they are looked up whatever others at their address do.
MAX_GOOD = 20_000

_SESSION_OVER = "The session is over: sign in again"


class TokenSignIn:
    """`access.Authenticator` for tokens, which also signs browsers in and out. `database` runs the batches."""

    mode: Mode = "authenticated"

    def __init__(self, database: Database, lifetimes: Lifetimes, audit_log: AuditLog) -> None:
        self.lifetimes = lifetimes
        self._database = database
        self._audit = audit_log
        self._look_ups: Batcher[Credential, Known | Unknown] = Batches(database).of(
            partial(sign_in.look_up, lifetimes=lifetimes)
        )
        self._bad = RateLimiter(BAD_TOKENS_PER_MINUTE, bound="bad_credentials")
        self._over = RateLimiter(BAD_COOKIES_PER_MINUTE, bound="bad_credentials")
        self._failed = RateLimiter(FAILED_SIGN_INS_PER_MINUTE, bound="failed_sign_ins")
        self._good: OrderedDict[bytes, UUID] = OrderedDict()

    # --- requests -----------------------------------------------------------------------------------------

    async def authenticate(self, headers: Mapping[str, str], caller: Caller) -> Actor:
        credential = credential_of(headers, caller)
        if credential is None:
            raise NotSignedInError
        known = await self._known(credential, self._over if credential.of_session else self._bad, caller)
        if known is None:
            if credential.of_session:
                raise NotSignedInError(_SESSION_OVER)
            await self._tell_refused(credential.digest, "bearer")
            raise BadTokenError
        role = Role.of(known.role)
        roles = None if known.company_id is None else {known.company_id: role}
        access = Access(known.token_id, role.label, known.session_id)
        return Actor(known.name, roles, author=known.name, access=access)

    def known_client(self, headers: Mapping[str, str], caller: Caller) -> str | None:
        try:
            credential = credential_of(headers, caller)
        except NotSignedInError:
            credential = None
        if credential is None:
            return caller.address
        token_id = self._good.get(credential.digest)
        return None if token_id is None else str(token_id)

    async def _known(self, credential: Credential, failures: RateLimiter, caller: Caller) -> Known | None:
        """Whose a credential is; None: nobody's. Raises RateLimitedError before a query."""
        if credential.digest not in self._good:
            failures.require_room(caller.address)
        known = await self._look_ups.carry_out(object(), credential, 0)
        if known is None:
            raise UnavailableError
        if isinstance(known, Unknown):
            failures.count(caller.address)
            self._good.pop(credential.digest, None)
            return None
        self._remember(credential.digest, known.token_id)
        return known

    def _remember(self, digest: bytes, token_id: UUID) -> None:
        """The credential of this digest is a good one."""
        self._good[digest] = token_id
        self._good.move_to_end(digest)
        if len(self._good) > MAX_GOOD:
            self._good.popitem(last=False)

    # --- sessions -----------------------------------------------------------------------------------------

    async def sign_in(self, token: str, headers: Mapping[str, str], caller: Caller) -> str:
        """Open a session with a token; the value of its cookie. The browser's session until now ends.

        Raises ValidationError without a token, NotSignedInError for one that is not good, and RateLimitedError after
        too many of them.
        """
        if not token:
            raise ValidationError([Problem("token", "Field required")])
        try:
            return await self._open_session(token, cookie_of(headers, caller), caller)
        except BadTokenError:
            await self._tell_refused(credentials.digest(token), "session")
            raise

    async def _open_session(self, token: str, former: str | None, caller: Caller) -> str:
        """The cookie's value of a new session, in place of the one with the value `former`. Raises as `sign_in`."""
        if not credentials.is_token(token):
            self._failed.check(caller.address)
            raise BadTokenError
        known = await self._known(Credential(credentials.digest(token), of_session=False), self._failed, caller)
        if known is None:
            raise BadTokenError
        value = credentials.new_cookie()
        digest, former_digest = credentials.digest(value), None if former is None else credentials.digest(former)
        await self._database.transaction(_open_session, known, digest, former_digest)
        self._remember(digest, known.token_id)
        return value

    async def _tell_refused(self, digest: bytes, way: SignInWay) -> None:
        """Have the audit log tell that a token was refused, and why."""
        former = await self._database.autocommit(sign_in.former_token, digest)
        if former is None:
            await self._audit.sign_in_failed(SignInFailed(way=way, reason="unknown"))
            return
        reason: SignInFailure = "revoked" if former.revoked_at is not None else "expired"
        await self._audit.sign_in_failed(
            SignInFailed(company_id=former.company_id, way=way, reason=reason), actor=former.name, token_id=former.id
        )

    async def sign_out(self, headers: Mapping[str, str], caller: Caller, *, everywhere: bool) -> None:
        """End the browser's session; `everywhere`: all sessions of its token, or of the bearer.

        Does nothing for who is not signed in. Raises NotSignedInError for a bad bearer.
        """
        credential = credential_of(headers, caller)
        if credential is None:
            return
        try:
            actor = await self.authenticate(headers, caller)
        except NotSignedInError:
            if credential.of_session:
                return  # it is over already
            raise
        if actor.access is not None and (everywhere or credential.of_session):
            await self._database.transaction(_close_sessions, actor, everywhere=everywhere)


def _open_session(connection: Connection, known: Known, digest: bytes, former: bytes | None) -> None:
    if not sign_in.open_session(connection, known.token_id, digest, former):  # it was erased just now, perhaps
        raise BadTokenError
    audit.record(connection, SignIn(company_id=known.company_id), actor=known.name, token_id=known.token_id)


def _close_sessions(connection: Connection, actor: Actor, *, everywhere: bool) -> None:
    """End the session by which the actor is here; `everywhere`: all of its token."""
    access = actor.access
    assert access is not None
    if everywhere:
        sign_in.close_sessions(connection, access.token_id)
    elif access.session_id is not None:
        sign_in.close_session(connection, access.session_id)
    company = None if actor.roles is None else next(iter(actor.roles))
    event = SignOut(company_id=company, everywhere=everywhere)
    audit.record(connection, event, actor=actor.author, token_id=access.token_id)


def credential_of(headers: Mapping[str, str], caller: Caller) -> Credential | None:
    """What a request shows: its bearer token, else its cookie; None: nothing.

    Raises BadTokenError for a bearer that is no token. Other schemes of `Authorization`, such as a proxy's own, are
    none of ours.
    """
    authorization = headers.get("Authorization", "")
    scheme, _, token = authorization.strip().partition(" ")
    if scheme.lower() == "bearer":
        token = token.strip()
        if not credentials.is_token(token):
            raise BadTokenError
        return Credential(credentials.digest(token), of_session=False)
    value = cookie_of(headers, caller)
    return None if value is None else Credential(credentials.digest(value), of_session=True)


def cookie_of(headers: Mapping[str, str], caller: Caller) -> str | None:
    """The value of the session's cookie, if there is one that could be ours, and the server's own page sends it."""
    if caller.is_other_page:
        return None
    name = SECURE_COOKIE if caller.is_secure else COOKIE
    for pair in headers.get("Cookie", "").split(";"):
        given, _, value = pair.partition("=")
        if given.strip() == name:
            value = value.strip()
            return value if credentials.is_cookie(value) else None
    return None
