"""A small process that keeps an embedded PostgreSQL running as long as somebody uses it.

`embedded.py` runs this file as a script, on the standard library alone so that it stays small:

    python -I -S supervisor.py FOLDER SOCKET_DIR COMMAND…

It inherits `supervisor.lock`, open and exclusively locked, and holds it until it ends: if that lock is free, there is
no supervisor, and so no server. The server's output goes to a log of bounded size and, until the server is ready, to
standard error, for the process that started it.

The server is a child, so its process id is certain, and its end is noticed. It is stopped when

- the last user is gone. A user holds a shared lock on `users.lock`, which the kernel frees however the user ends.
  The supervisor waits for the exclusive lock and keeps it until the server is down, so that nobody begins to use a
  server that is being stopped;
- the supervisor gets SIGTERM;
- the supervisor itself is killed: the kernel then sends SIGINT to the server (`setpriv --pdeathsig` in COMMAND).

A server that crashes after it was ready is started again. So is one whose socket is gone, perhaps because a cleaner of
/tmp took the folder away: a server cannot make its socket anew. Both come back at the same address.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import math
import os
import queue
import signal
import stat
import subprocess
import sys
import threading
import time
from typing import IO, Literal

# The size at which the log is renamed to `server.log.1`, which it replaces.
LOG_BYTES = 1 << 20
# How long to wait for processes that a killed server left behind.
ORPHAN_SECONDS = 30.0
# The signals that end a server, and the seconds that each gets: fast, immediate, kill. Committed data survives all of
# them.
STOP_STEPS = ((signal.SIGINT, 60.0), (signal.SIGQUIT, 15.0), (signal.SIGKILL, 5.0))
# A server that crashes twice within this time is started again after a second, not at once.
CRASH_LOOP_SECONDS = 5.0

# A part of the socket's name; no TCP port is opened.
PORT = 5432
SOCKET_NAME = f".s.PGSQL.{PORT}"
# How often to look for the socket; and how soon to look again if it is gone.
LOOK_SECONDS = 0.5
SECOND_LOOK_SECONDS = 0.1

Event = Literal["stop", "exit"]


class ServerLog:
    """The server's output: into the file `path`, and to the descriptor `report` until the server is ready."""

    def __init__(self, path: str, report: int) -> None:
        self._path = path
        self._report = report
        self._file: IO[bytes] | None = None
        self._reporting = True
        self.ready = False

    def copy(self, output: IO[bytes]) -> None:
        """Copy all of `output`. This never blocks on the log, so the server never blocks on its output."""
        self.ready = False
        with output, contextlib.closing(self):
            for line in output:
                if self._reporting:
                    with contextlib.suppress(OSError):  # the starter does not read any more, or not fast enough
                        os.write(self._report, line)
                with contextlib.suppress(OSError):  # a full disk must not stop the server
                    self._write(line)
                if b"database system is ready to accept connections" in line:
                    self.ready = True
                    self.end_report()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def note(self, text: str) -> None:
        """Write a line of our own. Not while `copy` runs."""
        moment = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        with contextlib.suppress(OSError), contextlib.closing(self):
            self._write(f"{moment} [{os.getpid()}] supervisor: {text}\n".encode())

    def end_report(self) -> None:
        """Close the report to the process that started the supervisor. May be called again."""
        if self._reporting:
            self._reporting = False
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._report)
            os.close(nowhere)

    def _write(self, line: bytes) -> None:
        if self._file is None:
            self._file = open(self._path, "ab", buffering=0)  # noqa: SIM115 (it stays open)
        if self._file.tell() + len(line) > LOG_BYTES:
            self.close()
            os.replace(self._path, self._path + ".1")
            self._file = open(self._path, "ab", buffering=0)  # noqa: SIM115
        self._file.write(line)


