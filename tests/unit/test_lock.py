"""The lock files cover what setup.py asks for, and the tests run with exactly the locked versions."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
# The extra of setup.py that each file adds to base.txt; base.txt itself has what is needed without extras.
SETS = {"base": None, "test": "test", "dev": "dev", "local": "local"}
LOCKED = re.compile(r"([a-z0-9-]+)==([a-z0-9.]+)( ; [^\\]+)? \\")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")


def lock_lines(name: str) -> list[str]:
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    return [line for line in lines if not line.strip().startswith("#")]


def locked(name: str) -> dict[str, str]:
    """The version of each package of that set."""
    return {match[1]: match[2] for line in lock_lines(name) if (match := LOCKED.fullmatch(line))}


def everything_locked() -> dict[str, str]:
    return {package: version for name in SETS for package, version in locked(name).items()}


@pytest.mark.parametrize("name", SETS)
def test_lock_has_nothing_but_versions_and_hashes(name: str) -> None:
    """No index, no address, no folder: pip looks where it is configured to look."""
    lines = lock_lines(name)
    assert locked(name)
    assert [line for line in lines if not LOCKED.fullmatch(line) and not HASH.fullmatch(line)] == []
    assert not re.search(r"://|file:|index|find-links", "".join(lines))
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        assert line.endswith("\\") == bool(HASH.fullmatch(after)), f"{line} has no hash"


@pytest.mark.parametrize("name", SETS)
def test_lock_satisfies_every_requirement(name: str) -> None:
    wanted = [Requirement(text) for text in requires("chatserver") or []]
    extra = SETS[name]
    mine = [each for each in wanted if ("extra ==" in str(each.marker)) == bool(extra)]
    mine = [each for each in mine if extra is None or (each.marker and each.marker.evaluate({"extra": extra}))]
    if name == "base":
        mine += map(Requirement, tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"])
    assert mine
    available = locked("base") | locked(name)
    assert [str(each) for each in mine if not satisfies(available.get(canonicalize_name(each.name)), each)] == []


def satisfies(version: str | None, requirement: Requirement) -> bool:
    return version is not None and requirement.specifier.contains(version)


def test_package_has_one_version_in_all_files() -> None:
    versions = everything_locked()
    assert all(versions[package] == version for name in SETS for package, version in locked(name).items())


def test_installed_packages_are_the_locked_ones() -> None:
    """In .venv, as scripts/test leaves it. pip is not locked: it comes with Python."""
    installed = {canonicalize_name(each.name): each.version for each in distributions()}
    for name in ("pip", "chatserver"):
        installed.pop(name, None)
    versions = everything_locked()
    assert {name: version for name, version in installed.items() if versions.get(name) != version} == {}
