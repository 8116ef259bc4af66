"""The checker of scripts/torture: a sound history passes, and each kind of violation is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from scripts.torturing import markers
from scripts.torturing.checks import check
from scripts.torturing.faults import plan
from scripts.torturing.history import (
    Conversation,
    Fault,
    Final,
    Generation,
    History,
    Message,
    Post,
    Request,
    Run,
    Stream,
    Write,
)
from scripts.torturing.options import FAULTS, Options, parse
from scripts.torturing.report import Total, scandals
from scripts.torturing.viewer import Frames, Viewer

CHAT, QUESTION, ANSWER, SECOND = "chat", "question", "answer", "second"


@dataclass
class Case:
    """A sound history: a question whose answer was read at p0 and, cut once, at p1; and what is left of it."""

    history: History = field(default_factory=History)
    final: Final = field(default_factory=Final)
    faults: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        words = markers.Markers()
        self.asked, self.said = words.new(), words.new()
        self.edited = words.new()
        self.other = f"{words.new()}.0 "
        self.text = f"{self.said}.0 {self.said}.1 {self.said}.2 "
        history = self.history
        self.chat = history.conversations[CHAT] = Conversation(CHAT, echo=False)
        self.question = history.messages[QUESTION] = Message(QUESTION, CHAT, "user", self.asked, 1.0)
        history.posts[self.asked] = Post(CHAT, self.asked, {QUESTION})
        self.answer = history.messages[ANSWER] = Message(ANSWER, CHAT, "assistant", self.text, 3.0, QUESTION)
        self.generation = Generation(self.asked, self.said, 0, self.text, 1.1, 3.0, finished=True)
        history.generations.append(self.generation)
        done = {"type": "done", "messageId": ANSWER, "usage": None, "stopReason": "stop"}
        self.cut = self.stream(1, "left", 1.0, 2.0, text=self.text[:7])
        self.whole = self.stream(
            1, "terminal", 2.1, 3.1, process=1, last_id="r.1.1.7", text=self.text, terminals=[done]
        )
        self.request = Request("GET", "messages", 0, CHAT, 9.0, 9.1, 200)
        history.requests.append(self.request)
        self.final.messages[CHAT] = [
            self.item(QUESTION, "user", self.asked),
            self.item(ANSWER, "assistant", self.text, replyTo=QUESTION),
        ]
        self.run = Run("run", CHAT, QUESTION, "completed", 1)
        self.final.runs.append(self.run)
        self.final.markers = {self.asked: {"chat_messages.content"}, self.said: {"chat_messages.content"}}

    def stream(self, viewer: int, end: Any, began: float, ended: float, **more: Any) -> Stream:
        values: dict[str, Any] = {
            "process": 0,
            "trigger": QUESTION,
            "status": 200,
            "opened": True,
            "head_at": began + 0.1,
            **more,
        }
        number = len(self.history.streams) + 1
        stream = Stream(number, viewer, conversation=CHAT, began=began, ended=ended, end=end, **values)
        self.history.streams.append(stream)
        return stream

    @staticmethod
    def item(message_id: str, role: str, content: str, **more: Any) -> dict[str, Any]:
        return {
            "id": message_id, "role": role, "content": content, "editedContent": None, "replyTo": None,
            "supersededAt": None, "status": "completed", **more,
        }  # fmt: skip

    def fault(self, kind: str, began: float, ended: float, process: int | None = None) -> None:
        self.history.faults.append(Fault(kind, process, began, ended))

    def items(self) -> list[dict[str, Any]]:
        return self.final.messages[CHAT]

    def kinds(self) -> set[str]:
        check(self.history, self.final, Options(1, faults=self.faults, lease_seconds=10.0))
        return {violation.kind for violation in self.history.violations}


def breaks(case: Case, change: Callable[[Case], Any]) -> set[str]:
    change(case)
    return case.kinds()


def test_sound_history_has_no_violation() -> None:
    assert Case().kinds() == set()


def _other_reader(case: Case, text: str) -> None:
    case.stream(2, "terminal", 1.2, 3.0, text=text, terminals=case.whole.terminals)


def _erase(case: Case, message: Message, *, acked: bool = True) -> None:
    message.erasures.append(Write(5.0, 5.1 if acked else float("inf")))


def _edit(case: Case, sent: float, value: str) -> None:
    case.question.edits.append(Write(sent, sent + 0.1, value=value))


def _end(case: Case, **terminal: Any) -> None:
    """The second reader's end; nothing of it is stored."""
    case.stream(2, "terminal", 1.2, 3.0, text=case.text[:16], terminals=[terminal])


