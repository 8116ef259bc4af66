"""Which provider answers for which agent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chatserver.errors import UnavailableError
from chatserver.providers.base import Prompt, Provider, Turn
from chatserver.schemas import LlmConfig


@dataclass(frozen=True, slots=True)
class Model:
    """A provider, set as an agent wants it (`config` is None where no agent says anything)."""

    provider: Provider
    config: LlmConfig | None = None

    def prompt(self, turns: tuple[Turn, ...]) -> Prompt:
        """What it is asked."""
        if self.config is None:
            return Prompt(turns)
        return Prompt(
            turns,
            system=self.config.system_prompt,
            model=self.config.model,
            temperature=self.config.temperature,
            max_tokens=self.config.max_tokens,
        )


class Models:
    """The operator's providers by name, the echo, and the default for agents that are not registered."""

    def __init__(self, providers: Mapping[str, Provider], echo: Provider, default: str | None) -> None:
        self._providers = providers
        self._echo = Model(echo)
        self._default = self._echo if default is None else Model(providers[default])

    def of(self, agent: Any | None) -> Model:
        """The model of a registered agent's row, or the default for None.

        Raises UnavailableError when the agent's provider is not configured any more.
        """
        if agent is None:
            return self._default
        if agent.adapter_type == "echo":
            return self._echo
        config = LlmConfig.model_validate(agent.adapter_config)
        provider = self._providers.get(config.provider or "")
        if provider is None:
            raise UnavailableError("The provider of this agent is not configured")
        return Model(provider, config)

    def close(self) -> None:
        """Give back what the providers hold."""
        self._echo.provider.close()
        for provider in self._providers.values():
            provider.close()
