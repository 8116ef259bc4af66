"""What models of the world send, byte for byte, and what is right: an answer, or an error."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from tests.kit.model_server import DONE, choice, event


@dataclass(frozen=True)
class Answer:
    text: str
    reasoning: str = ""
    stop_reason: str = "stop"


ERROR = "error"
Right = Answer | Literal["error"]
Case = tuple[bytes, Right]

HALF = choice({"content": "Half an ans"})
STOP = choice({}, "stop")
DIED = {"message": "engine died", "code": 500}


def named(name: str, data: object) -> bytes:
    return b"event: " + name.encode() + b"\n" + event(data)


def line(data: object) -> bytes:
    return json.dumps(data).encode() + b"\n"


def whole(content: object, finish_reason: object = "stop", **message: object) -> dict[str, object]:
    """The JSON body of a server of chat completions that does not stream."""
    message = {"role": "assistant", "content": content, **message}
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish_reason}]}


# --- reported errors ----------------------------------------------------------------------------------------

FAILURE_WORDS = [
    "abort",
    "aborted",
    "ABORT",
    "error",
    "Error",
    "ERROR",
    "insufficient_system_resource",
    "network_error",
    "cancelled",
    "timeout",
    "user_cancel",
    "failed",
    "internal_error",
    "engine_dead",
    "MALFORMED_FUNCTION_CALL",
    "finish_reason_error",
    "ERROR_LIMIT",
    "device_lost",
    "503",
    "server_overloaded",
    "interrupted",
]

# Events, each of which says that the answer failed.
REPORTS: dict[str, bytes] = {
    **{f"finish_reason {word}": choice({}, word) for word in FAILURE_WORDS},
    "finish_reason object": choice({}, {"type": "abort", "message": "gone"}),
    "error in the choice": choice({"content": ""}, "error", error={"code": 502}),
    "error in the choice, no reason": choice({"content": ""}, error={"code": 502, "message": "x"}),
    "error in the choice beside stop": choice({"content": ""}, "stop", error="upstream went away"),
    "error in the delta": choice({"content": "", "error": {"message": "x"}}),
    "error in the message": event({"choices": [{"message": {"error": {"message": "x"}}, "finish_reason": "stop"}]}),
    "error part": choice({"content": [{"type": "error", "text": "engine died"}]}),
    "error_code in the delta": choice({"error_code": 7}),
    "error_code": event({"text": "**NETWORK ERROR**", "error_code": 50001}),
    "error_code text": event({"text": "x", "error_code": "E50001"}),
    "error_code beside choices": event({"choices": [{"delta": {}}], "error_code": 50001}),
    "error_msg": event({"error_msg": "Open api request limit reached", "error_code": 336501}),
    "error_msg alone": event({"error_msg": "Open api request limit reached"}),
    "errorMessage": event({"errorMessage": "x", "errorType": "Runtime.Exited"}),
    "object error": event({"object": "error", **DIED}),
    "object Error": event({"object": "Error", "message": "engine died"}),
    "type error": event({"type": "error", "message": "engine died"}),
    "type server_error": event({"type": "server_error", "message": "engine died"}),
    "event: error": named("error", {"message": "engine died"}),
    "event:error": b"event:error\ndata:engine died\n\n",
    "event: error, data first": b'data: {"message": "engine died"}\nevent: error\n\n',
    "event: Error": named("Error", {"message": "engine died"}),
    "event: error without data": b"event: error\n\n",
    "event: error, CRLF": b"event: error\r\ndata: {}\r\n\r\n",
    "error object": event({"error": DIED}),
    "error object, status 503": event({"error": {"code": 503}}),
    "error text": event({"error": "engine died"}),
    "error list": event({"error": [DIED]}),
    "error number": event({"error": 500}),
    "error true": event({"error": True}),
    "error empty": event({"error": ""}),
    "error empty object": event({"error": {}}),
    "error beside choices": event({"error": DIED, "choices": [{"delta": {"content": ""}, "finish_reason": "stop"}]}),
    "errors": event({"errors": [DIED]}),
    "code and message": event(DIED),
    "code and message text": event({"code": "InternalError.Algo", "message": "x", "request_id": "1"}),
    "detail": event({"detail": "Internal Server Error"}),
    "status": event({"status": "error", "msg": "x"}),
    "status number": event({"status": 500, "title": "x"}),
    "success false": event({"success": False, "message": "x"}),
    "base_resp": event({"choices": None, "base_resp": {"status_code": 1013, "status_msg": "x"}}),
    "x_groq": event({"choices": [], "x_groq": {"id": "1", "error": "over capacity"}}),
    "list of errors": event([{"error": DIED}]),
    "bare line": b'{"error": {"message": "engine died", "code": 500}}\n\n',
    "text": b"data: Error: engine died\n\n",
    "text in brackets": b"data: [ERROR] engine died\n\n",
    "text in JSON": event("error: engine died"),
    "Internal Server Error": b"data: Internal Server Error\n\n",
    "field error": b'error: {"code":500,"message":"engine died","type":"server_error"}\n\n',
    "field error, text": b"error: engine died\n\n",
    "bare text": b"Internal Server Error\n",
    "page of a gateway": b"<html>\n<head><title>502 Bad Gateway</title></head>\n</html>\n",
    "text of Envoy": b"data: upstream connect error or disconnect/reset before headers\n\n",
    "text with a status": b"data: 503 Service Temporarily Unavailable\n\n",
    "event: fatal": named("fatal", {"reason": "x"}),
    "error with an empty message": event({"error": {"message": ""}}),
    "Error": event({"Error": {"message": "x"}}),
    "ERROR text": event({"ERROR": "died"}),
    "statusCode": event({"statusCode": 500, "message": "Internal server error"}),
    "statusCode alone": event({"statusCode": 503}),
    "status_code": event({"status_code": 500, "message": "x"}),
    "code alone": event({"code": 503}),
    "exception": event({"exception": "died"}),
    "fault": event({"fault": "x"}),
    "err": event({"err": "died"}),
    "__type": event({"__type": "InternalServerException", "message": "x"}),
    "message alone": event({"message": "Internal server error"}),
}

# Fields that stand in good events, too.
HARMLESS: dict[str, dict[str, object]] = {
    "error null": {"error": None},
    "error false": {"error": False},
    "error empty": {"error": ""},
    "error empty object": {"error": {}},
    "error of nothing": {"error": {"code": 0, "message": ""}},
    "error_code 0": {"error_code": 0},
    "error_code text 0": {"error_code": "0", "error_msg": ""},
    "code 0": {"code": 0, "message": "Success"},
    "code 200": {"code": 200, "msg": "ok"},
    "status": {"status": "success", "success": True},
    "base_resp": {"base_resp": {"status_code": 0, "status_msg": ""}},
    "object": {"object": "chat.completion.chunk", "type": "chunk"},
    "usage text": {"usage": "n/a"},
    "usage null": {"usage": {"prompt_tokens": None}},
    "usage list": {"usage": [1, 2]},
    "usage number": {"usage": 7},
    "usage floats": {"usage": {"prompt_tokens": "7", "completion_tokens": {}}},
    "x_groq": {"x_groq": {"id": "req_1"}},
}

CASES: dict[str, Case] = {}
for _name, _report in REPORTS.items():
    CASES[f"text, {_name}, DONE"] = (HALF + _report + DONE, ERROR)
    CASES[f"stop, {_name}"] = (HALF + STOP + _report, ERROR)
    CASES[f"{_name}, stop, DONE"] = (HALF + _report + STOP + DONE, ERROR)
    CASES[f"{_name} alone"] = (_report, ERROR)
for _name, _fields in HARMLESS.items():
    CASES[f"harmless {_name}"] = (
        event({"choices": [{"index": 0, "delta": {"content": "Fo"}, "finish_reason": None}], **_fields})
        + event({"choices": [{"index": 0, "delta": {"content": "ur."}, "finish_reason": None}], **_fields})
        + event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], **_fields})
        + DONE,
        Answer("Four."),
    )

for _name, _nothing in {"text": "", "object": {}, "message": {"message": ""}, "list": []}.items():
    CASES[f"chunk without a choice, empty error {_name}"] = (
        choice({"content": "Fo"})
        + event({"choices": [], "error": _nothing})
        + choice({"content": "ur."})
        + STOP
        + DONE,
        Answer("Four."),
    )
for _name, _line in {"ping": b"ping\n\n", "comment": b": error\n\n", "unknown field": b"foo: error\n\n"}.items():
    CASES[f"harmless {_name}"] = (HALF + _line + choice({"content": "wer"}) + STOP + DONE, Answer("Half an answer"))

# --- stop reasons -------------------------------------------------------------------------------------------

STOP_WORDS = {
    "stop": "stop",
    "STOP": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "</s>": "stop",
    "<|im_end|>": "stop",
    "end_turn": "stop",
    "COMPLETE": "stop",
    "FINISH": "stop",
    "stop_sequence": "stop",
    "FINISH_REASON_STOP": "stop",
    "EndTurn": "stop",
    "stop-sequence": "stop",
    "length": "length",
    "LENGTH": "length",
    "MAX_TOKENS": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "length",
    "MaxTokens": "length",
    "model_context_window_exceeded": "length",
    "content_filter": "content_filter",
    "SAFETY": "content_filter",
    "sensitive": "content_filter",
    "guardrail_intervened": "content_filter",
    "refusal": "content_filter",
    "tool_calls": "tool_calls",
    "tool_use": "tool_use",
    "pause_turn": "pause_turn",
    "OTHER": "OTHER",
    "time_limit": "time_limit",
}
NO_REASONS = ["null", "", "none", "None", "NULL", " ", "FINISH_REASON_UNSPECIFIED", "not_finished", 0, False, {}, [], 7]

for _word, _ours in STOP_WORDS.items():
    CASES[f"reason {_word}"] = (choice({"content": "Four."}) + choice({}, _word) + DONE, Answer("Four.", "", _ours))
    CASES[f"reason {_word}, with text, no end"] = (choice({"content": "Four."}, _word), Answer("Four.", "", _ours))
for _word in NO_REASONS:
    _half, _rest = choice({"content": "Half"}, _word), choice({"content": " an"}, _word)
    CASES[f"no reason {_word!r}, cut"] = (_half + _rest, ERROR)
    CASES[f"no reason {_word!r}, whole"] = (_half + _rest + STOP + DONE, Answer("Half an"))
    CASES[f"stop, then no reason {_word!r}"] = (_half + STOP + choice({}, _word), Answer("Half"))

CASES |= {
    "stop in each event, error": (
        choice({"content": "Half"}, "stop") + choice({"content": " an ans"}, "stop") + event({"error": {"code": 503}}),
        ERROR,
    ),
    "stop in each event": (
        choice({"content": "Half"}, "stop") + choice({"content": " more"}, "stop"),
        Answer("Half more"),
    ),
    "text after the reason, cut": (choice({"content": "Half"}, "length") + choice({"content": " an"}), ERROR),
    "text after the reason, whole": (
        choice({"content": "Half"}, "length") + choice({"content": " an"}) + DONE,
        Answer("Half an", "", "length"),
    ),
    "cut in an event": (HALF + b'data: {"choices":[{"del', ERROR),
    "cut in an event after the reason": (HALF + STOP + b'data: {"choices":[{"del', Answer("Half an ans")),
    "broken event": (HALF + b"data: {}}\n\n" + STOP + DONE, ERROR),
    "broken event after the reason": (HALF + STOP + b"data: {}}\n\n" + DONE, ERROR),
    "nothing": (b"", ERROR),
    "no end": (HALF, ERROR),
    "DONE without a reason": (HALF + DONE, Answer("Half an ans")),
}

# --- shapes ---------------------------------------------------------------------------------------------------

THINKING = {"type": "thinking", "thinking": [{"type": "text", "text": "Let me see"}]}
FOUR = {"type": "text", "text": "Four"}
CONTENTS: dict[str, tuple[object, str, str]] = {
    "list of a text part": ([FOUR], "", "Four"),
    "one part": (FOUR, "", "Four"),
    "part without a type": ({"text": "Four"}, "", "Four"),
    "list of texts": (["Fo", "ur"], "", "Four"),
    "list of lists": ([[FOUR]], "", "Four"),
    "thinking and text": ([THINKING, FOUR], "Let me see", "Four"),
    "thinking as text": ([{"type": "thinking", "thinking": "Let me see"}, FOUR], "Let me see", "Four"),
    "reasoning part": ([{"type": "reasoning", "text": "Let me see"}, FOUR], "Let me see", "Four"),
    "reasoning summary": (
        [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}, FOUR],
        "hm",
        "Four",
    ),
    "output_text": ([{"type": "output_text", "text": "Four", "annotations": []}], "", "Four"),
    "text with a value": ([{"type": "text", "text": {"value": "Four", "annotations": []}}], "", "Four"),
    "refusal": ([{"type": "refusal", "refusal": "No"}], "", "No"),
    "thought": ([{"text": "Let me see", "thought": True}, FOUR], "Let me see", "Four"),
    "others": (
        [
            FOUR,
            {"type": "reference", "reference_ids": [1]},
            {"type": "image_url", "image_url": {"url": "x"}},
            None,
            True,
        ],
        "",
        "Four",
    ),
    "number": (4, "", "4"),
    "tool use": ([{"type": "tool_use", "input": {"text": "x"}}, FOUR], "", "Four"),
    "redacted": ([{"type": "redacted_thinking", "data": "eHg="}, FOUR], "", "Four"),
}
for _name, (_content, _reasoning, _text) in CONTENTS.items():
    _right = Answer(_text, _reasoning)
    CASES[f"content {_name}"] = (choice({"content": _content}) + STOP + DONE, _right)
    CASES[f"content {_name}, last event"] = (choice({"content": _content}, "stop"), _right)
    CASES[f"content {_name}, after text"] = (
        choice({"content": "The sum is "}) + choice({"content": _content}, "stop"),
        Answer("The sum is " + _text, _reasoning),
    )
    CASES[f"content {_name}, JSON body"] = (line(whole(_content)), _right)
    CASES[f"content {_name} as the delta"] = (
        (choice(_content) + STOP, _right) if isinstance(_content, list) else CASES[f"content {_name}"]
    )

for _name, _shape in {
    "text": "hm",
    "object": {"text": "hm"},
    "content": {"content": "hm"},
    "list": ["h", {"text": "m"}],
    "parts": [{"type": "text", "text": "hm"}],
    "number in a list": ["hm", None],
    "nested": {"content": [{"text": "hm"}]},
}.items():
    for _key in ("reasoning", "reasoning_content", "reasoning_details"):
        CASES[f"{_key} {_name}"] = (
            choice({_key: _shape}) + choice({"content": "Four."}) + STOP + DONE,
            Answer("Four.", "hm"),
        )
        CASES[f"{_key} {_name}, JSON body"] = (line(whole("Four.", **{_key: _shape})), Answer("Four.", "hm"))

NO_OBJECTS = [
    b"data: null\n\n",
    b"data: ping\n\n",
    b"data: [ping]\n\n",
    b"data: 7\n\n",
    b"data: []\n\n",
    b"data: true\n\n",
    b'data: "ping"\n\n',
    b"data: [null, 7]\n\n",
    b"data: {}\n\n",
    b": ping\n\n",
    b"event: ping\n\n",
    b"id: 7\n\n",
    b"junk\n\n",
    event({"choices": None}),
    event({"choices": {}}),
    event({"choices": "x"}),
    event({"choices": [None]}),
    event({"choices": [7]}),
    choice(None),
    choice({"content": None}),
    choice({"content": []}),
    choice({"content": {}}),
    choice({"content": False}),
    choice({"tool_calls": [{}]}),
]
for _data in NO_OBJECTS:
    CASES[f"among good events: {_data!r}"] = (
        _data + choice({"content": "Fo"}) + _data + choice({"content": "ur."}) + _data + STOP + _data + DONE,
        Answer("Four."),
    )

CASES |= {
    "a list of events": (
        b"data: [%s, %s]\n\n" % (choice({"content": "Fo"})[6:-2], choice({"content": "ur."})[6:-2]) + STOP,
        Answer("Four."),
    ),
    "mixed content": (
        choice({"content": [THINKING]}) + choice({"content": [FOUR]}) + choice({"content": "."}) + STOP + DONE,
        Answer("Four.", "Let me see"),
    ),
    "endless number": (
        choice({"content": "Four."})
        + b'data: {"choices":[],"usage":{"prompt_tokens":'
        + b"9" * 5_000
        + b"}}\n\n"
        + STOP,
        Answer("Four."),
    ),
    "white space around an event": (
        b"data:   " + choice({"content": "Four."})[6:-2] + b" \t\n\n" + STOP,
        Answer("Four."),
    ),
    "encoded twice": (event(choice({"content": "Four."})[6:-2].decode()) + STOP, Answer("Four.")),
    "broken and encoded twice": (event('{"choices": [{"delta"') + STOP, ERROR),
    "delta is a text": (choice("Four.") + STOP, Answer("Four.")),
    "text of the choice": (
        event({"choices": [{"text": "Four."}]}) + event({"choices": [{"text": "", "finish_reason": "stop"}]}),
        Answer("Four."),
    ),
    "message instead of delta": (
        event({"choices": [{"message": {"content": "Fo"}}]})
        + event({"choices": [{"message": {"content": "ur."}, "finish_reason": "stop"}]}),
        Answer("Four."),
    ),
    "one choice that is no list": (
        event({"choices": {"delta": {"content": "Four."}, "finish_reason": "stop"}}),
        Answer("Four."),
    ),
}

# --- text twice -----------------------------------------------------------------------------------------------


def last(delta: object, **message: object) -> bytes:
    return choice(delta, "stop", message={"role": "assistant", **message})


CASES |= {
    "whole message at the end": (
        choice({"content": "Hello"}) + choice({"content": " there"}) + last({}, content="Hello there"),
        Answer("Hello there"),
    ),
    "whole message without delta": (
        choice({"content": "Hello"}) + event({"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}),
        Answer("Hello"),
    ),
    "whole message of parts": (
        choice({"content": "Hello"}) + last({}, content=[{"type": "text", "text": "Hello"}]),
        Answer("Hello"),
    ),
    "delta and message in each event": (
        choice({"content": "Hel"}, message={"content": "Hel"})
        + choice({"content": "lo"}, message={"content": "Hello"})
        + STOP,
        Answer("Hello"),
    ),
    "only the whole message": (choice({"role": "assistant"}) + last({}, content="Hello there"), Answer("Hello there")),
    "reasoning in deltas, text in the message": (
        choice({"reasoning_content": "hm"}) + last({}, content="Hello", reasoning_content="hm"),
        Answer("Hello", "hm"),
    ),
    "text in deltas, reasoning in the message": (
        choice({"content": "Hello"}) + last({}, content="Hello", reasoning_content="hm"),
        Answer("Hello", "hm"),
    ),
    "reasoning under two names": (
        choice({"reasoning": "hm", "reasoning_content": "hm"}) + choice({"content": "x"}, "stop"),
        Answer("x", "hm"),
    ),
}

# --- whole bodies ---------------------------------------------------------------------------------------------

ENDED = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
CASES |= {
    "JSON body": (json.dumps(whole("Four.")).encode(), Answer("Four.")),
    "JSON body, length": (json.dumps(whole("Four.", "MAX_TOKENS")).encode(), Answer("Four.", "", "length")),
    "JSON body, indented": (json.dumps(whole("Four."), indent=2).encode() + b"\n", Answer("Four.")),
    "JSON body after blanks": (b"\r\n\n   " + json.dumps(whole("Four.")).encode(), Answer("Four.")),
    "JSON body after a BOM": (b"\xef\xbb\xbf" + json.dumps(whole("Four.")).encode(), Answer("Four.")),
    "JSON body without a reason": (json.dumps(whole("Four.", None)).encode(), Answer("Four.")),
    "JSON body, cut": (json.dumps(whole("Four.")).encode()[:-9], ERROR),
    "JSON body, aborted": (json.dumps(whole("Four.", "abort")).encode(), ERROR),
    "JSON body, error": (json.dumps({"error": {"message": "x"}}).encode(), ERROR),
    "JSON body, error_code": (json.dumps({"text": "x", "error_code": 7}).encode(), ERROR),
    "JSON body, list of an error": (json.dumps([{"error": {"code": 400}}]).encode(), ERROR),
    "JSON body without an answer": (b"{}", ERROR),
    "JSON lines": (
        line(json.loads(choice({"content": "Fo"})[6:]))
        + line(json.loads(choice({"content": "ur."})[6:]))
        + line(ENDED),
        Answer("Four."),
    ),
    "JSON lines, the last without an end": (
        line(json.loads(choice({"content": "Four."})[6:])) + line(ENDED)[:-1],
        Answer("Four."),
    ),
    "JSON lines, cut": (line(json.loads(choice({"content": "Half"})[6:])), ERROR),
    "JSON lines, error": (line(json.loads(choice({"content": "Half"})[6:])) + line({"error": "x"}), ERROR),
    "stream behind a line of JSON": (
        line({"model": "m"}) + b"\n" + choice({"content": "Four."}) + STOP,
        Answer("Four."),
    ),
    "stream after a BOM": (b"\xef\xbb\xbf" + choice({"content": "Four."}) + STOP, Answer("Four.")),
    "stream after blanks": (b"\n\r\n" + choice({"content": "Four."}) + STOP, Answer("Four.")),
    "stream after a comment": (b": hello\n\n" + choice({"content": "Four."}) + STOP, Answer("Four.")),
    "HTML": (b"<html><body>Sign in</body></html>", ERROR),
    "text": (b"Internal Server Error", ERROR),
}

# --- thinking in the text ---------------------------------------------------------------------------------------

THOUGHTS: dict[str, tuple[str, str, str]] = {
    "think": ("<think>\nmusing\n</think>\n\nFour.", "musing", "Four."),
    "think, inline": ("<think>musing</think>Four.", "musing", "Four."),
    "think after blanks": (" \n<think>musing</think> Four.", "musing", "Four."),
    "think in upper case": ("<THINK>musing</Think>Four.", "musing", "Four."),
    "thinking": ("<thinking>musing</thinking>Four.", "musing", "Four."),
    "think with white space within": ("<think>\na < b </ c\n\nd\n</think>\nFour.\n", "a < b </ c\n\nd", "Four.\n"),
    "think, empty": ("<think>\n\n</think>\n\nFour.", "", "Four."),
    "think, a tag within": ("<think>a <think> b </thin k></think>Four.", "a <think> b </thin k>", "Four."),
    "think, later": ("So <think>musing</think> Four.", "", "So <think>musing</think> Four."),
    "a second think": ("<think>a</think>Four.<think>b</think>", "a", "Four.<think>b</think>"),
    "another tag": ("<thing>Four.</thing>", "", "<thing>Four.</thing>"),
    "half a tag": ("<thi", "", "<thi"),
    "blanks first": (" \n Four.", "", " \n Four."),
    "closing tag only": ("</think>Four.", "", "</think>Four."),
}
for _name, (_content, _reasoning, _text) in THOUGHTS.items():
    CASES[f"{_name}, one piece"] = (choice({"content": _content}) + STOP + DONE, Answer(_text, _reasoning))
    CASES[f"{_name}, by characters"] = (
        b"".join(choice({"content": character}) for character in _content) + STOP + DONE,
        Answer(_text, _reasoning),
    )
    CASES[f"{_name}, JSON body"] = (line(whole(_content)), Answer(_text, _reasoning))
CASES |= {
    "think as in the wild": (
        choice({"content": "<thi"})
        + choice({"content": "nk>\nmusing\n</th"})
        + choice({"content": "ink>\n\nFour."})
        + STOP
        + DONE,
        Answer("Four.", "musing"),
    ),
    "think in parts": (
        choice({"content": [{"type": "text", "text": "<think>musing</think>Four."}]}) + STOP,
        Answer("Four.", "musing"),
    ),
    # All of it is thinking; that the answer is empty is found by who keeps the answer.
    "think without end": (choice({"content": "<think>\nmusing </thi"}, "length"), Answer("", "musing </thi", "length")),
    "think, cut": (choice({"content": "<think>musing"}), ERROR),
}

# --- pictures ---------------------------------------------------------------------------------------------------

PNG = "data:image/png;base64," + "iVBORw0KGgo+/A" * 9 + "=="
PICTURES: dict[str, tuple[str, str]] = {
    "bare": (f"Here: {PNG} done", "Here: [image] done"),
    "alone": (PNG, "[image]"),
    "in brackets": (f"({PNG})", "([image])"),
    "in Markdown": (f"See ![a plot]({PNG}) there.", "See [image] there."),
    "in Markdown with a title": (f'See ![]( <{PNG}> "A plot") there.', "See [image] there."),
    "in HTML": (f'See <img alt="x" src="{PNG}" width="9"/> there.', "See [image] there."),
    "in quotes": (f'url("{PNG}")', 'url("[image]")'),
    "two": (f"![a]({PNG})![b]({PNG}){PNG}", "[image][image][image]"),
    "with parameters": (f"a data:image/svg+xml;charset=utf-8;base64,{'PHN2' * 9} b", "a [image] b"),
    "in upper case": (f"a {PNG.replace('data:image/png;base64', 'DATA:IMAGE/PNG;BASE64')} b", "a [image] b"),
    "percent-encoded": ("a data:image/svg+xml,%3Csvg%20xmlns='x'%3E b", "a [image]'x'%3E b"),
    "cut off": (f"See ![a]({PNG}", "See [image]"),
    "none, but a part of a word": ("a mydata:image/png;base64,eHg= b", "a mydata:image/png;base64,eHg= b"),
    "none, but a link": (
        "See ![a](https://example.org/data:image.png) d",
        "See ![a](https://example.org/data:image.png) d",
    ),
    "none, but the words": ("Good data: image/png! And <img", "Good data: image/png! And <img"),
    "none, but other data": ("a data:text/plain;base64,eHg= b", "a data:text/plain;base64,eHg= b"),
    "none, but the start": ("a ![b](data:image/png;base64", "a ![b](data:image/png;base64"),
    "none, but marks": ("![ ! <i><im <img src='x'> ![]() da", "![ ! <i><im <img src='x'> ![]() da"),
}
for _name, (_content, _text) in PICTURES.items():
    CASES[f"picture {_name}, one piece"] = (choice({"content": _content}) + STOP + DONE, Answer(_text))
    CASES[f"picture {_name}, by characters"] = (
        b"".join(choice({"content": character}) for character in _content) + STOP + DONE,
        Answer(_text),
    )
# A mark that ends a word is not held back, so it may be out before it turns out to belong to a picture.
CASES["picture behind a word"] = (choice({"content": f"Good![a]({PNG}) b"}) + STOP, Answer("Good[image] b"))
CASES["picture behind a word, cut"] = (
    choice({"content": "Good!"}) + choice({"content": f"[a]({PNG}) b"}) + STOP,
    Answer("Good![image] b"),
)
CASES["picture in parts"] = (
    choice({"content": [FOUR, {"type": "image_url", "image_url": {"url": PNG}}]})
    + choice({"images": [{"url": PNG}]})
    + STOP,
    Answer("Four"),
)

# --- the other format ---------------------------------------------------------------------------------------------


def piece(delta: object) -> bytes:
    return named("content_block_delta", {"type": "content_block_delta", "index": 0, "delta": delta})


def stopped(reason: object, **others: object) -> bytes:
    return named("message_delta", {"type": "message_delta", "delta": {"stop_reason": reason}, **others})


A_HALF = piece({"type": "text_delta", "text": "Half an ans"})
A_STOP = stopped("end_turn")
A_END = named("message_stop", {"type": "message_stop"})
A_WHOLE = {"type": "message", "role": "assistant", "content": [FOUR], "stop_reason": "end_turn"}
ANTHROPIC_REPORTS: dict[str, bytes] = {
    **{f"stop_reason {word}": stopped(word) for word in FAILURE_WORDS},
    "error event": named("error", {"type": "error", "error": {"type": "overloaded_error", "message": "x"}}),
    "error event without name": event({"type": "error", "error": {"type": "overloaded_error"}}),
    "error in message_delta": event({"type": "message_delta", "delta": {"error": {"message": "x"}}}),
    "error in message_start": event({"type": "message_start", "message": {"error": "x"}}),
    "error beside a delta": event(
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": ""}, "error": "x"}
    ),
    "error block": event({"type": "content_block_start", "content_block": {"type": "error", "message": "x"}}),
    "error_code": event({"error_code": 50001, "text": "x"}),
    "object error": event({"object": "error", **DIED}),
    "event: error, no JSON": b"event: error\ndata: engine died\n\n",
    "code and message": event(DIED),
}
ANTHROPIC_CASES: dict[str, Case] = {
    "answer": (A_HALF + A_STOP + A_END, Answer("Half an ans")),
    "cut": (A_HALF, ERROR),
    "null": (A_HALF + stopped("null"), ERROR),
    "no reason": (A_HALF + stopped(None) + A_END, Answer("Half an ans")),
    "no end": (A_HALF + A_STOP, Answer("Half an ans")),
    "length": (A_HALF + stopped("max_tokens") + A_END, Answer("Half an ans", "", "length")),
    "JSON body": (json.dumps(A_WHOLE).encode(), Answer("Four")),
    "JSON body, a text": (json.dumps({**A_WHOLE, "content": "Four"}).encode(), Answer("Four")),
    "JSON body, thinking": (
        json.dumps({**A_WHOLE, "content": [THINKING, FOUR]}).encode(),
        Answer("Four", "Let me see"),
    ),
    "JSON body, error": (json.dumps({"type": "error", "error": {"type": "api_error"}}).encode(), ERROR),
    "JSON body, failed": (json.dumps({**A_WHOLE, "stop_reason": "error"}).encode(), ERROR),
    "whole message at the end": (
        A_HALF + event({**A_WHOLE, "content": [{"type": "text", "text": "Half an ans"}]}),
        Answer("Half an ans"),
    ),
    "text as a list": (piece({"type": "text_delta", "text": [FOUR]}) + A_STOP, Answer("Four")),
    "text in message_start": (
        event({"type": "message_start", "message": {"content": [FOUR]}}) + A_STOP + A_END,
        Answer("Four"),
    ),
    "text in message_start, and deltas": (
        event({"type": "message_start", "message": {"content": [FOUR]}}) + A_HALF + A_STOP + A_END,
        Answer("Half an ans"),
    ),
    "delta as a text": (piece("Four") + A_STOP, Answer("Four")),
    "thinking as an object": (
        piece({"type": "thinking_delta", "thinking": {"text": "hm"}}) + A_HALF + A_STOP,
        Answer("Half an ans", "hm"),
    ),
    "think": (piece({"type": "text_delta", "text": "<think>hm</think>Four"}) + A_STOP + A_END, Answer("Four", "hm")),
    "picture": (piece({"type": "text_delta", "text": f"![x]({PNG})"}) + A_STOP + A_END, Answer("[image]")),
    "a search that failed": (
        event(
            {
                "type": "content_block_start",
                "content_block": {
                    "type": "web_search_tool_result",
                    "content": {"type": "web_search_tool_result_error", "error_code": "max_uses"},
                },
            }
        )
        + A_HALF
        + A_STOP
        + A_END,
        Answer("Half an ans"),
    ),
}
for _name, _report in ANTHROPIC_REPORTS.items():
    ANTHROPIC_CASES[f"text, {_name}, end"] = (A_HALF + _report + A_END, ERROR)
    ANTHROPIC_CASES[f"stop, {_name}"] = (A_HALF + A_STOP + _report + A_END, ERROR)
    ANTHROPIC_CASES[f"{_name} alone"] = (_report, ERROR)
for _usage in ("n/a", None, 7, [1], {"input_tokens": None, "output_tokens": "x"}, {"input_tokens": {}}):
    ANTHROPIC_CASES[f"usage {_usage!r}"] = (
        event({"type": "message_start", "message": {"usage": _usage, "content": []}})
        + A_HALF
        + stopped("end_turn", usage=_usage)
        + A_END,
        Answer("Half an ans"),
    )
for _data in [
    b"data: null\n\n",
    b"data: ping\n\n",
    b"data: {}\n\n",
    event({"type": "new"}),
    event({"type": None}),
    event({"type": "ping"}),
    event({"type": "content_block_delta"}),
    event({"type": "message_start"}),
    event({"type": "message_delta", "delta": 7}),
    event({"type": "content_block_start", "content_block": None}),
]:
    ANTHROPIC_CASES[f"among good events: {_data!r}"] = (
        _data + A_HALF + _data + A_STOP + _data + A_END,
        Answer("Half an ans"),
    )

ALL_CASES: dict[str, tuple[str, Case]] = {
    **{f"openai: {name}": ("openai", case) for name, case in CASES.items()},
    **{f"anthropic: {name}": ("anthropic", case) for name, case in ANTHROPIC_CASES.items()},
}
