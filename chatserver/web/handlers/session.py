"""The session over HTTP: who am I, sign in, sign out."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from chatserver.errors import BadTokenError, ForbiddenError, NotSignedInError
from chatserver.role_names import RoleName
from chatserver.schema_types import Wire
from chatserver.schemas import Company, Session, SessionActor, SignIn
from chatserver.services.access import Actor, Need
from chatserver.services.tokens import COOKIE, SECURE_COOKIE, TokenSignIn
from chatserver.web.http.base_handler import Handler

# What a browser has stored for this site. Not "cookies": those of other servers of the same domain would go, too.
_CLEAR = '"storage"'


class SignOut(Wire):
    """Query of DELETE /session."""

    everywhere: Annotated[
        Literal["true", "false"],
        Field(description="`true`: all sessions of the same token end, those of other browsers too."),
    ] = "false"


class SessionHandler(Handler, GET=Need.NOTHING, POST=Need.NOTHING, DELETE=Need.NOTHING):
    """Responds to clients that are not signed in, too."""

    async def get(self) -> None:
        access = self.context.access
        try:
            actor = await access.authenticate(self.request.headers, self.caller)
        except BadTokenError:
            raise
        except NotSignedInError:
            if isinstance(access, TokenSignIn) and "Cookie" in self.request.headers:
                self._set_cookie("", 0)  # that of a session that is over
            self.write_json(Session(mode=access.mode, actor=None, companies=[]))
            return
        companies = await self.context.owners.companies_to_choose(actor)
        names = {company: settings.name for company, settings in self.context.settings.companies.items()}
        self.write_json(
            Session(
                mode=access.mode,
                actor=SessionActor(name=actor.name),
                companies=[
                    Company(id=company, name=names.get(company), role=_role(actor, company)) for company in companies
                ],
            )
        )

    async def post(self) -> None:
        """Where everyone is trusted, there is nothing to sign in to: the token is ignored, and no cookie is set."""
        access = self.context.access
        body = self.body(SignIn)
        if access.mode == "proxy":
            raise ForbiddenError("The proxy signs you in")
        if isinstance(access, TokenSignIn):
            if self.caller.is_other_page:  # it might sign somebody in as somebody else
                raise ForbiddenError("Origin is another site")
            value = await access.sign_in(body.token, self.request.headers, self.caller)
            self._set_cookie(value, int(access.lifetimes.max_seconds))
        self.write_nothing()

    async def delete(self) -> None:
        access = self.context.access
        query = self.query(SignOut)
        if isinstance(access, TokenSignIn):
            await access.sign_out(self.request.headers, self.caller, everywhere=query.everywhere == "true")
            self._set_cookie("", 0)
            self.set_header("Clear-Site-Data", _CLEAR)
        self.write_nothing()

    def _set_cookie(self, value: str, seconds: int) -> None:
        """Give the browser a cookie for so long; 0: take it away."""
        secure = self.caller.is_secure
        name, mark = (SECURE_COOKIE, "; Secure") if secure else (COOKIE, "")
        self.set_header("Set-Cookie", f"{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{mark}")


def _role(actor: Actor, company_id: UUID) -> RoleName | None:
    role = actor.role_in(company_id)
    return None if role is None or actor.author is None else role.label
