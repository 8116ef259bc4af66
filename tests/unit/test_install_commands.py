"""The commands of the documentation leave nothing that may hold a secret to be read by all."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "conf").iterdir())]
COMMAND = re.compile(r"^\W*((?:sudo )?(?:install|cp|mkdir)\b.*/etc/chatserver.*)$", re.MULTILINE)


def commands() -> list[str]:
    return [match[1] for page in PAGES for match in COMMAND.finditer(page.read_text(encoding="utf-8"))]


def test_documentation_says_how_the_configuration_is_installed() -> None:
    assert any("chatserver.toml" in command for command in commands())


@pytest.mark.parametrize("command", commands())
def test_configuration_is_not_for_all_to_read(command: str) -> None:
    """`install` alone gives the mode 0755, and `cp` what the umask leaves."""
    words = shlex.split(command)
    assert words[0] == "install"
    mode = int(words[words.index("-m") + 1], 8)
    assert not mode & 0o007, f"{mode:o}"
    if "-g" not in words or words[words.index("-g") + 1] != "root":
        assert words[words.index("-g") + 1] == "chatserver"
