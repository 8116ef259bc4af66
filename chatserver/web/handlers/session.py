"""The session over HTTP: who am I, sign in, sign out."""

from __future__ import annotations

from uuid import UUID

from chatserver.errors import NotSignedInError
from chatserver.schemas import Company, Session, SessionActor, SignIn
from chatserver.services.access import Actor, Need, RoleName
from chatserver.web.http.base_handler import Handler


class SessionHandler(Handler, GET=Need.NOTHING, POST=Need.NOTHING, DELETE=Need.NOTHING):
    """Responds to clients that are not signed in, too."""

    async def get(self) -> None:
        access = self.context.access
        try:
            actor = await access.authenticate(self.request.headers, self.caller)
        except NotSignedInError:
            self.write_json(Session(mode=access.mode, actor=None, companies=[]))
            return
        # An actor who may see all companies begins with the default one.
        companies = actor.companies or {self.context.settings.default_company_id}
        names = {company: settings.name for company, settings in self.context.settings.companies.items()}
        self.write_json(
            Session(
                mode=access.mode,
                actor=SessionActor(name=actor.name),
                companies=[
                    Company(id=company, name=names.get(company), role=_role(actor, company))
                    for company in sorted(companies)
                ],
            )
        )

    def post(self) -> None:
        """In local_trusted there is nothing to sign in to: the token is ignored, and no cookie is set."""
        self.body(SignIn)
        self.write_nothing()

    def delete(self) -> None:
        self.write_nothing()


def _role(actor: Actor, company_id: UUID) -> RoleName | None:
    role = actor.role_in(company_id)
    return None if role is None or actor.author is None else role.label
