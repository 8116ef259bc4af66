"""The commands `serve`, `migrate` and `doctor`."""

from __future__ import annotations

import argparse
import gc
import os
import sys

from chatserver.commands.parser import FAILED, SERVE_SETTINGS, Commands, add_command, add_settings
from chatserver.credentials import is_token
from chatserver.errors import ConfigurationError
from chatserver.quick_provider import VARIABLES, with_quick_provider
from chatserver.settings import Settings


def add_serve(commands: Commands) -> None:
    serve = add_command(commands, "serve", _serve, "run the server")
    add_settings(serve, SERVE_SETTINGS)
    serve.add_argument("--reuse-port", action="store_true", help="let several processes share the port")
    serve.add_argument(
        "--local-model", action="store_true", help="run a small model on this machine, which answers by default"
    )
    serve.add_argument(
        "--provider",
        choices=tuple(VARIABLES),
        help="who answers by default, without a file: OpenAI (its key in OPENAI_API_KEY), Anthropic "
        "(ANTHROPIC_API_KEY), or Ollama (OLLAMA_HOST; default: this machine)",
    )
    serve.add_argument("--model", help="of --provider (default: one that suits most; Ollama's newest one)")


def add_migrate(commands: Commands) -> None:
    migrate = add_command(commands, "migrate", _migrate, "bring the database to this version's schema")
    migrate.add_argument(
        "--finish",
        action="store_true",
        help="also take away what only the release before used; none of its processes may run any more",
    )


def add_doctor(commands: Commands) -> None:
    doctor = add_command(commands, "doctor", _doctor, "check a running server from where its users are")
    doctor.add_argument("url", metavar="URL", help="where it is reached, such as https://chat.example.org")
    doctor.add_argument(
        "--token-env",
        metavar="NAME",
        help="the variable with a manager's token, if the server asks for one",
    )


def _serve(settings: Settings, arguments: argparse.Namespace) -> int:
    settings = _with_provider(settings, arguments)
    # On again when the server is ready: see serving.py.
    gc.disable()
    try:
        from chatserver.server import serve

        return serve(settings, reuse_port=arguments.reuse_port, local_model=arguments.local_model)
    finally:
        gc.enable()


def _with_provider(settings: Settings, arguments: argparse.Namespace) -> Settings:
    if arguments.provider is not None:
        return with_quick_provider(settings, arguments.provider, arguments.model, os.environ)
    if arguments.model is not None:
        raise ConfigurationError("--model: is of use with --provider only")
    return settings


def _migrate(settings: Settings, arguments: argparse.Namespace) -> int:
    from chatserver.storage.postgres.provision import provided_database

    with provided_database(settings, finish=arguments.finish) as provided:
        print(provided.note or "the database is up to date")
    return 0


def _doctor(_settings: Settings, arguments: argparse.Namespace) -> int:
    from chatserver.doctor import examine

    token = None
    if arguments.token_env is not None:
        token = os.environ.get(arguments.token_env)
        if not token or not is_token(token):
            raise ConfigurationError(f"--token-env: {arguments.token_env} holds no token")
    return 0 if examine(arguments.url, sys.stdout, token) else FAILED