class Supervisor:
    """One server from its start to its end.

    `folder` holds `data`, `users.lock` and the log; `command` runs the server in the foreground, with its socket in
    `socket_dir`.
    """

    def __init__(self, folder: str, socket_dir: str, command: list[str]) -> None:
        self._data = os.path.join(folder, "data")
        self._socket_dir = socket_dir
        self._socket = os.path.join(socket_dir, SOCKET_NAME)
        self._users = open(os.path.join(folder, "users.lock"), "ab")  # noqa: SIM115 (held until the process ends)
        self._command = command
        self._log = ServerLog(os.path.join(folder, "server.log"), sys.stderr.fileno())
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._told_to_stop = False
        self.unused = False
        """Whether the last user is gone."""

    def run(self) -> None:
        """Return when the server is down for good."""
        signal.signal(signal.SIGTERM, lambda *_: self._events.put("stop"))
        threading.Thread(target=self._wait_for_last_user, daemon=True).start()
        crash = -math.inf
        while True:
            if not self._wait_for_orphans():
                return
            self._log.ready = False
            server = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            assert server.stdout is not None
            copying = threading.Thread(target=self._log.copy, args=(server.stdout,), daemon=True)
            copying.start()
            threading.Thread(target=self._wait_for_exit, args=(server,), daemon=True).start()
            event = self._next_event()
            if event != "exit":
                self._stop(server)
            copying.join(timeout=1)  # a killed server's children may still hold the pipe
            if self._told_to_stop:
                return
            if event == "cut off":
                self._log.note("the server was started again because its socket was gone")
                continue
            if server.returncode == 0 or not self._log.ready:
                return  # stopped in order by somebody else, or it cannot run at all
            last_crash, crash = crash, time.monotonic()
            if crash - last_crash < CRASH_LOOP_SECONDS and self._stopped_within(1.0):
                return

    def _next_event(self) -> Event | Literal["cut off"]:
        """Wait for the next event, or until no client can reach the server any more."""
        looks = 0
        while True:
            with contextlib.suppress(queue.Empty):
                return self._take(SECOND_LOOK_SECONDS if looks else LOOK_SECONDS)
            # A server that somebody stops has removed its socket, too, and is gone by the second look.
            looks = looks + 1 if self._is_cut_off() else 0
            if looks == 2:
                return "cut off"

    def _is_cut_off(self) -> bool:
        """Whether the socket of the server is gone, and a new server could make it anew."""
        if not self._log.ready or os.path.lexists(self._socket):
            return False
        return os.path.exists(os.path.join(self._data, "PG_VERSION")) and make_private(self._socket_dir)

    def _take(self, seconds: float) -> Event:
        """The next event within so many seconds. Raises queue.Empty."""
        event = self._events.get(timeout=max(0.0, seconds))
        self._told_to_stop = self._told_to_stop or event == "stop"
        return event

    def _wait_for_last_user(self) -> None:
        fcntl.flock(self._users, fcntl.LOCK_EX)
        self.unused = True
        self._events.put("stop")

    def _wait_for_exit(self, server: subprocess.Popen[bytes]) -> None:
        server.wait()
        self._events.put("exit")

    def _stop(self, server: subprocess.Popen[bytes]) -> None:
        for number, seconds in STOP_STEPS:
            server.send_signal(number)
            deadline = time.monotonic() + seconds
            with contextlib.suppress(queue.Empty):
                while self._take(deadline - time.monotonic()) != "exit":
                    pass
                return

    def _wait_for_orphans(self) -> bool:
        """Wait until no process of an earlier server works on the data; False: told to stop meanwhile.

        Files with the process id of a server that are still there are then stale, and are removed: by now the id may
        belong to another process, which PostgreSQL would take for a server.
        """
        deadline = time.monotonic() + ORPHAN_SECONDS
        while (busy := is_in_use(self._data)) and time.monotonic() < deadline:
            if self._stopped_within(0.05):
                return False
        if busy is False:
            sockets = glob.glob(".s.PGSQL.*", root_dir=self._socket_dir, include_hidden=True)
            stale = [os.path.join(self._socket_dir, name) for name in sockets]
            for path in (*stale, os.path.join(self._data, "postmaster.pid")):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
        return True

    def _stopped_within(self, seconds: float) -> bool:
        with contextlib.suppress(queue.Empty):
            self._take(seconds)
        return self._told_to_stop


def make_private(folder: str) -> bool:
    """Make a folder if it is missing; whether it is ours, and for nobody else."""
    with contextlib.suppress(OSError):  # among others: it is there
        os.makedirs(folder, mode=0o700)
    try:
        status = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077


def is_in_use(data: str) -> bool | None:
    """Whether a process works in the folder `data`, as all of a PostgreSQL server do; None: the system cannot tell."""
    if not os.path.exists(os.path.join(data, "postmaster.pid")):
        return False
    try:
        processes = [name for name in os.listdir("/proc") if name.isdigit()]
    except FileNotFoundError:
        return None
    for process in processes:
        with contextlib.suppress(OSError):  # it ended meanwhile, or belongs to another user
            if os.path.samefile(f"/proc/{process}/cwd", data):
                return True
    return False


def main() -> None:
    folder, socket_dir, *command = sys.argv[1:]
    if os.fork():
        os._exit(0)  # the starter reaps this process, and has no child that outlives its use
    os.chdir("/")
    os.umask(0o077)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # a handler, not SIG_IGN, which the server would inherit
    os.set_blocking(sys.stderr.fileno(), False)
    supervisor = Supervisor(folder, socket_dir, command)
    supervisor.run()
    # Users that are left know no other address: they will start the server there, when it can run again.
    if socket_dir != folder and supervisor.unused:
        with contextlib.suppress(OSError):  # the socket of a killed server is still there: the next start uses it again
            os.rmdir(socket_dir)
            os.unlink(os.path.join(folder, "socket"))


if __name__ == "__main__":
    main()
