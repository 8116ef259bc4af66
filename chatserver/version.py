"""Which version this is; it stands in setup.py and nowhere else."""

from importlib.metadata import PackageNotFoundError, version


def installed_version() -> str:
    """The version of the installed package; `unknown` where the code runs without having been installed."""
    try:
        return version("chatserver")
    except PackageNotFoundError:
        return "unknown"
