"""Which providers a company may use, and which of them answers where no agent is registered."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from chatserver.settings import answering


class CompanyProviders:
    """`companies`: by a provider's name the companies that may use it; empty: all may.

    `default`: the provider that answers by default in all companies that may use it.
    """

    def __init__(self, companies: Mapping[str, Collection[UUID]], default: str | None) -> None:
        self._companies = {name: frozenset(allowed) for name, allowed in companies.items()}
        self._default = default
        self.of_all = tuple(name for name, allowed in self._companies.items() if not allowed)
        """The names of those that all companies may use."""

    def of_any(self, companies: Collection[UUID] | None) -> Sequence[str]:
        """The names of those that at least one of these companies may use; None stands for all companies."""
        return [
            name
            for name, allowed in self._companies.items()
            if not allowed or companies is None or not allowed.isdisjoint(companies)
        ]

    def of_some(self) -> Sequence[tuple[UUID, str]]:
        """Of those that not all companies may use: who may use which."""
        return [(company, name) for name, allowed in self._companies.items() for company in allowed]

    def may_use(self, company_id: UUID, name: str) -> bool:
        """Whether the provider exists for the company."""
        allowed = self._companies.get(name)
        return allowed is not None and (not allowed or company_id in allowed)

    def default(self, company_id: UUID) -> str | None:
        """The one that answers in a company where no agent is registered; None: the built-in echo."""
        return answering(self.of_any((company_id,)), self._default)

    def defaults(self) -> Collection[str | None]:
        """All that answer by default in some company."""
        named = {company for company, _ in self.of_some()}
        return {answering(self.of_all, self._default), *(self.default(company) for company in named)}
