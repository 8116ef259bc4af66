"""Answers: what clients showed was generated for their question and is what is stored; the model was asked once."""

from __future__ import annotations

from collections import Counter, defaultdict

from scripts.torturing import markers
from scripts.torturing.checks.messages import may_be_erased
from scripts.torturing.history import NEVER, Final, Generation, History, Stream
from scripts.torturing.options import Options

ECHO = "Echo from agent: "
# With shorter leases a busy machine is enough to lose one.
CALM_LEASE_SECONDS = 8.0
# The model sees the end of a connection this much later than it was closed, on a busy machine.
LATE_SECONDS = 5.0


def check(history: History, final: Final, options: Options) -> None:
    texts = Texts(history)
    for stream in history.streams:
        _check_text(history, texts, stream)
    _check_stored(history, final, texts)
    _check_calls(history, final)
    if not options.faults and options.lease_seconds >= CALM_LEASE_SECONDS:
        _check_epochs(history, final)
    _check_readerless(history, options)


class Texts:
    """What may be an answer to each user message."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._by_question: dict[str, list[Generation]] = defaultdict(list)
        for generation in history.generations:
            self._by_question[generation.question].append(generation)

    def generations(self, trigger: str) -> list[Generation]:
        found = []
        for wording in self._history.messages[trigger].wordings:
            for marker in markers.found_in(wording.split(" ", 1)[0]):
                found += self._by_question[marker]
        return found

    def whole(self, trigger: str) -> set[str]:
        """All texts that were completed, or would have been."""
        if self._history.conversations[self._history.messages[trigger].conversation].echo:
            return {ECHO + wording for wording in self._history.messages[trigger].wordings}
        return {generation.text for generation in self.generations(trigger)}

    def completed(self, trigger: str) -> set[str]:
        if self._history.conversations[self._history.messages[trigger].conversation].echo:
            return self.whole(trigger)
        return {generation.text for generation in self.generations(trigger) if generation.finished}


def _check_text(history: History, texts: Texts, stream: Stream) -> None:
    if stream.trigger is None or stream.trigger not in history.messages:
        return
    possible = texts.whole(stream.trigger)
    if stream.text and not any(text.startswith(stream.text) for text in possible):
        history.violate(
            "garbled text",
            f"stream #{stream.number} at p{stream.process} (viewer {stream.viewer}) shows {stream.text[:60]!r}…"
            f"{stream.text[-60:]!r} ({len(stream.text)} characters), which is the beginning of no answer to it",
            stream.conversation,
            stream.ended,
        )
    for terminal in stream.terminals:
        if terminal["type"] == "done" and stream.text not in texts.completed(stream.trigger):
            _wrong(history, "done without the whole text", stream, f"{len(stream.text)} characters")
        if terminal["type"] == "done" and terminal.get("messageId") is None:
            _wrong(history, "done without a message", stream, str(terminal))
        message = history.messages.get(terminal.get("messageId") or "")
        if message is not None and message.content != stream.text:
            _wrong(
                history,
                "other text",
                stream,
                f"it shows {len(stream.text)} characters at the end of {message.id}, others {len(message.content)}",
            )
        if terminal["type"] == "error":
            _check_error(history, texts, stream, str(terminal))


def _check_error(history: History, texts: Texts, stream: Stream, terminal: str) -> None:
    """A failure is the model's, or that of a database that was away."""
    assert stream.trigger is not None
    failed = any(
        generation.failed or generation.hung_up
        for generation in texts.generations(stream.trigger)
        if generation.began <= stream.ended
    )
    if not failed and not history.disturbed(stream.began, stream.ended, slack=70.0):
        _wrong(history, "error without cause", stream, terminal)


def _check_stored(history: History, final: Final, texts: Texts) -> None:
    """Each stored answer is one that was generated: whole, or the beginning if it was stopped."""
    for conversation, items in final.messages.items():
        for item in items:
            trigger = item["replyTo"]
            if item["role"] != "assistant" or trigger not in history.messages:
                continue
            if item["status"] == "completed":
                good = item["content"] in texts.completed(trigger)
            else:
                good = any(text.startswith(item["content"]) for text in texts.whole(trigger))
            if not good:
                history.violate(
                    "wrong answer stored",
                    f"{item['id']} ({item['status']}) to {trigger}: {item['content'][:40]!r}…{item['content'][-40:]!r}",
                    conversation,
                )


def _check_calls(history: History, final: Final) -> None:
    """The model was asked at most once per epoch of a run, and again where it hung up in a pause."""
    epochs: Counter[str] = Counter()
    for run in final.runs:
        if run.trigger is not None:
            epochs[run.trigger] += run.epoch
    calls: dict[str, list[Generation]] = defaultdict(list)
    trigger_of = {}
    for message in history.messages.values():
        if message.role == "user" and not may_be_erased(history, message):
            for wording in message.wordings:
                for marker in markers.found_in(wording.split(" ", 1)[0]):
                    trigger_of[marker] = message
    for generation in history.generations:
        if generation.question in trigger_of:
            calls[trigger_of[generation.question].id].append(generation)
    for trigger, asked in calls.items():
        allowed = epochs[trigger] + sum(generation.hung_up for generation in asked)
        if len(asked) > allowed:
            history.violate(
                "asked too often",
                f"the model was asked {len(asked)} times for {trigger}, whose runs have {allowed} epochs: "
                f"{[(round(call.began, 2), f'p{call.process}') for call in asked]}",
                history.messages[trigger].conversation,
            )


def _check_epochs(history: History, final: Final) -> None:
    for run in final.runs:
        if run.epoch > 1:
            history.violate("takeover without a fault", f"run {run.id} has epoch {run.epoch}", run.conversation)


def _check_readerless(history: History, options: Options) -> None:
    """Nothing is generated when the last reader has left and the grace is over, unless it continues."""
    reading: dict[str, list[Stream]] = defaultdict(list)
    for stream in history.streams:
        if stream.trigger in history.messages:
            reading[stream.trigger].append(stream)
    texts = Texts(history)
    for trigger, streams in reading.items():
        if any(stream.continues for stream in streams):
            continue
        for generation in texts.generations(trigger):
            last = max((stream.ended for stream in streams if stream.began <= generation.ended), default=NEVER)
            limit = last + options.grace_seconds + LATE_SECONDS
            if generation.ended > limit and not history.disturbed(last, generation.ended, slack=15.0):
                history.violate(
                    "generated for nobody",
                    f"p{generation.process} went on for {generation.ended - last:.1f} s after the last reader of "
                    f"{trigger} had left",
                    history.messages[trigger].conversation,
                    generation.ended,
                )


def _wrong(history: History, kind: str, stream: Stream, text: str) -> None:
    history.violate(kind, f"stream #{stream.number} at p{stream.process}: {text}", stream.conversation, stream.ended)
