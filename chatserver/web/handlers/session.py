"""The session over HTTP: who am I, sign in, sign out."""

from __future__ import annotations

from chatserver.errors import NotSignedInError
from chatserver.schemas import Company, Session, SessionActor, SignIn
from chatserver.web.http.base_handler import Handler


class SessionHandler(Handler):
    """Responds to clients that are not signed in, too."""

    async def get(self) -> None:
        access = self.context.access
        try:
            actor = await access.authenticate(self.request.headers)
        except NotSignedInError:
            self.write_json(Session(mode=access.mode, actor=None, companies=[]))
            return
        # An actor who may see all companies begins with the default one.
        companies = actor.companies or {self.context.settings.default_company_id}
        self.write_json(
            Session(
                mode=access.mode,
                actor=SessionActor(name=actor.name),
                companies=[Company(id=company) for company in sorted(companies)],
            )
        )

    def post(self) -> None:
        """In local_trusted there is nothing to sign in to: the token is ignored, and no cookie is set."""
        self.body(SignIn)
        self.write_nothing()

    def delete(self) -> None:
        self.write_nothing()