VIOLATIONS: list[tuple[str, Callable[[Case], Any]]] = [
    ("lost message", lambda case: case.items().pop(0)),
    ("lost message", lambda case: case.items().pop()),
    ("other content", lambda case: case.items()[0].update(content="else")),
    ("other status", lambda case: case.items()[1].update(status="stopped")),
    ("erased message is there", lambda case: _erase(case, case.question)),
    ("erased conversation is there", lambda case: case.chat.erasures.append(Write(5.0, 5.1))),
    ("lost conversation", lambda case: case.final.gone.add(CHAT)),
    ("lost edit", lambda case: _edit(case, 4.0, case.edited)),
    ("lost edit", lambda case: (_edit(case, 4.0, "first"), _edit(case, 5.0, "second"),
                                case.items()[0].update(editedContent="first"))),
    ("unknown wording", lambda case: (_edit(case, 4.0, "first"), case.items()[0].update(editedContent="third"),
                                      case.chat.moves.append(Write(5.0, 5.1, value="restore")))),
    ("double message", lambda case: case.items().append(case.item(SECOND, "user", case.asked))),
    ("double message", lambda case: case.history.posts[case.asked].ids.add(SECOND)),
    ("unknown message", lambda case: case.items().append(case.item(SECOND, "user", "nobody said this"))),
    ("wrong answer stored", lambda case: (case.items()[1].update(content=case.text[:-1]),
                                          setattr(case.answer, "content", case.text[:-1]))),
    ("disorder", lambda case: setattr(case.whole, "disorder", "something follows the end")),
    ("two ends", lambda case: case.whole.terminals.extend(case.whole.terminals[:])),
    ("no end", lambda case: case.stream(2, "open", 1.0, float("inf"))),
    ("no terminal event", lambda case: case.stream(2, "clean", 1.0, 2.0, text=case.text[:7])),
    ("broken stream", lambda case: case.stream(2, "broken", 1.0, 2.0, text=case.text[:7])),
    ("stopped by nobody", lambda case: _end(case, type="stopped", messageId=None)),
    ("stopped by nobody", lambda case: (case.chat.moves.append(Write(1.5, 1.6, value="rewind")),
                                        _end(case, type="stopped", messageId=None))),
    ("garbled text", lambda case: _other_reader(case, case.text[:8] + case.text[9:])),
    ("garbled text", lambda case: _other_reader(case, case.text[:16] + case.text)),
    ("done without the whole text", lambda case: _other_reader(case, case.text[:16])),
    ("done without the whole text", lambda case: setattr(case.generation, "finished", False)),
    ("done without a message", lambda case: case.whole.terminals[0].update(messageId=None)),
    ("other text", lambda case: _other_reader(case, case.text[:16])),
    ("error without cause", lambda case: _end(case, type="error", error="x", code="internal", retryable=True)),
    ("asked too often", lambda case: case.history.generations.append(case.generation)),
    ("takeover without a fault", lambda case: setattr(case.run, "epoch", 2)),
    ("generated for nobody", lambda case: setattr(case.generation, "ended", 60.0)),
    ("no response", lambda case: (setattr(case.request, "status", None), setattr(case.request, "lost", "timeout"))),
    ("not 204 after the end", lambda case: setattr(case.request, "kind", "after end")),
    ("status 500", lambda case: setattr(case.request, "status", 500)),
    ("status 404", lambda case: setattr(case.request, "status", 404)),
    ("status 429", lambda case: case.stream(2, "refused", 1.0, 1.1, status=429)),
    ("503 without Retry-After", lambda case: setattr(case.request, "status", 503)),
    ("503 without a fault", lambda case: case.stream(2, "refused", 1.0, 1.1, status=503)),
    ("409 while nothing is generated", lambda case: (setattr(case.request, "status", 409),
                                                     setattr(case.request, "kind", "rewind"))),
    ("409 while no other answer is generated", lambda case: case.stream(2, "refused", 1.0, 1.1, status=409)),
    ("409 while no other answer is generated", lambda case: case.stream(
        2, "refused", 1.0, 1.1, trigger=SECOND, status=409, when_busy="enqueue")),
    ("409 for a reader that comes back", lambda case: case.stream(
        2, "refused", 1.0, 1.1, status=409, last_id="r.1.1.7")),
    ("sent away without a cause", lambda case: case.stream(
        2, "clean", 1.0, 1.1, opened=False, last_id="r.1.1.7")),
    ("not settled", lambda case: case.final.unsettled.append("rows")),
    ("still active", lambda case: case.final.active.update({CHAT: "at p0"})),
    ("stuck conversation", lambda case: case.final.stuck.update({CHAT: "409"})),
    ("rows left", lambda case: case.final.rows.update({"chat_frames": 1})),
    ("model's connections left", lambda case: setattr(case.final, "model_connections", 1)),
    ("text is still there", lambda case: (_erase(case, case.question), case.items().clear())),
    ("text is still there", lambda case: (case.chat.stops.append(Write(1.0, 1.1)),
                                          _end(case, type="stopped", messageId=None))),
    ("text of no message", lambda case: case.final.markers.update({case.edited: {"chat_frames.body"}})),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "change"), VIOLATIONS, ids=[f"{n}-{kind}" for n, (kind, _) in enumerate(VIOLATIONS)])
