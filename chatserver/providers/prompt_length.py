"""Recognising that a model refuses a prompt because it is too long: each server says so in its own words."""

from __future__ import annotations

import re

# The words that servers give as the code, type or status of an error: OpenAI, llama.cpp, Azure, GitHub.
TOO_LONG_WORDS = frozenset(
    {
        "context_length_exceeded",
        "context_window_exceeded",
        "exceed_context_size_error",
        "input_too_long",
        "max_context_length_exceeded",
        "model_context_window_exceeded",
        "model_max_prompt_tokens_exceeded",
        "prompt_too_long",
        "request_too_large",
        "string_above_max_length",
        "tokens_limit_reached",
    }
)

_PROMPT = r"(?:prompt|input|inputs|message|messages|request|conversation|context|history|query|text)"
_TOO_LONG = re.compile(
    # OpenAI, vLLM, llama.cpp, Ollama, SGLang, LM Studio, MiniMax
    r"context[ _-]?(?:length|size|window|limit)"
    # vLLM, xAI, Mistral
    r"|max(?:imum)?[ _-](?:allowed[ _-])?(?:prompt|input|model|sequence|context)[ _-](?:length|len|tokens?|size)"
    # Anthropic, Bedrock, Gemini, OpenAI, GitHub, Groq, Moonshot
    rf"|\b{_PROMPT}\b[^.\n]{{0,80}}\b(?:(?:too|very) (?:long|large|big)|longer than|larger than)"
    rf"|\b{_PROMPT}\b[^\n]{{0,80}}\bexceed\w{{0,3}}[^\n]{{0,80}}\b(?:tokens?|length|limit|size|maximum|context)"
    rf"|\bexceed\w{{0,3}}[^\n]{{0,80}}\b{_PROMPT} (?:tokens?|length|limit|size)"
    # Cohere, Cerebras, OpenAI
    r"|too many (?:(?:input|prompt|total) )?tokens|reduce (?:the|your) (?:length|size|prompt|input|message)"
    # Text Generation Inference, Together, DashScope
    r"|inputs?[`']? tokens \+|inputs?[`']? must have less than|range of input length"
    # Zhipu and others, in Chinese
    r"|超长|过长|上下文长度|最大长度|超过.{0,20}长度|长度超"
)


def tells_of_too_long_prompt(text: str) -> bool:
    """Whether the sentences of an error, in lower case and one per line, say that the prompt is too long."""
    return _TOO_LONG.search(text) is not None
