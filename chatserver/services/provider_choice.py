"""The choice of the provider that answers for an agent."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from chatserver.errors import UnavailableError
from chatserver.provider_schemas import Providers, ProviderSummary
from chatserver.providers.base import Prompt, Provider, Turn
from chatserver.schemas import LlmConfig
from chatserver.services.company_providers import CompanyProviders
from chatserver.settings import Settings


@dataclass(frozen=True, slots=True)
class ChosenProvider:
    """A provider with the settings of an agent; `config` None: the agent is not registered, or has no settings."""

    provider: Provider
    config: LlmConfig | None = None

    def prompt(self, turns: tuple[Turn, ...]) -> Prompt:
        """The prompt with the agent's settings."""
        if self.config is None:
            return Prompt(turns)
        return Prompt(
            turns,
            system=self.config.system_prompt,
            model=self.config.model,
            temperature=self.config.temperature,
            max_tokens=self.config.max_tokens,
        )

    def room_for_history(self, prompt: Prompt) -> int:
        """How many characters of earlier messages fit before a prompt that has only the question."""
        if not self.provider.needs_user_turn:
            # The provider reads only the question: a long history is not loaded for it.
            return 0
        taken = len(prompt.system or "") + sum(len(turn.content) for turn in prompt.turns)
        return max(0, self.provider.max_prompt_chars - taken)


class ProviderChoice:
    """The operator's providers by name, and the echo.

    `default` names the one for agents that are not registered. `companies`: see `CompanyProviders`.
    """

    def __init__(
        self,
        providers: Mapping[str, Provider],
        echo: Provider,
        default: str | None,
        companies: Mapping[str, Collection[UUID]] | None = None,
    ) -> None:
        self._providers = providers
        self._echo = ChosenProvider(echo)
        self._defaults = {name: ChosenProvider(provider) for name, provider in providers.items()}
        self.rights = CompanyProviders({name: (companies or {}).get(name, ()) for name in providers}, default)

    @property
    def default_needs_text(self) -> bool:
        """Whether there must be something to answer where the agent is not registered, in any of the companies."""
        return any(self._by_default(name).provider.needs_user_turn for name in self.rights.defaults())

    def _by_default(self, name: str | None) -> ChosenProvider:
        return self._echo if name is None else self._defaults[name]

    def for_agent(self, company_id: UUID, agent: Any | None) -> ChosenProvider:
        """The provider of a registered agent of a company, given its row; None: the default one.

        Raises UnavailableError if the agent's provider is not configured for the company any more.
        """
        if agent is None:
            return self._by_default(self.rights.default(company_id))
        if agent.adapter_type == "echo":
            return self._echo
        config = LlmConfig.model_validate(agent.adapter_config)
        name = config.provider or ""
        if not self.rights.may_use(company_id, name):
            raise UnavailableError("The provider of this agent is not configured")
        return ChosenProvider(self._providers[name], config)

    def close(self) -> None:
        """Close all providers."""
        self._echo.provider.close()
        for provider in self._providers.values():
            provider.close()


def list_providers(
    settings: Settings, companies: Collection[UUID] | None = None, first: UUID | None = None
) -> Providers:
    """What clients of some companies may know of the configured providers, in the order of the configuration.

    `companies` None: of all. The default is that of the company `first`; None: of `default_company_id`.
    """
    rights = company_providers(settings)
    names = rights.of_any(companies)
    return Providers(
        items=[
            ProviderSummary(name=name, kind=provider.kind, model=None if provider.kind == "echo" else provider.model)
            for name, provider in settings.providers.items()
            if name in names
        ],
        default=rights.default(first or settings.default_company_id),
    )


def company_providers(settings: Settings) -> CompanyProviders:
    return CompanyProviders(
        {name: provider.companies for name, provider in settings.providers.items()}, settings.default_provider
    )
