"""How the scripts set up .venv: with stand-ins for Python and pip that note how they are called, and with real ones."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.process_table import ROOT

# Stands in for .venv/bin/python: notes the calls of pip, and prints $UNLOCKED instead of running scripts/unlocked.py.
# The real Python runs everything else.
PYTHON = """#!/bin/sh
if [ "$1 $2" = "-m pip" ]; then
    echo "$@" >>"$NOTES"
    [ -p "$GATE" ] && cat "$GATE" >/dev/null
    exit "${PIP_STATUS:-0}"
fi
case "$*" in *unlocked.py*) printf "$UNLOCKED"; exit ;; esac
exec "$REAL_PYTHON" "$@"
"""
CHATSERVER = """#!/bin/sh
echo "chatserver in $PWD:" "$@"
exit 3
"""
QUIETLY = "--quiet --no-input --disable-pip-version-check"
LOCKED = f"-m pip install {QUIETLY} --require-hashes --no-deps --only-binary :all: --requirement requirements/"
PACKAGE = f"-m pip install {QUIETLY} --no-deps --no-build-isolation --editable ."
BASE = [f"{LOCKED}base.txt", PACKAGE]
SETS = ("base", "test", "dev", "local")
# Making a virtual environment takes a minute where the processor has much else to do.
SECONDS = 300


class Clone:
    """A copy of the scripts in a folder of its own, with a .venv that only looks like one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "a clone"
        self.elsewhere = folder / "elsewhere"
        self.notes = folder / "notes"
        self.gate = folder / "gate"
        self.programs = self.folder / ".venv" / "bin"
        self.elsewhere.mkdir()
        shutil.copytree(ROOT / "scripts", self.folder / "scripts")
        (self.folder / "setup.py").write_text("# first")
        (self.folder / "requirements").mkdir()
        for name in SETS:
            self.lock(name, "# first")
        self.programs.mkdir(parents=True)
        for name, content in (("python", PYTHON), ("chatserver", CHATSERVER)):
            (self.programs / name).write_text(content)
            (self.programs / name).chmod(0o755)
        self.environment = {
            **os.environ,
            "NOTES": str(self.notes),
            "GATE": str(self.gate),
            "REAL_PYTHON": sys.executable,
            "UNLOCKED": "",
        }

    def lock(self, name: str, content: str) -> None:
        """Write the lock file of that set."""
        (self.folder / "requirements" / f"{name}.txt").write_text(content)

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
        output, errors = process.communicate(timeout=SECONDS)
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
    assert clone.installed() == BASE
    assert clone.run("--port", "0", "a  b") == (3, expected, "")
    assert clone.installed() == BASE


def test_serve_says_what_it_sets_up(clone: Clone) -> None:
    clone.lock("base", "# a comment\none==1 \\\n    --hash=sha256:0\n    # via two\ntwo==2 \\\n    --hash=sha256:0\n")
    assert clone.run("--local-model")[2].splitlines() == [
        "serve: installing 2 packages for the server; what is not there yet is downloaded",
        "serve: installing 0 packages for the local model (about 200 MB); what is not there yet is downloaded",
        "serve: starting the server; its first start also sets up PostgreSQL, which takes some seconds",
    ]
    assert clone.run("--local-model")[2] == ""


def test_serve_installs_again_when_setup_py_changed_or_the_clone_moved(clone: Clone) -> None:
    clone.run()
    (clone.folder / "setup.py").write_text("# second")
    clone.run()
    assert clone.installed() == 2 * BASE
    moved = clone.folder.rename(clone.folder.with_name("moved"))
    clone.run(script=str(moved / "scripts" / "serve"))
    assert clone.installed() == 3 * BASE


def test_serve_installs_again_when_its_own_lock_changed(clone: Clone) -> None:
    clone.run()
    clone.lock("test", "# second")
    clone.run()
    assert clone.installed() == BASE
    clone.lock("base", "# second")
    assert "installing" in clone.run()[2]
    assert clone.installed() == 2 * BASE
    assert clone.run()[2] == ""


def test_installation_removes_packages_in_no_lock_file(clone: Clone) -> None:
    (clone.folder / ".venv" / ".made-by-scripts").touch()
    clone.run(UNLOCKED="dropped\\nunknown\\n")
    removal = f"-m pip uninstall {QUIETLY} --yes --requirement {clone.folder}/.venv/.unlocked"
    assert clone.installed() == [*BASE, removal]
    assert (clone.folder / ".venv" / ".unlocked").read_text() == "dropped\nunknown\n"


def test_installation_leaves_packages_in_a_venv_not_made_by_the_scripts(clone: Clone) -> None:
    clone.run(UNLOCKED="theirs\\n")
    assert clone.installed() == BASE


@pytest.mark.parametrize("failed", ["1", "0"], ids=["the renewal failed", "the renewal worked"])
def test_earlier_lock_that_comes_back_is_installed_again(clone: Clone, failed: str) -> None:
    clone.run("--local-model")
    clone.lock("base", "# second")
    clone.lock("local", "# second")
    clone.run(PIP_STATUS=failed)
    clone.notes.unlink()
    clone.lock("base", "# first")
    clone.lock("local", "# first")
    clone.run("--local-model")
    assert clone.installed() == [*BASE, f"{LOCKED}local.txt"]


