"""What somebody who has just started the server may want to know: shown on a terminal, after the ready line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chatserver import logs
from chatserver.provider_schemas import Providers
from chatserver.quick_provider import VARIABLES

_LABEL_COLUMNS = 9


def next_steps(url: str, providers: Providers, environment: Mapping[str, str]) -> Sequence[str]:
    """Where the page is, who answers, and how to connect a model if none does.

    `url`: where the server is reached, if only by a proxy: a Unix socket, as `unix:PATH`.
    `environment`: a variable of a known provider in it leads to the option that uses it. No value is shown.
    """
    steps = [("Page", url), ("Answers", _who_answers(providers))]
    if not any(provider.kind != "echo" for provider in providers.items):
        steps.append(("Model", _how_to_connect(environment)))
        if url.startswith("http"):
            steps.append(("Help", f"{url}/help"))
    elif _is_echo(providers):
        names = " or ".join(f'"{provider.name}"' for provider in providers.items if provider.kind != "echo")
        steps.append(("Model", f"the setting default_provider = {names} lets that one answer"))
    return [f"  {label:<{_LABEL_COLUMNS}}{logs.printable(text)}" for label, text in steps]


def _is_echo(providers: Providers) -> bool:
    return _default(providers) in (None, "echo")


def _default(providers: Providers) -> str | None:
    """The kind of the provider that answers by default; None: the built-in echo."""
    return next((provider.kind for provider in providers.items if provider.name == providers.default), None)


def _who_answers(providers: Providers) -> str:
    if _is_echo(providers):
        connected = any(provider.kind != "echo" for provider in providers.items)
        return "Echo, where no agent is chosen" if connected else "Echo: no model is connected yet"
    model = next(provider.model for provider in providers.items if provider.name == providers.default)
    return f"{model} ({providers.default})"


def _how_to_connect(environment: Mapping[str, str]) -> str:
    for kind, variable in VARIABLES.items():
        if environment.get(variable, "").strip():
            return f"{variable} is set: start again with --provider {kind}"
    return "start again with --local-model, or with --provider openai, anthropic or ollama"
