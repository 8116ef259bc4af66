"""Asking a server that speaks OpenAI's API for the names of its models."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from typing import IO, Any

from chatserver.errors import ConfigurationError

LIST_SECONDS = 5.0
_MAX_LIST_BYTES = 1 << 20


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: Any) -> None:
        """None: a redirect is an error. The key must not go elsewhere."""


def list_models(base_url: str, api_key: str | None) -> list[str]:
    """The names of the models, in the server's order. `base_url` is that of a provider, http or https.

    Raises ConfigurationError with the rest of a sentence that begins with the server.
    """
    headers = {"Authorization": f"Bearer {api_key}"} if api_key is not None else {}
    request = urllib.request.Request(f"{base_url}/models", headers=headers)  # noqa: S310 (the settings check the scheme)
    # As for answers: no proxies, no redirects.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects)
    try:
        with opener.open(request, timeout=LIST_SECONDS) as response:
            return _names(response)
    except urllib.error.HTTPError as error:
        error.close()
        problem = f"answers {error.code} when asked for its models"
    except (OSError, http.client.HTTPException):
        problem = "cannot be reached"
    except (ValueError, RecursionError):
        problem = "does not list its models"
    raise ConfigurationError(problem)


def _names(response: IO[bytes]) -> list[str]:
    """Raises ValueError for a body that is no list of models."""
    listed = json.loads(response.read(_MAX_LIST_BYTES))
    if not isinstance(listed, dict) or not isinstance(listed.get("data") or [], list):
        raise ValueError
    models = listed.get("data") or []  # with no models, Ollama says null
    return [model["id"] for model in models if isinstance(model, dict) and isinstance(model.get("id"), str)]
