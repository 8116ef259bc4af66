"""What a run prints: progress, tables, and each violation with its history and what the servers logged."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from scripts.torturing.history import History, Violation
from scripts.torturing.options import Options

# Of a conversation's story, as much as stands around the violation; and how many violations of a kind are told in full.
STORY_LINES, LOG_LINES = 60, 25
IN_FULL = 3
# Such lines in a server's log tell of a defect, whatever was done to it.
SCANDALS = ("Uncaught exception", "was never retrieved", "Exception in callback", "was never awaited", "AssertionError")


def progress(history: History, options: Options) -> str:
    answers = sum(len(stream.terminals) for stream in history.streams)
    return (
        f"{history.now():6.0f} s of {options.seconds:.0f}: {len(history.requests) + len(history.streams)} requests, "
        f"{answers} ends of answers, {len(history.faults)} faults, {len(history.violations)} violations"
    )


def scandals(logs: Iterable[Path], history: History) -> None:
    """Lines that no server may log, as violations."""
    for log in logs:
        for line in log.read_text(errors="replace").splitlines():
            if any(scandal in line for scandal in SCANDALS):
                history.violate("log", f"{log.stem}: {line[:2000]}")


def tables(history: History) -> str:
    lines = ["", "faults injected:"]
    lines += _table(Counter(fault.kind for fault in history.faults))
    lines += ["", "operations of clients:"]
    lines += _table(Counter({name[3:]: count for name, count in history.counts.items() if name.startswith("op ")}))
    lines += ["", "requests:"]
    lines += _table(Counter({name: count for name, count in history.counts.items() if not name.startswith("op ")}))
    lines += ["", "ends of streams:"]
    ends: Counter[str] = Counter()
    for stream in history.streams:
        ends[f"{stream.status} {stream.end}" if not stream.terminals else stream.terminals[-1]["type"]] += 1
    lines += _table(ends)
    lines += ["", f"calls of the model: {len(history.generations)}"]
    lines.append(_takeovers(history.takeovers))
    return "\n".join(lines)


def _table(counts: Counter[str]) -> list[str]:
    return [f"  {count:7} {name}" for name, count in counts.most_common()] or ["        none"]


def _takeovers(seconds: list[float]) -> str:
    if not seconds:
        return "takeovers seen by waiting readers: none"
    ordered = sorted(seconds)
    middle, last = ordered[len(ordered) // 2], ordered[-1]
    return (
        f"takeovers seen by waiting readers: {len(ordered)}; from the fault to the first byte of the new epoch "
        f"p50 {middle:.1f} s, longest {last:.1f} s"
    )


class Total:
    """What many runs had, together."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._requests = 0
        self._calls = 0
        self._ends: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._seeds: dict[int, int] = {}
        """How many violations each had."""
        self.violations: Counter[str] = Counter()

    def add(self, history: History, options: Options) -> None:
        self._seconds += options.seconds
        self._requests += len(history.requests) + len(history.streams)
        self._calls += len(history.generations)
        self._ends.update(terminal["type"] for stream in history.streams for terminal in stream.terminals)
        self._faults.update(fault.kind for fault in history.faults)
        self._seeds[options.seed] = len(history.violations)
        self.violations.update(violation.kind for violation in history.violations)

    def table(self) -> str:
        lines = ["", f"{len(self._seeds)} runs, {self._seconds:.0f} s of clients and faults in all", "ends of answers:"]
        lines += _table(self._ends)
        lines += [f"faults injected: {self._faults.total()}", *_table(self._faults)]
        lines += [f"{self._requests} requests, {self._calls} calls of the model"]
        lines += [f"{self.violations.total()} violations", *(_table(self.violations) if self.violations else [])]
        lines += [f"  seed {seed} had {count}" for seed, count in self._seeds.items() if count]
        return "\n".join(lines)


def violations(history: History, logs: list[Path]) -> str:
    """All of them; the first ones of each kind with the story of their conversation."""
    told: Counter[str] = Counter()
    kinds = Counter(violation.kind for violation in history.violations)
    lines = ["", "violations by kind:", *_table(kinds)]
    for violation in history.violations:
        told[violation.kind] += 1
        lines += ["", f"VIOLATION {violation.kind} at {violation.at:.3f} s: {violation.text}"]
        if told[violation.kind] <= IN_FULL and violation.conversation is not None:
            lines += _story(history, violation, logs)
    return "\n".join(lines)


def _story(history: History, violation: Violation, logs: list[Path]) -> list[str]:
    assert violation.conversation is not None
    story = history.story(violation.conversation)
    before = [line for line in story if line[0] <= violation.at + 0.001]
    after = [line for line in story if line[0] > violation.at + 0.001]
    chosen = [*before[-(STORY_LINES - 10) :], *after[:10]]
    lines = [f"  conversation {violation.conversation}:", *(f"  {at:9.3f}  {text}" for at, text in chosen)]
    for log in logs:
        found = [line for line in log.read_text(errors="replace").splitlines() if violation.conversation in line]
        lines += [f"  {log.stem}: {_short(line)}" for line in found[-LOG_LINES:]]
    return lines


def _short(line: str) -> str:
    """A line of the log without what stands elsewhere."""
    try:
        entry = json.loads(line)
    except ValueError:
        return line[:300]
    return " ".join(str(value) for value in entry.values())[:300] if isinstance(entry, dict) else line[:300]


def replay(options: Options) -> str:
    return f"the same plan again: {options.command()}"
