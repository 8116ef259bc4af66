"""Who may send a request: looked at when its head is there, before its body is read.

The rules are those of `services/access.py`. Every handler says what its methods need, and is dispatched accordingly.
"""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Mapping, Sequence
from functools import cache
from typing import ClassVar
from uuid import UUID

import tornado.web

from chatserver.errors import ForbiddenError, MalformedError, NotSignedInError, UnavailableError
from chatserver.origin import Origin, Share, origin, share
from chatserver.services.access import API, Actor, Need, Role
from chatserver.web.http import parsing
from chatserver.web.http.body_limits import ANYBODY
from chatserver.web.http.caller import RequestCaller
from chatserver.web.http.cors import is_allowed_origin
from chatserver.web.http.guards import under_api
from chatserver.web.http.server_stream import ServerStream
from chatserver.web.http.slim_handler import SlimHandler

# Methods for which a handler says what they need. HEAD needs what GET does, OPTIONS nothing.
_RULED = ("GET", "POST", "PUT", "PATCH", "DELETE")

_COMPANIES = f"{API}/companies/"


class AdmittingHandler(SlimHandler):
    """A handler that is dispatched only for those who may.

    A subclass says what each method that it serves needs, as in `class AgentsHandler(Handler, GET=Need.READER)`; one
    that forgets it cannot be defined.
    """

    needs: ClassVar[Mapping[str, Need]] = {}
    """What each method needs."""
    otherwise: ClassVar[Need] = Need.NOTHING
    """What is needed to be told that the handler does not have a method."""

    actor: Actor
    """Who sent the request, with the companies in which they have the role that it needs. There if it needs one."""
    _signed_in: Actor
    """Who sent the request, with all their companies."""

    _is_counted = True
    """False: whom the request is to be counted for turns out when they are signed in."""
    caller: RequestCaller
    _parameters: Sequence[str]
    """The texts of the path's parameters, as they are in the path."""
    _stream: ServerStream | None
    """The stream of the connection; None under a server that is not ours."""

    def __init_subclass__(cls, **needs: Need) -> None:
        super().__init_subclass__()
        cls.needs = {**cls.needs, **needs}
        served = [method for method in _RULED if cls.implements(method)]
        if unruled := [method for method in served if method not in cls.needs]:
            raise TypeError(f"{cls.__name__} does not say what {', '.join(unruled)} needs")

    @classmethod
    @cache
    def allowed_methods(cls) -> Sequence[str]:
        names = [name for name in cls.SUPPORTED_METHODS if cls.implements(name)]
        return [name for name in names if name != "HEAD" or "GET" in names]

    @classmethod
    @cache
    def implements(cls, method: str) -> bool:
        """Whether the handler serves a method of `SUPPORTED_METHODS`, if only by saying that it does not have it."""
        return getattr(cls, method.lower()) is not getattr(tornado.web.RequestHandler, method.lower())

    async def admit(self) -> None:
        """Raises a ChatServerError to refuse the request before its body is read. The guards have let it pass."""
        need = self.need
        if under_api(self.request.path) and not self._is_preflight():
            self._check_load(signs_in=need.role is not None)
        if need is Need.OPERATOR:
            await self._require_operator()
        elif need.role is not None:
            await self._sign_in(need.role)

    @property
    def need(self) -> Need:
        """What the request needs from whoever sent it."""
        method = self.request.method or ""
        if method == "OPTIONS":
            return Need.NOTHING
        return self.needs.get("GET" if method == "HEAD" else method, self.otherwise)

    async def _sign_in(self, role: Role) -> None:
        """Find out who the actor is. Raises ForbiddenError if they lack the role for what the request is about."""
        actor = self._signed_in = await self._authenticated()
        if actor.author is not None:
            origin.set(Origin(self.caller, actor.author, None if actor.access is None else actor.access.token_id))
        share.set(self._share(actor))
        await self.require(role)
        if actor.is_administrator and actor.author is not None and self._parameters and self._reads():
            await self.context.audit.administrator_reads(actor, *self._resource())

    async def _authenticated(self) -> Actor:
        """Who sent the request. Whoever could not be counted before is counted now."""
        access, headers, caller = self.context.access, self.request.headers, self.caller
        if self._is_counted:
            return await access.authenticate(headers, caller)
        try:
            actor = await access.authenticate(headers, caller)
        except NotSignedInError:
            self.context.rates.check(caller.address)
            raise
        self.context.rates.check(access.known_client(headers, caller) or caller.address)
        return actor

    async def require(self, role: Role) -> None:
        """From now on the actor has only the companies in which they have this role, or a higher one.

        Raises ForbiddenError if they have it in none, or not for what the request is about.
        """
        self.actor = self._signed_in.acting_as(role)
        if self.actor is not self._signed_in and self._parameters:
            await self.context.owners.require_role(self._signed_in, role, *self._resource())

    def _resource(self) -> tuple[str, UUID]:
        """What the request is about: the resource's segment in paths, and its id. Raises MalformedError."""
        return self.request.path.split("/")[2], parsing.parse_id(parsing.path_argument(self._parameters[0]))

    def _share(self, actor: Actor) -> Share | None:
        """Whose share the request takes of what all need; None: where nobody is signed in, there are no shares."""
        if actor.author is None:
            return None
        if actor.only_company is not None:
            return actor.only_company
        if self._parameters and self.request.path.startswith(_COMPANIES):
            with contextlib.suppress(MalformedError):
                return self._resource()[1]
        return actor.author

    def _reads(self) -> bool:
        """Whether the response tells what somebody else has made. That of a change tells it, too; a new thing is one's
        own."""
        method = self.request.method or ""
        is_new = method == "POST" and self.request.path.startswith(_COMPANIES)
        return self.implements(method) and not is_new

    async def admit_again(self) -> None:
        """The body took its time: look again whether whoever sends it still may."""
        role = self.need.role
        if role is not None and self._signed_in.author is not None:
            self._signed_in = await self.context.access.authenticate(self.request.headers, self.caller)
            await self.require(role)

    @property
    def body_share(self) -> Hashable:
        """Whose share of the room for bodies the request takes; None: nobody's, since everyone is trusted."""
        if self.context.access.mode == "local_trusted":
            return None
        return ANYBODY if self.need.role is None else share.get()

    async def _require_operator(self) -> None:
        access, headers = self.context.access, self.request.headers
        if access.mode == "local_trusted":
            return
        # A trusted proxy that names a user asks on that user's behalf, not on its own.
        names_user = access.mode == "proxy" and self.context.settings.user_header in headers
        is_operators = self.caller.is_operators and not names_user
        if is_operators and "Authorization" not in headers:
            return
        actor = await access.authenticate(headers, self.caller)
        if not actor.is_administrator and not is_operators:
            raise ForbiddenError("This is for administrators")

    def _is_preflight(self) -> bool:
        """Whether a browser asks on behalf of an allowed site's page. It does so unbidden, and costs nothing."""
        headers, allowed = self.request.headers, self.context.guards.allowed_origins
        asks = self.request.method == "OPTIONS" and "Access-Control-Request-Method" in headers
        return asks and bool(allowed) and is_allowed_origin(headers, allowed)

    def _check_load(self, *, signs_in: bool) -> None:
        """Raises UnavailableError if there are too many connections, RateLimitedError if the client asks too often.

        Whose the request is may be known only later: if it `signs_in`, it is counted then, else for its address.
        """
        if self._stream is not None and self._stream.surplus:
            raise UnavailableError("Too many connections are open")
        if self.context.rates.is_off:
            return
        client = self.context.access.known_client(self.request.headers, self.caller)
        if client is None and signs_in:
            self._is_counted = False
            return
        self.context.rates.check(client or self.caller.address)