def test_serve_called_through_a_link_starts(clone: Clone) -> None:
    link = clone.elsewhere / "serve"
    link.symlink_to(clone.folder / "scripts" / "serve")
    assert clone.run("x", script="./serve")[:2] == (3, f"chatserver in {clone.elsewhere}: serve x\n")


def test_local_model_is_installed_when_asked_for(clone: Clone) -> None:
    clone.run()
    for _ in range(2):
        assert clone.run("--local-model")[:2] == (3, f"chatserver in {clone.elsewhere}: serve --local-model\n")
    assert clone.installed() == [*BASE, f"{LOCKED}local.txt"]


def test_scripts_started_at_once_install_once(clone: Clone) -> None:
    os.mkfifo(clone.gate)
    processes = [clone.start(), clone.start()]
    clone.gate.write_text("go on")  # waits for the one that installs
    clone.gate.unlink()
    errors = [process.communicate(timeout=SECONDS)[1] for process in processes]
    assert [process.returncode for process in processes] == [3, 3]
    assert sum("serve: waiting for another script that is setting up\n" in text for text in errors) <= 1
    assert sum("serve: installing" in text for text in errors) == 1
    assert clone.installed() == BASE


def test_failed_installation_is_tried_again(clone: Clone) -> None:
    status, output, errors = clone.run(PIP_STATUS="1")
    assert (status, output) == (2, "")
    assert errors.endswith("serve: installing failed; the reason stands above\n")
    assert clone.installed() == BASE[:1]
    assert clone.run()[0] == 3
    assert clone.installed() == [*BASE[:1], *BASE]


def test_venv_not_made_by_the_scripts_is_left_alone(clone: Clone) -> None:
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
def test_serve_without_a_usable_python_says_so(clone: Clone, tmp_path: Path, program: str | None, message: str) -> None:
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


# --- with a real .venv and a real pip, and packages that lie in a folder -----------------------------------

# The build of the clone's package: no build requirement has to be installed for it.
BACKEND = """
import os, shutil

def build_editable(folder, config_settings=None, metadata_directory=None):
    return os.path.basename(shutil.copy({wheel!r}, folder))
"""
# The clone's program: prints the installed packages.
PROGRAM = b"""
from importlib.metadata import distributions

def main():
    print(*sorted(f"{each.name} {each.version}" for each in distributions()), sep=", ")
"""
ENTRY_POINTS = b"[console_scripts]\nchatserver = chatserver:main\n"


def make_wheel(folder: Path, name: str, version: str, files: dict[str, bytes] | None = None) -> Path:
    """A wheel with these files and nothing else."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    about = f"{name}-{version}.dist-info"
    content = {
        **(files or {f"{name}.py": f"# {version}\n".encode()}),
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{about}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{file},,\n" for file in [*content, f"{about}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for file, data in {**content, f"{about}/RECORD": record.encode()}.items():
            archive.writestr(file, data)
    return path


class RealClone(Clone):
    """A clone whose .venv is made by the script; pip finds only the packages that `publish` made."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.index = folder / "index"
        self.index.mkdir()
        shutil.rmtree(self.folder / ".venv")
        program = {"chatserver.py": PROGRAM, "chatserver-1.dist-info/entry_points.txt": ENTRY_POINTS}
        wheel = make_wheel(folder, "chatserver", "1", program)
        (self.folder / "backend.py").write_text(BACKEND.format(wheel=str(wheel)))
        (self.folder / "pyproject.toml").write_text(
            '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        )
        for name in [name for name in self.environment if name.startswith(("PIP_", "PYTHON"))]:
            del self.environment[name]
        self.environment |= {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.index)}

    def publish(self, name: str, version: str) -> str:
        """Put a package into the index; its line in a lock file."""
        digest = hashlib.sha256(make_wheel(self.index, name, version).read_bytes()).hexdigest()
        return f"{name}=={version} --hash=sha256:{digest}\n"

    def serve(self) -> str:
        """The installed packages when the server starts, without pip and what comes with it."""
        status, output, errors = self.run()
        assert status == 0, errors
        packages = output.strip().split(", ")
        return ", ".join(each for each in packages if not each.startswith(("pip ", "setuptools ", "chatserver ")))


@pytest.fixture(scope="module")
def real_clone(tmp_path_factory: pytest.TempPathFactory) -> RealClone:
    return RealClone(tmp_path_factory.mktemp("real"))


def test_changed_lock_renews_venv(real_clone: RealClone) -> None:
    real_clone.lock("base", real_clone.publish("first", "1") + real_clone.publish("second_part", "1"))
    status, _, errors = real_clone.run()
    assert (status, "serve: making a virtual environment with " in errors) == (0, True)
    assert real_clone.serve() == "first 1, second_part 1"
    real_clone.publish("first", "3")  # newer, but not locked
    real_clone.lock("base", real_clone.publish("first", "2") + real_clone.publish("third", "1"))
    assert real_clone.serve() == "first 2, third 1"


def test_file_without_the_locked_hash_is_refused(real_clone: RealClone) -> None:
    genuine = real_clone.publish("first", "1")
    real_clone.lock("base", genuine)
    assert real_clone.serve() == "first 1"
    real_clone.lock("base", real_clone.publish("first", "4").replace("sha256:", f"sha256:{64 * '0'}")[:-65] + "\n")
    status, output, errors = real_clone.run()
    assert (status, output) == (2, "")
    assert "do not match the hashes" in errors.lower().replace("\n", " "), errors
    real_clone.lock("base", genuine)
    assert real_clone.serve() == "first 1"
