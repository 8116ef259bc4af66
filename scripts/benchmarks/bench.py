"""What all figures share during one run."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from scripts.benchmarks.load import Generator
from scripts.benchmarks.report import Report
from scripts.benchmarks.targets import Targets

# The paces of the echo that figures ask for, in milliseconds.
PACES_MS = (5, 20, 50, 100, 500)


class Bench:
    """A run: how many rounds, how long, the load generator, the servers, and the report.

    `quick`: measure for a shorter time, and with fewer streams where there are thousands.
    """

    def __init__(self, rounds: int, *, quick: bool = False) -> None:
        self.rounds = rounds
        self.quick = quick
        self.report = Report()
        self._folder = tempfile.TemporaryDirectory(prefix="chatserver-bench-")
        self._generator: Generator | None = None
        self._targets: Targets | None = None

    @property
    def generator(self) -> Generator:
        """Raises NoLoadError if it cannot be compiled here."""
        if self._generator is None:
            self._generator = Generator(Path(self._folder.name))
        return self._generator

    @property
    def targets(self) -> Targets:
        """Raises NoLoadError as `generator` does."""
        if self._targets is None:
            self._targets = Targets(self.generator, PACES_MS)
        return self._targets

    def seconds(self, seconds: float) -> float:
        """How long to measure."""
        return seconds / 2 if self.quick else seconds

    def few(self, count: int) -> int:
        """How many streams, where there are thousands."""
        return count // 10 if self.quick else count

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._targets is not None:
            self._targets.close()
        if self._generator is not None:
            self._generator.close()
        self._folder.cleanup()
