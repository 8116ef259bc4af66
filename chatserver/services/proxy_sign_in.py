"""Who it is where a proxy in front of the server signs people in: the proxy says it in headers (`auth = "proxy"`)."""

from __future__ import annotations

import contextlib
import random
import time
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from chatserver.errors import ConfigurationError, NotSignedInError
from chatserver.person_names import same_name
from chatserver.services.access import Actor, Caller, Mode, Role
from chatserver.settings import Settings
from chatserver.settings_tables import MembershipSettings

if TYPE_CHECKING:
    from tornado.httputil import HTTPHeaders

# Nobody tells the server that a person has left. So no response lasts longer than this: the client comes back, and the
# proxy says again who it is. A restart brings many clients at once; a tenth at random keeps them from coming so again.
ACCESS_SECONDS = 300.0
MAX_NAME_CHARS = 200
# Control characters, and the ends of lines and paragraphs.
_NOT_IN_NAMES = frozenset({"Cc", "Zl", "Zp"})
# Names with these look like others: characters without a width, or with a direction of their own. (Joiners, which some
# scripts need, are none of them.)
_INVISIBLE = frozenset("\u00ad\u180e\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069")


class ProxySignIn:
    """Believes the headers of trusted proxies, and of nobody else; `[[memberships]]` say what users and groups may."""

    mode: Mode = "proxy"

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigurationError if nobody could ever get in."""
        if not settings.trusted_proxies:
            raise ConfigurationError('auth = "proxy" needs the proxy that signs people in, in trusted_proxies')
        if not settings.memberships:
            raise ConfigurationError('auth = "proxy" needs [[memberships]], which say what users and groups may do')
        self._user_header = settings.user_header
        self._groups_header = settings.groups_header
        self._of_users = _by_name((item.user, item) for item in settings.memberships)
        self._of_groups = _by_name((item.group, item) for item in settings.memberships)

    async def authenticate(self, headers: HTTPHeaders, caller: Caller) -> Actor:
        """Raises NotSignedInError for a peer that is no trusted proxy, and for headers that name nobody.

        Also for a page of another site: the proxy adds the headers for whatever a browser sends.
        """
        if not caller.is_proxy or caller.is_other_page:
            raise NotSignedInError
        user = _one_text(headers, self._user_header)
        if not user or len(user) > MAX_NAME_CHARS:
            raise NotSignedInError
        memberships = [*self._of_users.get(user, ())]
        if self._groups_header in headers:
            for group in dict.fromkeys(_one_text(headers, self._groups_header).split(",")):
                memberships += self._of_groups.get(group.strip(), ())
        until = time.monotonic() + ACCESS_SECONDS * random.uniform(0.9, 1)  # noqa: S311 (no secret)
        return Actor(name=user, roles=_roles(memberships), author=user, until=until)

    def known_client(self, headers: HTTPHeaders, caller: Caller) -> str | None:
        if caller.is_proxy:
            with contextlib.suppress(NotSignedInError):
                return f"user {_one_text(headers, self._user_header)}"
        return caller.address


def _by_name(
    named: Iterable[tuple[str | None, MembershipSettings]],
) -> Mapping[str, Sequence[MembershipSettings]]:
    found: defaultdict[str, list[MembershipSettings]] = defaultdict(list)
    for name, membership in named:
        if name is not None:
            found[same_name(name)].append(membership)
    return dict(found)


def _roles(memberships: Iterable[MembershipSettings]) -> Mapping[UUID, Role] | None:
    """The highest role in each company; None: an administrator's, in all."""
    roles: dict[UUID, Role] = {}
    for membership in memberships:
        if membership.company is None:
            return None
        role = Role.of(membership.role)
        roles[membership.company] = max(role, roles.get(membership.company, role))
    return roles


def _one_text(headers: HTTPHeaders, name: str) -> str:
    """The text of a header: UTF-8 if it is, else Latin-1.

    Raises NotSignedInError if the header is missing, is there twice (then one of them may be the client's own), or
    holds control characters.
    """
    values = headers.get_list(name)
    if len(values) != 1:
        raise NotSignedInError
    text = values[0]
    if not text.isascii():
        with contextlib.suppress(UnicodeError):
            text = text.encode("latin-1").decode("utf-8")
    text = same_name(text)
    if not text.isprintable() and any(
        character in _INVISIBLE or unicodedata.category(character) in _NOT_IN_NAMES for character in text
    ):
        raise NotSignedInError
    return text
