"""What a terminal shows after the ready line."""

from __future__ import annotations

import pytest

from chatserver.hints import next_steps
from chatserver.services.provider_choice import list_providers
from chatserver.settings import Settings
from chatserver.settings_tables import ProviderSettings

URL = "http://127.0.0.1:8000"
MAIN = ProviderSettings(kind="openai", base_url="http://127.0.0.1:1/v1", model="m-1")
OTHER = ProviderSettings(kind="anthropic", base_url="http://127.0.0.1:1/v1", model="m-2")
ECHO = ProviderSettings(kind="echo")


def steps(settings: Settings, **environment: str) -> dict[str, str]:
    lines = next_steps(URL, list_providers(settings), environment)
    assert all(line.startswith("  ") and len(line) <= 100 for line in lines)
    return {line.split()[0]: line.split(maxsplit=1)[1] for line in lines}


def test_without_a_model_it_says_how_to_connect_one() -> None:
    assert steps(Settings()) == {
        "Page": URL,
        "Answers": "Echo: no model is connected yet",
        "Model": "start again with --local-model, or with --provider openai, anthropic or ollama",
        "Help": f"{URL}/help",
    }
    assert steps(Settings(providers={"slow": ECHO}))["Answers"] == "Echo: no model is connected yet"


@pytest.mark.parametrize(
    ("variable", "option"),
    [
        ("OPENAI_API_KEY", "--provider openai"),
        ("ANTHROPIC_API_KEY", "--provider anthropic"),
        ("OLLAMA_HOST", "--provider ollama"),
    ],
)
def test_variable_that_is_there_leads_to_its_option(variable: str, option: str) -> None:
    found = steps(Settings(), **{variable: "sk-secret"})
    assert found["Model"] == f"{variable} is set: start again with {option}"
    assert "sk-secret" not in str(found)
    assert "is set" not in steps(Settings(), **{variable: " "})["Model"]


def test_model_that_answers_is_named() -> None:
    assert steps(Settings(providers={"main": MAIN}), OPENAI_API_KEY="x") == {"Page": URL, "Answers": "m-1 (main)"}
    both = {"main": MAIN, "other": OTHER}
    assert steps(Settings(providers=both, default_provider="other"))["Answers"] == "m-2 (other)"


def test_without_a_default_it_says_which_one_could_answer() -> None:
    found = steps(Settings(providers={"main": MAIN, "slow": ECHO, "other": OTHER}))
    assert found == {
        "Page": URL,
        "Answers": "Echo, where no agent is chosen",
        "Model": 'the setting default_provider = "main" or "other" lets that one answer',
    }
    chosen = Settings(providers={"main": MAIN, "slow": ECHO}, default_provider="slow")
    assert steps(chosen)["Answers"] == "Echo, where no agent is chosen"
