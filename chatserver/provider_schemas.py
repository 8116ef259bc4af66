"""What clients may know of the providers in the server's configuration (camelCase JSON)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from chatserver.schema_types import Wire


class ProviderSummary(Wire):
    """A provider of the server's configuration, as far as clients may know it: neither its URL nor its key."""

    name: Annotated[str, Field(description="What the `provider` of an agent's adapterConfig names.")]
    kind: Literal["openai", "anthropic", "echo"]
    model: Annotated[str | None, Field(description="Answers for agents that name no model. Null: an echo has none.")]


class Providers(Wire):
    """The providers that agents may name, and the one that answers where no registered agent does."""

    items: list[ProviderSummary]
    default: Annotated[str | None, Field(description="A name of `items`. Null: the built-in echo.")]
