"""Who am I, over HTTP; and signing in and out."""

from __future__ import annotations

from chatserver.errors import NotSignedInError
from chatserver.schemas import Company, Session, SessionActor, SignIn
from chatserver.web.http.base_handler import Handler


class SessionHandler(Handler):
    """Answers those who are not signed in, too: they learn that they are not."""

    async def get(self) -> None:
        access = self.context.access
        try:
            actor = await access.authenticate(self.request.headers)
        except NotSignedInError:
            self.write_json(Session(mode=access.mode, actor=None, companies=[]))
            return
        # For those who may see all companies, the one that the page should begin with.
        companies = actor.companies or {self.context.settings.default_company_id}
        self.write_json(
            Session(
                mode=access.mode,
                actor=SessionActor(name=actor.name),
                companies=[Company(id=company) for company in sorted(companies)],
            )
        )

    def post(self) -> None:
        """Where everyone is trusted there is nothing to sign in to: no token is looked at and no cookie set."""
        self.body(SignIn)
        self.write_nothing()

    def delete(self) -> None:
        self.write_nothing()
