"""The options of `scripts/torture`; the same options and the same seed give the same plan."""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

# What clients do, by how often.
WORK = {
    "ask": 20,
    "crowd": 8,
    "resume": 14,
    "leave": 8,
    "stop": 8,
    "edit": 6,
    "rewind": 4,
    "restore": 4,
    "delete": 2,
    "erase": 4,
    "enqueue": 8,
    "interrupt": 6,
    "continue": 6,
    "look": 10,
}
# What is done to the servers, by how often.
FAULTS = {
    "kill": 6,  # kill -9 of a process, which is started again later
    "freeze": 6,  # SIGSTOP and later SIGCONT, for less than a lease or for more
    "term": 4,  # SIGTERM, and started again
    "cut": 6,  # all connections of clients to a process
    "restart": 3,  # of the database: kill -9 of its postmaster, or SIGQUIT
    "hang": 2,  # of the database: all its processes are stopped, and go on later
    "partition": 5,  # of one process from the database: its connections are cut, or hang
    "sever": 5,  # of one process from the database, for a moment: what one of them says is lost
    "delay": 2,  # of all that crosses between the processes and the database
}
# They need the proxies that stand before an outer database.
OUTER_ONLY = frozenset({"partition", "sever", "delay"})


@dataclass(frozen=True, slots=True)
class Options:
    """`work` and `faults` are the kinds that are wanted. Times are in seconds."""

    seed: int
    seconds: float = 60.0
    processes: int = 3
    clients: int = 12
    database: Literal["embedded", "outer"] = "embedded"
    lease_seconds: float = 2.0
    grace_seconds: float = 1.0
    work: tuple[str, ...] = tuple(WORK)
    faults: tuple[str, ...] = ()
    keep: bool = False
    seeds: int = 1

    def each(self) -> Iterator[Options]:
        """One for each run: the seeds from `seed` on."""
        for seed in range(self.seed, self.seed + self.seeds):
            yield replace(self, seed=seed, seeds=1)

    def command(self) -> str:
        """The command line that repeats this plan."""
        words = ["scripts/torture", f"--seed {self.seed}", f"--seconds {self.seconds:g}"]
        words += [f"--processes {self.processes}", f"--clients {self.clients}", f"--database {self.database}"]
        words += [f"--lease-seconds {self.lease_seconds:g}", f"--grace-seconds {self.grace_seconds:g}"]
        if self.work != tuple(WORK):
            words.append(f"--only {','.join(self.work)}")
        words.append(f"--faults {','.join(self.faults) or 'none'}")
        return " ".join(words)

    def random(self, *names: object) -> random.Random:
        """The randomness of one part of the plan: it does not depend on what other parts drew."""
        return random.Random("/".join(str(name) for name in (self.seed, *names)))  # noqa: S311 - no secret


def parse(arguments: Sequence[str] | None = None) -> Options:
    parser = argparse.ArgumentParser(
        prog="scripts/torture",
        description="Run server processes under random clients and faults, and check the whole history. "
        "Exits with 1 if the contract was broken.",
    )
    parser.add_argument("--seed", type=int, help="of the plan of clients and faults; default: a new one")
    parser.add_argument(
        "--seeds", type=int, default=1, help="so many runs, each with the seed after the last one's (1)"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how long clients and faults go on (60)")
    parser.add_argument("--processes", type=int, default=3, help="server processes (3)")
    parser.add_argument("--clients", type=int, default=12, help="clients at once (12)")
    parser.add_argument(
        "--database",
        choices=["embedded", "outer"],
        default="embedded",
        help="embedded: that of the servers. outer: one of its own on a TCP port, with a proxy for each process",
    )
    parser.add_argument(
        "--lease-seconds",
        type=float,
        default=2.0,
        help="the servers' lease_seconds (2, so that many takeovers fit into a run; in production it is 10)",
    )
    parser.add_argument("--grace-seconds", type=float, default=1.0, help="the servers' resume_grace_seconds (1)")
    parser.add_argument("--only", help=f"what clients do, separated by commas: {', '.join(WORK)}; default: all")
    parser.add_argument("--faults", help=f"none, or some of {', '.join(FAULTS)}; default: all that the database allows")
    parser.add_argument("--keep", action="store_true", help="keep the servers' logs also if nothing was found")
    given = parser.parse_args(arguments)
    if min(given.processes, given.clients, given.seeds) < 1 or given.seconds <= 0:
        parser.error("at least one process, one client, one seed and some time are needed")
    possible = {kind: None for kind in FAULTS if given.database == "outer" or kind not in OUTER_ONLY}
    return Options(
        seed=random.SystemRandom().randrange(1_000_000) if given.seed is None else given.seed,
        seconds=given.seconds,
        processes=given.processes,
        clients=given.clients,
        database=given.database,
        lease_seconds=given.lease_seconds,
        grace_seconds=given.grace_seconds,
        work=_chosen(parser, "--only", given.only, WORK),
        faults=() if given.faults == "none" else _chosen(parser, "--faults", given.faults, possible),
        keep=given.keep,
        seeds=given.seeds,
    )


def _chosen(
    parser: argparse.ArgumentParser, option: str, given: str | None, known: dict[str, int] | dict[str, None]
) -> tuple[str, ...]:
    if given is None:
        return tuple(known)
    names = [name.strip() for name in given.split(",")]
    if unknown := [name for name in names if name not in known]:
        parser.error(f"{option}: not possible here: {', '.join(unknown)}; possible: {', '.join(known)}")
    return tuple(name for name in known if name in names)
