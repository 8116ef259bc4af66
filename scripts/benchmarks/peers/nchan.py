"""nginx with nchan: POST /live/publish, GET /live/stream. Run with `python -m`; arguments: nchan's module, a folder."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from pathlib import Path

# One process, like the other peers.
CONFIGURATION = """
load_module {module};
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr warn;
worker_rlimit_nofile {files};
events {{ worker_connections 20000; }}
http {{
    access_log off;
    tcp_nodelay on;
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000;
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location = /live/publish {{ nchan_publisher; nchan_channel_id live; nchan_message_buffer_length 2; }}
        location = /live/stream {{
            nchan_subscriber eventsource;
            nchan_channel_id live;
            nchan_subscriber_first_message newest;
        }}
    }}
}}
"""


def _wait_and_say(port: int) -> None:
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            print(f"ready at http://127.0.0.1:{port}", flush=True)
            return
        time.sleep(0.05)


def main(module: str, folder: str) -> None:
    """Become nginx; a child process says when it is ready."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    path = Path(folder) / "nginx.conf"
    path.write_text(CONFIGURATION.format(module=module, folder=folder, port=port, files=30_000))
    if os.fork() == 0:
        _wait_and_say(port)
        os._exit(0)
    os.execvp("nginx", ["nginx", "-p", folder, "-c", str(path)])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(*sys.argv[1:])
