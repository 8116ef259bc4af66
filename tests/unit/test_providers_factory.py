"""Making providers from settings: unusable settings are refused at the start, in one line without secrets."""

from __future__ import annotations

import pytest

from chatserver.errors import ConfigurationError
from chatserver.providers.anthropic import Messages
from chatserver.providers.echo import EchoProvider
from chatserver.providers.factory import make_provider
from chatserver.providers.openai import ChatCompletions
from chatserver.providers.remote import RemoteProvider
from chatserver.settings_tables import ProviderSettings


def remote(kind: str, **settings: object) -> ProviderSettings:
    return ProviderSettings.model_validate(
        {"kind": kind, "base_url": "http://127.0.0.1:1/v1", "model": "m", **settings}
    )


def test_each_kind_makes_its_provider() -> None:
    echo = make_provider("e", ProviderSettings(kind="echo", pace_ms=50), {})
    assert isinstance(echo, EchoProvider)
    assert (vars(echo)["_pace_seconds"], echo.model) == (0.05, None)
    assert make_provider("e", ProviderSettings(kind="echo", model="parrot"), {}).model == "parrot"
    for kind, wire in (("openai", ChatCompletions), ("anthropic", Messages)):
        provider = make_provider("p", remote(kind), {})
        assert isinstance(provider, RemoteProvider)
        assert isinstance(vars(provider)["_wire"], wire)
        assert (provider.needs_user_turn, provider.model) == (True, "m")
        provider.close()


def test_key_is_read_from_the_environment() -> None:
    provider = make_provider("p", remote("openai", api_key_env="KEY"), {"KEY": " sk-1\n"})
    assert vars(provider)["_headers"]["Authorization"] == "Bearer sk-1"


@pytest.mark.parametrize("environment", [{}, {"KEY": ""}, {"KEY": " \n"}])
def test_missing_key_is_logged_and_none_is_sent(environment: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    provider = make_provider("main", remote("openai", api_key_env="KEY"), environment)
    assert "Authorization" not in vars(provider)["_headers"]
    assert caplog.messages == ["provider main: the environment variable KEY holds no API key, so none is sent"]


@pytest.mark.parametrize("key", ["sk-a\r\nX-Evil: 1", "sk-ä", "sk a", "sk\x7f"])
def test_key_that_does_not_fit_a_header_is_refused(key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make_provider("main", remote("openai", api_key_env="KEY"), {"KEY": key})
    assert caught.value.message == "provider main: the environment variable KEY holds no valid API key"
