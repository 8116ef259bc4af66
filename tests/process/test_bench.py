"""scripts/bench: what its load generator counts, what it refuses, and that it runs and prints."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.benchmarks import servers
from scripts.benchmarks.load import Generator, LoadError, Plan
from scripts.benchmarks.publish import BEGIN, END, write_page
from scripts.benchmarks.report import Bars, Goal, Report
from scripts.benchmarks.servers import Server
from scripts.benchmarks.targets import question
from tests.kit.process_table import ROOT

TIMEOUT_SECONDS = 120


def bench(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scripts.benchmarks", *argv],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
    )


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Generator]:
    made = Generator(tmp_path_factory.mktemp("load"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The bare peer, which sends whatever the conversation's id says."""
    command = [sys.executable, "-m", "scripts.benchmarks.peers.bare"]
    with servers.start("bare", command, tmp_path_factory.mktemp("peer")) as server:
        yield server


@pytest.mark.compiler
def test_load_of_turns_counts_whole_answers(generator: Generator, peer: Server) -> None:
    plan = Plan(["/api/conversations/20-0"], 1, question(20), tokens=20, warm_seconds=0, until_tokens=2_000)
    measured = generator.run(peer, plan)
    # The first answer may have come before the measurement, and the end of the last one after it.
    assert 98 <= measured.turns <= 100
    assert 99 * 20 <= measured.tokens <= 100 * 20
    assert measured.server_seconds > 0
    assert measured.post_ms.p50 > 0
    assert measured.failures == 0


@pytest.mark.compiler
def test_load_with_an_answer_of_another_length_fails(generator: Generator, peer: Server) -> None:
    plan = Plan(["/api/conversations/20-0"], 1, question(20), tokens=21, warm_seconds=0, until_tokens=40)
    with pytest.raises(LoadError, match="20 tokens for 21"):
        generator.run(peer, plan)


@pytest.mark.compiler
def test_load_without_a_server_fails(generator: Generator, peer: Server) -> None:
    nobody = Server("nobody", 1, peer.pid)
    with pytest.raises(LoadError, match="Connection refused"):
        generator.run(nobody, Plan(["/"], 1))


@pytest.mark.compiler
@pytest.mark.parametrize("pace_ms", [0, 5], ids=["at once", "paced"])
def test_fan_out_of_load_reads_every_delivery(generator: Generator, peer: Server, pace_ms: int) -> None:
    plan = Plan(
        ["/api/conversations/live/stream"],
        50,
        tokens=30,
        warm_seconds=0,
        fan_out=True,
        start=f"/publish/30-{pace_ms}",
    )
    measured = generator.run(peer, plan)
    assert measured.tokens == 50 * 30
    assert measured.turns == 50
    assert 0 < measured.fan_seconds <= measured.seconds


@pytest.mark.compiler
def test_stalled_readers_of_load_take_nothing(generator: Generator, peer: Server) -> None:
    paths = [*["/api/conversations/100-0"] * 5, "/api/conversations/1000-1"]
    plan = Plan(paths, 6, question(20), stalled=5, warm_seconds=0, until_tokens=50)
    measured = generator.run(peer, plan)
    assert 0 < measured.tokens <= 1000
    assert measured.turns == 0


@pytest.mark.compiler
def test_look_is_called_at_the_begin_and_the_end_of_the_measurement(generator: Generator, peer: Server) -> None:
    looks: list[float] = []
    plan = Plan(["/api/conversations/1000-1"], 2, question(20), warm_seconds=0, seconds=0.2)
    measured = generator.run(peer, plan, lambda: looks.append(time.monotonic()))
    begin, end = looks
    assert end - begin >= measured.seconds
    assert measured.tokens > 0


@pytest.mark.compiler
def test_failing_look_ends_the_load(generator: Generator, peer: Server) -> None:
    def fail() -> None:
        raise ValueError("a fault")

    with pytest.raises(ValueError, match="a fault"):
        generator.run(peer, Plan(["/api/conversations/1000-1"], 2, question(20)), fail)