def test_violation_is_found(kind: str, change: Callable[[Case], Any]) -> None:
    assert kind in breaks(Case(), change)


EXCUSED: list[tuple[str, Callable[[Case], Any]]] = [
    ("erased, acknowledged", lambda case: (_erase(case, case.question), case.items().clear(),
                                           case.final.markers.clear())),
    ("erased, perhaps", lambda case: (_erase(case, case.question, acked=False), case.items().clear(),
                                      case.final.markers.clear())),
    ("edited twice, the later one stands", lambda case: (
        _edit(case, 4.0, "first"), _edit(case, 5.0, "second"), case.items()[0].update(editedContent="second"))),
    ("drained", lambda case: (case.fault("term", 1.5, 2.5, 0), case.stream(2, "clean", 1.0, 2.0))),
    ("killed", lambda case: (case.fault("kill", 1.5, 2.5, 0), case.stream(2, "broken", 1.0, 2.0))),
    ("cut", lambda case: (case.fault("cut", 1.5, 1.5, 0), case.stream(2, "broken", 1.0, 2.0))),
    ("database away", lambda case: (case.fault("hang", 1.5, 2.5), case.stream(2, "refused", 1.0, 2.0, status=503))),
    ("another answer is read", lambda case: (
        case.stream(2, "refused", 1.5, 1.6, trigger=SECOND, status=409))),
    ("taken over", lambda case: (case.fault("kill", 1.5, 2.5, 0), setattr(case.run, "epoch", 2),
                                 setattr(case, "faults", ("kill",)),
                                 case.history.generations.append(case.generation))),
    ("deleted", lambda case: (case.chat.deletions.append(Write(0.5, 0.6)), setattr(case.request, "status", 404))),
    ("superseded while its owner was frozen", lambda case: (
        case.fault("freeze", 1.5, 2.5, 0), setattr(case, "faults", ("freeze",)), setattr(case.run, "epoch", 2),
        case.chat.moves.append(Write(1.6, value="rewind")),
        case.history.generations.append(
            Generation(case.asked, case.other[:-3], 0, case.other, 1.1, 3.0, finished=False)),
        case.stream(2, "terminal", 1.2, 3.0, text=case.other, terminals=[{"type": "stopped", "messageId": None}]))),
    ("superseded while it waited", lambda case: (
        case.chat.moves.append(Write(1.5, value="rewind")),
        case.stream(2, "terminal", 1.2, 3.0, terminals=[{"type": "stopped", "messageId": None}], trigger=SECOND))),
]  # fmt: skip


@pytest.mark.parametrize("change", [change for _, change in EXCUSED], ids=[name for name, _ in EXCUSED])
def test_what_faults_and_requests_explain_is_no_violation(change: Callable[[Case], Any]) -> None:
    assert breaks(Case(), change) == set()


@pytest.mark.parametrize(
    "change",
    [
        lambda case: (case.fault("cut", 1.5, 1.5, 0), case.stream(2, "refused", 1.0, 2.0, status=503)),
        lambda case: (case.fault("kill", 1.5, 2.5, 1), case.stream(2, "broken", 1.0, 2.0)),
        lambda case: (case.fault("hang", 100, 101), case.stream(2, "refused", 1.0, 2.0, status=503)),
    ],
    ids=["a cut is no reason for 503", "another process was killed", "later"],
)
def test_fault_explains_only_what_it_touches(change: Callable[[Case], Any]) -> None:
    assert breaks(Case(), change) != set()


