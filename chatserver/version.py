"""The version, which is written in setup.py only."""

from importlib.metadata import PackageNotFoundError, version


def installed_version() -> str:
    """The version of the installed package; `unknown` if it is not installed."""
    try:
        return version("chatserver")
    except PackageNotFoundError:
        return "unknown"
