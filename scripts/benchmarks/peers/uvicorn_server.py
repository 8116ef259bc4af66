"""uvicorn with uvloop and httptools, and without an access log; says where it is ready."""

from __future__ import annotations

import gc
import socket

import uvicorn
from starlette.types import ASGIApp

from scripts.benchmarks.machine import raise_open_files


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        gc.collect()
        gc.freeze()
        assert sockets is not None
        print(f"ready at http://127.0.0.1:{sockets[0].getsockname()[1]}", flush=True)


def serve(app: ASGIApp) -> None:
    """Serve the application on a free port until SIGTERM, which does not wait for open streams."""
    raise_open_files()
    config = uvicorn.Config(
        app, loop="uvloop", http="httptools", access_log=False, log_level="warning", timeout_graceful_shutdown=1
    )
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        _Server(config).run([listener])
