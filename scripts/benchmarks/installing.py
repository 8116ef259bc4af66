"""What the peers are made of, installed outside the project: pinned versions, in a cache folder.

A folder is named after what is in it, so that changed requirements are installed anew. The project's lock files name
nothing of it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

PEERS = Path(__file__).parent / "peers"
INSTALL_SECONDS = 300


class MissingError(Exception):
    """A peer cannot be installed; the message says why."""


def cache_folder() -> Path:
    """Where installed peers are kept between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chatserver-bench"


def python_peers() -> Path:
    """The Python of a virtual environment with the packages of peers/requirements.txt. Raises MissingError."""
    requirements = PEERS / "requirements.txt"
    folder = _folder("python", requirements.read_bytes() + sys.version.encode())
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(folder)], PEERS)
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
        _run([str(python), "-m", "pip", "install", *options, "--requirement", str(requirements)], PEERS)
        (folder / "complete").touch()
    return python


def express_peer() -> Path:
    """The script of the Express peer, with its packages beside it. Raises MissingError."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise MissingError("there is no node or no npm")
    source = PEERS / "express"
    folder = _folder("express", (source / "package.json").read_bytes())
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        shutil.copy(source / "package.json", folder)
        _run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--no-package-lock"], folder)
        (folder / "complete").touch()
    shutil.copy(source / "server.js", folder)
    return folder / "server.js"


def nchan_module() -> str:
    """The path of nchan's module for the installed nginx. Raises MissingError."""
    if shutil.which("nginx") is None:
        raise MissingError("there is no nginx")
    about = subprocess.run(["nginx", "-V"], capture_output=True, text=True, check=False).stderr
    configured = re.search(r"--modules-path=(\S+)", about)
    folder = Path(configured[1]) if configured else Path("/usr/lib/nginx/modules")
    module = folder / "ngx_nchan_module.so"
    if not module.exists():
        raise MissingError("the installed nginx has no nchan")
    return str(module)


def _folder(name: str, content: bytes) -> Path:
    return cache_folder() / f"{name}-{hashlib.sha256(content).hexdigest()[:16]}"


def _run(command: list[str], folder: Path) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.CalledProcessError as error:
        raise MissingError(f"{command[0]} cannot install it: {error.stderr.strip()[-300:]}") from error
    except (subprocess.SubprocessError, OSError) as error:
        raise MissingError(f"{command[0]} cannot install it: {error}") from error