@pytest.mark.compiler
def test_bench_prints_tables_and_writes_its_figures(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    run = bench("replay", "--rounds", "1", "--quick", "--json", str(figures))
    assert run.returncode == 0, run.stderr
    assert "| chatserver |" in run.stdout
    assert "replay: stored answers of 200 tokens" in run.stdout
    assert json.loads(figures.read_text())["figures"]["replay"]["chatserver"][0].keys() >= {"replays/s"}


@pytest.mark.parametrize(
    ("figure", "rows"),
    [
        ("elsewhere", ["1", "10", "100"]),
        ("takeover", ["killed (SIGKILL)", "frozen (SIGSTOP)", "cut off from the database"]),
        ("carrier", ["0", "80"]),
        ("commits", ["1", "2", "4"]),
    ],
)
def test_bench_of_several_processes_has_a_row_for_each_case(tmp_path: Path, figure: str, rows: list[str]) -> None:
    figures = tmp_path / "figures.json"
    run = bench(figure, "--rounds", "1", "--quick", "--json", str(figures))
    assert run.returncode == 0, run.stdout + run.stderr
    (table,) = re.findall(rf"^{figure}: .*?\n\n((?:\|.*\n)+)", run.stdout, re.MULTILINE)
    assert [row.split("|")[1].strip() for row in table.splitlines()[2:]] == rows
    assert list(json.loads(figures.read_text())["figures"][figure]) == rows
    assert "answers, a token's lag" not in run.stdout  # few answers reach no goal of many


def test_bench_of_a_rolling_restart_shows_each_answer_whole() -> None:
    run = bench("rolling", "--rounds", "1", "--quick")
    assert run.returncode == 0, run.stdout + run.stderr
    exact, streams, *_ = [cell.strip() for cell in run.stdout.rstrip().splitlines()[-1].split("|")[1:]]
    assert int(streams) > 10
    assert exact == streams


def test_bench_without_a_compiler_says_what_it_leaves_out(tmp_path: Path) -> None:
    run = bench("burst", "--rounds", "1", PATH=str(tmp_path))
    assert run.returncode == 0, run.stderr
    assert "burst is left out: there is no C compiler (cc)" in run.stdout


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["nonsense"], "no such figure: nonsense"),
        (["--rounds", "0"], "at least one round is needed"),
        (["--quick", "--plot"], "--plot needs the whole"),
    ],
    ids=["unknown figure", "no round", "quick pictures"],
)
def test_bench_with_wrong_arguments_is_refused(argv: list[str], message: str) -> None:
    run = bench(*argv)
    assert run.returncode == 2
    assert message in run.stderr


@pytest.mark.parametrize(
    ("at_most", "value", "verdict"),
    [
        (True, 0.5, "reached"),
        (True, 0.6, "missed by 20%"),
        (True, 5, "missed by a factor of 10.0"),
        (False, 0.5, "reached"),
        (False, 0.4, "missed by 25%"),
        (False, 0, "missed"),
        (True, float("nan"), "not measured"),
    ],
)
def test_goal_is_reached_or_missed_by_so_much(at_most: bool, value: float, verdict: str) -> None:
    assert Goal("a goal", 0.5, at_most=at_most).verdict(value) == verdict


def test_published_page_has_the_newest_figures_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"before\n\n{BEGIN}\n\nold\n\n{END}\n\nafter\n")
    report = Report(bars=[Bars("paced, 1,000 streams", "a title", "ms", "less is better", {"chatserver": 2, "<b>": 4})])
    report.table("a table", ["server", "ms"], [["chatserver", "2"]])
    write_page(report, "a machine", page)
    text = page.read_text()
    assert text.startswith(f"before\n\n{BEGIN}\n\nMeasured on ")
    assert text.endswith(f"{END}\n\nafter\n")
    assert "old" not in text
    assert "| chatserver |  2 |" in text
    assert "![a title](performance/paced-1000-streams.svg)" in text
    picture = (tmp_path / "performance" / "paced-1000-streams.svg").read_text()
    assert "&lt;b&gt;" in picture
    write_page(report, "a machine", page)
    assert page.read_text() == text
