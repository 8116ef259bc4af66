"""The words with which the world's models say why an answer ends, and what they mean here."""

from __future__ import annotations

import re
from typing import Any

from chatserver.providers.failures import AttemptError

_PREFIX = re.compile(r"^(?:finish|stop|completion)_?reason_?(?=.)")
# As servers write them, in lower case, with everything but letters and digits left out.
_OURS = {
    "stop": (
        "stop stopped stop_sequence stop_sequences stop_token stop_string stop_str stop_word stop_words word "
        "stop_criteria_met eos eos_token eos_token_id stop_eos stopped_eos eot eot_id end_of_text end_of_sequence "
        "end_of_turn end_turn im_end s end endoftext complete completed done finish finished normal natural success"
    ),
    "length": (
        "length max_length max_len maximum_length length_capped max_tokens maximum_tokens max_new_tokens "
        "max_output_tokens max_completion_tokens max_total_tokens max_generated_tokens model_length limit token_limit "
        "max_context_length context_length context_limit context_window model_context_window_exceeded "
        "context_window_exceeded context_length_exceeded truncated truncation out_of_tokens"
    ),
    "content_filter": (
        "content_filter content_filtered content_policy content_policy_violation filtered safety image_safety "
        "sensitive refusal refused blocked blocklist block_list prohibited_content recitation spii language "
        "guardrail guardrails guardrail_intervened moderation moderated censored policy_violation toxic"
    ),
}
_TABLE = {word.replace("_", ""): ours for ours, words in _OURS.items() for word in words.split()}
# What is no reason, because the answer goes on, or because a field has to hold something.
_NO_REASON = frozenset(
    ("", "null", "none", "nil", "undefined", "unspecified", "nan", "false", "continue", "continuing", "inprogress")
) | frozenset(("running", "pending", "generating", "streaming", "processing", "notfinished", "unfinished"))
# Parts of words that name a failure of the model or its server.
_FAILURES = re.compile(
    r"error|fail|abort|cancel|timeout|timedout|deadline|exception|crash|insufficient|unavailable|overload"
    r"|interrupt|disconnect|connection|network|malformed|exhaust|kill|engined|internal|invalid|preempt|evict|shutdown"
    r"|quota|ratelimit|outofmemory|panic|terminated|unhealthy|nocapacity|lost|^(?:oom|died|dead|broken|fault|busy)$"
    r"|^[45]\d\d$"
)


def stop_reason_of(word: Any) -> str | None:
    """What a stop reason means: `stop`, `length`, `content_filter`, or the word itself if it is unknown.

    None if it is no reason: empty, not a text, or a word such as `null`. Some servers send an object, whose `type` is
    the word. Raises AttemptError for a word that names a failure.
    """
    if isinstance(word, dict):
        word = word.get("type") or word.get("reason")
    text = word.strip() if isinstance(word, str) else ""
    key = "".join(filter(str.isalnum, _PREFIX.sub("", text.lower())))
    if ours := _TABLE.get(key):
        return ours
    if key in _NO_REASON:
        return None
    if _FAILURES.search(key):
        raise AttemptError("interrupted", "the model gave a failure as its stop reason", again=True)
    return text
