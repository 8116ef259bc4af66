"""The package as users install it: a wheel in a clean environment, run from any folder."""

from __future__ import annotations

import email
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
import venv
import zipfile
from pathlib import Path

import pytest

from chatserver.settings import Settings
from chatserver.web.page.page_files import PAGE, PAGE_FOLDER, load_files
from tests.kit.process_table import ROOT

COMPANY = "00000000-0000-4000-8000-000000000001"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the tree: setuptools leaves files beside setup.py, and would pack them the next time."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("setup.py", "pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    for name in ("chatserver", "alembic"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", "dist", "."]
    subprocess.run(build, cwd=tree, check=True, capture_output=True)
    (built,) = (tree / "dist").iterdir()
    return built


# Types of the page for its developers; neither server nor page loads them.
FOR_DEVELOPERS = {f"chatserver/web/page/{name}" for name in ("api-types.d.ts", "page-types.d.ts", "tsconfig.json")}


def relative_files(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_wheel_has_the_code_the_migrations_and_the_page(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    packaged = {name for name in names if not name.partition("/")[0].endswith(".dist-info")}
    code = {f"chatserver/{name}" for name in relative_files(ROOT / "chatserver")} - FOR_DEVELOPERS
    migrations = {f"chatserver/migrations/{name}" for name in relative_files(ROOT / "alembic")}
    assert packaged == code | migrations
    assert any(name.startswith("chatserver/migrations/versions/") for name in names)
    assert "chatserver/web/page/static/index.html" in names


def test_wheel_declares_its_licence_and_lower_bounds(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        about = email.message_from_bytes(archive.read(metadata))
        licence = archive.read(f"{metadata.removesuffix('METADATA')}licenses/LICENSE")
    assert about["License-Expression"] == "MIT"
    assert licence == (ROOT / "LICENSE").read_bytes()
    requirements = about.get_all("Requires-Dist")
    assert "tornado>=6.6" in requirements
    assert [each for each in requirements if "==" in each.partition(";")[0]] == []


@pytest.mark.serial
def test_installed_wheel_serves_from_any_folder(wheel: Path, tmp_path: Path) -> None:
    """With the dependencies that the wheel declares, in their newest versions; pip needs a package index for it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CHATSERVER_", "PYTHON"))}
    venv.create(tmp_path / "clean", with_pip=True)
    programs = tmp_path / "clean" / "bin"
    install = [str(programs / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel)]
    subprocess.run(install, cwd=tmp_path, env=environment, check=True, capture_output=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "alembic").mkdir()  # the server must not mistake it for its migrations
    server = subprocess.Popen(
        [str(programs / "chatserver"), "serve", "--port", "0", "--data-dir", str(tmp_path / "data")],
        cwd=elsewhere,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        ready = server.stdout.readline()
        assert ready.startswith("chatserver ready at "), server.communicate(timeout=60)[1]
        url = ready.split()[-1]
        assert get(f"{url}/readyz") == (200, b'{"status":"ok"}')
        longest = Settings().max_message_chars
        assert get(url)[1] == load_files(PAGE_FOLDER, longest).by_name[PAGE].content
        conversations = f"{url}/api/companies/{COMPANY}/conversations"
        headers = {"Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(conversations, b"{}", headers), timeout=30) as created:
            assert created.status == 201
        assert len(json.loads(get(conversations)[1])["items"]) == 1
        server.send_signal(signal.SIGTERM)
        output, errors = server.communicate(timeout=60)
        assert (server.returncode, output) == (0, ""), errors
    finally:
        server.kill()
        server.communicate(timeout=60)


def get(url: str) -> tuple[int, bytes]:
    with urllib.request.urlopen(url, timeout=30) as response:
        return response.status, response.read()
