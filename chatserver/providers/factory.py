"""Making providers from their settings."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from chatserver.errors import ConfigurationError
from chatserver.loop_share import LoopShare
from chatserver.providers.anthropic import Messages
from chatserver.providers.base import Provider
from chatserver.providers.echo import EchoProvider
from chatserver.providers.openai import ChatCompletions
from chatserver.providers.remote import RemoteProvider
from chatserver.providers.wire import WireFormat
from chatserver.settings_tables import ProviderSettings

logger = logging.getLogger(__name__)


def make_provider(
    name: str, settings: ProviderSettings, environment: Mapping[str, str], share: LoopShare | None = None
) -> Provider:
    """The provider that the configuration calls `name`. Its key is read from `environment` once, now.

    `share`: where its answers take turns, with those of other providers; None: in one of their own.

    Raises ConfigurationError with one line that names the provider and the problem.
    """
    if settings.kind == "echo":
        return EchoProvider(settings.pace_ms / 1000, share, model=settings.model)
    assert settings.base_url is not None, "ProviderSettings lets only an echo be without"
    make_format = ChatCompletions if settings.kind == "openai" else Messages
    wire: WireFormat = make_format(settings.base_url, settings, _api_key(name, settings, environment))
    return RemoteProvider(name, settings, wire, share)


def _api_key(name: str, settings: ProviderSettings, environment: Mapping[str, str]) -> str | None:
    variable = settings.api_key_env
    if variable is None:
        return None
    key = environment.get(variable, "").strip()
    if not key:
        # The operator's own server may need no key. One that does refuses the first request.
        logger.warning("provider %s: the environment variable %s holds no API key, so none is sent", name, variable)
        return None
    # The key goes into a header. The message must not repeat it.
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ConfigurationError(f"provider {name}: the environment variable {variable} holds no valid API key")
    return key
