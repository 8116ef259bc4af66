"""The choice of the provider that answers for an agent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chatserver.errors import UnavailableError
from chatserver.provider_schemas import Providers, ProviderSummary
from chatserver.providers.base import Prompt, Provider, Turn
from chatserver.schemas import LlmConfig
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
    """The operator's providers by name, and the echo. `default` names the one for agents that are not registered."""

    def __init__(self, providers: Mapping[str, Provider], echo: Provider, default: str | None) -> None:
        self._providers = providers
        self._echo = ChosenProvider(echo)
        self._default = self._echo if default is None else ChosenProvider(providers[default])

    @property
    def names(self) -> Sequence[str]:
        """The providers that agents may name."""
        return tuple(self._providers)

    @property
    def default_needs_text(self) -> bool:
        """Whether there must be something to answer where the agent is not registered."""
        return self._default.provider.needs_user_turn

    def for_agent(self, agent: Any | None) -> ChosenProvider:
        """The provider of a registered agent, given its row; None: the default.

        Raises UnavailableError if the agent's provider is not configured any more.
        """
        if agent is None:
            return self._default
        if agent.adapter_type == "echo":
            return self._echo
        config = LlmConfig.model_validate(agent.adapter_config)
        provider = self._providers.get(config.provider or "")
        if provider is None:
            raise UnavailableError("The provider of this agent is not configured")
        return ChosenProvider(provider, config)

    def close(self) -> None:
        """Close all providers."""
        self._echo.provider.close()
        for provider in self._providers.values():
            provider.close()


def list_providers(settings: Settings) -> Providers:
    """What clients may know of the configured providers, in the order of the configuration."""
    return Providers(
        items=[
            ProviderSummary(name=name, kind=provider.kind, model=None if provider.kind == "echo" else provider.model)
            for name, provider in settings.providers.items()
        ],
        default=settings.answering_provider,
    )
