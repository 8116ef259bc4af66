"""nginx with one of the sites of `conf/`, as an operator runs it: only ports, certificates and upstreams are others."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import tornado

from tests.kit.http_client import Client
from tests.kit.http_connection import Connection
from tests.kit.process_table import ROOT
from tests.kit.server_process import accepts
from tests.kit.waiting import PATIENCE_SECONDS, eventually

PUBLIC_NAME = "chat.example.org"
_CERTIFICATE = Path(tornado.__file__).parent / "test" / "test.crt"
_MAIN = """
user root;
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""


class TlsClient(Client):
    """Speaks TLS to a port of this machine, as to the site's public name."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.headers = {"Host": PUBLIC_NAME}

    async def connect(self, *, receive_buffer: int | None = None) -> Connection:
        assert receive_buffer is None
        context = ssl.create_default_context(cafile=_CERTIFICATE)
        context.check_hostname = False
        streams = await asyncio.open_connection("127.0.0.1", self.port, ssl=context)
        connection = Connection(*streams)
        self._connections.append(connection)
        return connection


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@asynccontextmanager
async def site(folder: Path, name: str, replacing: Mapping[str, str]) -> AsyncIterator[TlsClient]:
    """A client of nginx with the site `conf/NAME`, in which the texts `replacing` are others."""
    folder.mkdir()
    port = free_port()
    text = (ROOT / "conf" / name).read_text()
    for old, new in {
        "/etc/ssl/certs/chat.example.org.pem": str(_CERTIFICATE),
        "/etc/ssl/private/chat.example.org.key": str(_CERTIFICATE.with_suffix(".key")),
        "listen 80;": f"listen 127.0.0.1:{free_port()};",
        "listen 443 ssl http2;": f"listen 127.0.0.1:{port} ssl http2;",
        **replacing,
    }.items():
        assert old in text, f"{name} lacks {old}"
        text = text.replace(old, new)
    (folder / "site.conf").write_text(re.sub(r"listen \[::\].*", "", text))
    (folder / "nginx.conf").write_text(_MAIN.format(folder=folder))
    command = [shutil.which("nginx") or "nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    tested = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stderr
    assert "[warn]" not in tested.stderr.replace('[warn] the "user" directive', ""), tested.stderr
    process = await asyncio.create_subprocess_exec(*command, stderr=subprocess.DEVNULL)
    client = TlsClient(port)
    try:
        await eventually(lambda: accepts(port))
        yield client
    finally:
        await client.close()
        process.terminate()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await process.wait()
