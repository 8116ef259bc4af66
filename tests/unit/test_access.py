"""Which companies an actor may see, and who everyone is in `local_trusted`."""

from __future__ import annotations

from uuid import uuid4

import pytest
from tornado.httputil import HTTPHeaders

from chatserver.errors import ForbiddenError
from chatserver.services.access import Actor, LocalTrusted, Role, local_actor
from chatserver.web.http.caller import RequestCaller


async def test_everyone_is_the_board_in_local_trusted() -> None:
    actor = await LocalTrusted().authenticate(HTTPHeaders(), RequestCaller("127.0.0.1", "http", HTTPHeaders(), ()))
    assert actor == local_actor()
    assert (actor.name, actor.scope) == ("board", None)
    actor.require_company(uuid4())


def test_an_actor_of_a_company_is_kept_to_it() -> None:
    company = uuid4()
    actor = Actor("someone", {company: Role.READER})
    assert actor.scope == (company,)
    actor.require_company(company)
    with pytest.raises(ForbiddenError):
        actor.require_company(uuid4())
    with pytest.raises(ForbiddenError):
        Actor("nobody", {}).require_company(company)