# --- frames, logs and plans ---------------------------------------------------------------------------------------


def test_viewer_joins_tokens_and_clears_at_reset_over_connections() -> None:
    viewer = Viewer()
    first = Frames(viewer)
    first.feed(b':ok\n\nretry: 1000\nid: a.1.0.0\n\nid: a.1.1.3\ndata: {"type":"token","content":"one"}\n\nid: a.1.2')
    assert (viewer.text, viewer.last_id, first.opened, first.new_epoch) == ("one", "a.1.1.3", True, False)
    second = Frames(viewer)
    second.feed(b'id: a.2.1.0\ndata: {"type":"reset"}\n\nid: a.2.2.3\ndata: {"type":"token","content":"two"}\n\n')
    second.feed(b'id: a.2.end\ndata: {"type":"stopped","messageId":null}\n\n')
    assert (viewer.text, second.new_epoch, second.disorder) == ("two", True, None)
    assert viewer.terminal == {"type": "stopped", "messageId": None}


@pytest.mark.parametrize(
    "body",
    [
        b'id: a.1.end\ndata: {"type":"stopped","messageId":null}\n\nid: a.1.3\ndata: {"type":"reset"}\n\n',
        b'id: a.1.1\ndata: {"type":"other"}\n\n',
        b"id: a.1.1\ndata: {no json}\n\n",
        b'id: a.1.1\nid: a.1.2\ndata: {"type":"reset"}\n\n',
        b'event: token\ndata: {"type":"reset"}\n\n',
    ],
)
def test_frames_out_of_order_are_found(body: bytes) -> None:
    frames = Frames(Viewer())
    frames.feed(body)
    assert frames.disorder


def test_scandals_in_logs_are_violations(tmp_path: Any) -> None:
    log = tmp_path / "p0.log"
    log.write_text("all is well\nTask exception was never retrieved\n")
    history = History()
    scandals([log], history)
    assert [violation.kind for violation in history.violations] == ["log"]


def test_same_seed_gives_the_same_plan_and_command_line_repeats_it() -> None:
    options = Options(7, database="outer", faults=tuple(FAULTS), work=("ask", "stop"))
    repeated = parse(options.command().split()[1:])
    assert repeated == options
    assert plan(options) == plan(repeated) != plan(Options(8, database="outer", faults=tuple(FAULTS)))
    assert {fault.kind for fault in plan(Options(7, seconds=600, faults=tuple(FAULTS)))} == set(FAULTS)


def test_aimed_faults_are_drawn_and_those_that_miss_the_commit_too() -> None:
    aimed = [fault.aimed for fault in plan(Options(7, seconds=600, faults=tuple(FAULTS)))]
    assert len(aimed) / 2 < sum(aimed) < len(aimed)


@pytest.mark.parametrize(
    ("change", "elsewhere"),
    [
        ({}, True),
        ({"process": 0}, False),
        ({"end": "left"}, False),
        ({"trigger": SECOND}, False),
        ({"trigger": None}, False),
    ],
)
def test_answer_is_read_elsewhere_while_another_process_has_a_reader_of_it(
    change: dict[str, Any], elsewhere: bool
) -> None:
    case = Case()
    case.history.messages[SECOND] = Message(SECOND, CHAT, "user", "another question", 1.0)
    values = {"process": 1, "end": "open", "trigger": QUESTION} | change
    case.stream(2, values.pop("end"), 1.2, 3.0, **values)
    assert case.history.read_elsewhere(case.generation) is elsewhere


def test_several_seeds_are_runs_of_their_own_and_summed_up() -> None:
    options = parse(["--seed", "7", "--seeds", "3", "--seconds", "5"])
    runs = list(options.each())
    assert [run.seed for run in runs] == [7, 8, 9]
    assert [run.command() for run in runs] == [
        Options(seed, 5.0, faults=options.faults).command() for seed in (7, 8, 9)
    ]
    total = Total()
    for run in runs:
        case = Case()
        case.fault("kill", 1.0, 2.0, 0)
        if run.seed == 8:
            case.history.violate("no end", "it is open")
        total.add(case.history, run)
    assert total.violations == {"no end": 1}
    table = total.table()
    for part in (
        "3 runs, 15 s",
        "faults injected: 3",
        "3 kill",
        "9 requests",
        "1 violations",
        "1 no end",
        "seed 8 had 1",
    ):
        assert part in table
