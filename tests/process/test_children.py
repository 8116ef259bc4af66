"""Child processes do not outlive their parent, however it ends, and are given nothing that they do not need."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chatserver import children, local_model, logs
from chatserver.rendering import client
from tests.kit.process_table import ROOT, wait_for_end

pytestmark = pytest.mark.usefixtures("logging_as_before")

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's part is Linux's")
MODULES = pytest.mark.parametrize(
    "module", [client.MODULE, pytest.param(local_model.__name__, marks=pytest.mark.local_model)]
)


# Has a child that is never told anything: its standard input is this program's, and stays open.
PARENT = """
import os, subprocess, sys
from chatserver import children

child = subprocess.Popen(children.command(sys.argv[1]))
print(child.pid, flush=True)
child.wait()
"""


@LINUX
@MODULES
def test_child_dies_with_a_killed_parent(module: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, module], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert parent.stdout.readline(), "it never said that it is there"
    parent.kill()
    wait_for_end(pid)
    parent.communicate(timeout=20)


async def test_log_of_a_child_bears_no_id_of_the_request_that_started_it(capsys: pytest.CaptureFixture[str]) -> None:
    """The child goes on for other requests."""
    logs.configure("info", "json")
    token = logs.request_id.set("mine")
    try:
        child = await children.start([sys.executable, "-c", "print('trouble', file=__import__('sys').stderr)"], "child")
        await child.ended
    finally:
        logs.request_id.reset(token)
    (line,) = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (line["message"], line.get("requestId")) == ("child: trouble", None)


@pytest.mark.parametrize("module", [client.MODULE, local_model.__name__])
def test_child_without_its_parent_does_not_start(module: str) -> None:
    command = [sys.executable, "-m", module, "1"]
    assert subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, timeout=20).returncode == 1


async def test_child_has_no_environment_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "CHATSERVER_DATABASE_URL", "PGPASSWORD", "ANYTHING_ELSE"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("PYTHONPATH", "/where/our/modules/are")
    program = "import json, os; print(json.dumps(dict(os.environ)))"
    child = await children.start([sys.executable, "-c", program], "child")
    given = json.loads(await child.stdout.readline())
    await child.end()
    given.pop("LC_CTYPE", None)  # Python sets it by itself
    assert given.pop("PYTHONPATH") == "/where/our/modules/are"
    assert given.keys() <= {"PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"}


@LINUX
@MODULES
async def test_child_has_no_rights_that_it_does_not_need(module: str) -> None:
    child = await children.start(children.command(module), "child")
    try:
        assert await child.stdout.readline(), "it never said that it is there"
        process = Path(f"/proc/{child.pid}")
        status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines())
        assert status["NoNewPrivs"] == "1"
        (core,) = [line for line in (process / "limits").read_text().splitlines() if line.startswith("Max core file")]
        assert core.split()[4:6] == ["0", "0"]
    finally:
        child.kill()
        await child.end()


@LINUX
@MODULES
async def test_killed_child_leaves_no_core_dump(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (limits[1], limits[1]))
    try:
        child = await children.start(children.command(module), "child")
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, limits)
    assert await child.stdout.readline(), "it never said that it is there"
    os.kill(child.pid, signal.SIGSEGV)
    assert await child.ended == -signal.SIGSEGV
    assert list(tmp_path.iterdir()) == []
