"""Examples for the OpenAPI document, by the name of their schema. Together they are one conversation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_COMPANY = "00000000-0000-4000-8000-000000000001"
_CONVERSATION = "0190f5fe-7b10-7c55-8d0a-6a1f3e5c7b90"
_QUESTION = "0190f5fe-7c2e-7a6c-8f7e-3d1c5b2a4e90"
_ANSWER = "0190f5fe-8a11-7d3b-9c1e-2f4a6b8c0d1e"
_FORMER = "0190f5fe-83a0-7e11-b2c4-5d6e7f8091a2"
_AGENT = "0190f5fe-6f01-7b22-8a44-9c0d1e2f3a4b"
_ASKED = "2024-07-28T09:15:02.446Z"
_ANSWERED = "2024-07-28T09:15:06.001Z"
_TITLE = "How high is the Eiffel Tower?"
_CURSOR = "WyI5ZjJjNGE3YjFlMGQiLDIsIjAxOTBmNWZlIl0"

_usage = {"inputTokens": 31, "outputTokens": 12}
_question = {
    "id": _QUESTION,
    "conversationId": _CONVERSATION,
    "role": "user",
    "content": _TITLE,
    "agentId": None,
    "createdAt": _ASKED,
    "editedContent": None,
    "editedAt": None,
    "replyTo": None,
    "status": "completed",
    "supersededAt": None,
    "usage": None,
    "model": None,
    "stopReason": None,
    "durationMs": None,
    "reasoning": None,
    "reasoningMs": None,
    "author": None,
    "failure": None,
}
_conversation = {
    "id": _CONVERSATION,
    "companyId": _COMPANY,
    "title": _TITLE,
    "agentId": _AGENT,
    "pinnedAt": None,
    "archivedAt": None,
    "deletedAt": None,
    "createdAt": "2024-07-28T09:15:02.160Z",
    "updatedAt": _ASKED,
    "parentConversationId": None,
    "branchFromMessageId": None,
    "activeRun": {"triggerMessageId": _QUESTION, "startedAt": "2024-07-28T09:15:02.731Z"},
}
_agent = {
    "id": _AGENT,
    "companyId": _COMPANY,
    "name": "Guide",
    "adapterType": "llm",
    "adapterConfig": {"provider": "main", "systemPrompt": "Be brief."},
    "status": "active",
    "createdAt": "2024-07-28T09:14:59.009Z",
    "updatedAt": "2024-07-28T09:14:59.009Z",
}
_provider = {"name": "main", "kind": "openai", "model": "llama3.2"}
_answer = {
    **_question,
    "id": _ANSWER,
    "role": "assistant",
    "content": "330 metres.",
    "agentId": _AGENT,
    "createdAt": _ANSWERED,
    "replyTo": _QUESTION,
    "usage": _usage,
    "model": "llama3.2",
    "stopReason": "stop",
    "durationMs": 3210,
    "reasoning": "The tower was raised in 2022.",
    "reasoningMs": 1870,
}
_error = {"code": "unavailable", "error": "The model is not reachable", "retryable": True}
_messages = {"items": [{**_question, "failure": _error}], "hasMore": False, "nextCursor": None}
_rendered = {**_answer, "formerAnswers": None, "html": "<p>330 metres.</p>"}
_former_answer = {"id": _FORMER, "createdAt": "2024-07-28T09:15:04.352Z"}
_versioned = {**_question, "formerAnswers": [_former_answer], "html": None}
_answered = {**_conversation, "updatedAt": _ANSWERED, "activeRun": None}
_bookmark = {"message": _answer, "conversation": _answered, "createdAt": "2024-07-28T09:20:40.500Z"}
_hit = {
    "message": _question,
    "conversation": _answered,
    "snippet": [
        {"text": "How high is the ", "hit": False},
        {"text": "Eiffel", "hit": True},
        {"text": " Tower?", "hit": False},
    ],
}
_height = {"html": "<h3>Height</h3>\n", "chars": 11, "headings": [1, 2]}
_token = {"type": "token", "content": "330"}

EXAMPLES: Mapping[str, Any] = {
    "CreateConversation": {"title": "Sights of Paris", "agentId": _AGENT},
    "UpdateConversation": {"title": None},
    "Conversation": _conversation,
    "ConversationPage": {"items": [_conversation], "hasMore": True, "nextCursor": _CURSOR},
    "BranchConversation": {"messageId": _QUESTION},
    "CreateMessage": {"role": "user", "content": _TITLE},
    "EditMessage": {"content": "How high is the Eiffel Tower, antennas included?"},
    "ChatMessage": _answer,
    "ChatMessagePage": _messages,
    "FormerAnswer": _former_answer,
    "RenderedMessage": _rendered,
    "RenderedMessagePage": {**_messages, "items": [_versioned, _rendered]},
    "MessageList": _messages,
    "RenderText": {"text": "## Height\n\n330 *metres*, with", "headings": [1]},
    "RenderedBlock": _height,
    "RenderedBlocks": {
        "blocks": [_height, {"html": "<p>330 <em>metres</em>, with</p>", "chars": 18, "headings": [1, 2]}]
    },
    "Superseded": {"superseded": 1},
    "Restored": {"restored": 2, "superseded": 1},
    "Bookmark": _bookmark,
    "BookmarkPage": {"items": [_bookmark], "hasMore": False, "nextCursor": None},
    "SearchHit": _hit,
    "SearchHitPage": {"items": [_hit], "hasMore": False, "nextCursor": None},
    "ConversationExport": {
        "format": "chatserver.conversation",
        "version": 1,
        "exportedAt": "2024-07-28T09:21:00.000Z",
        "conversation": _answered,
        "messages": [{**_question, "agentName": None}, {**_answer, "agentName": "Guide"}],
    },
    "StreamMessage": {"content": _TITLE},
    "StopAnswer": {"keep": True},
    "Stopped": {"stopped": True},
    "StreamFrame": {
        "id": f"{_QUESTION.replace('-', '')}.1.1.3",
        "data": json.dumps(_token, separators=(",", ":")),
    },
    "TokenEvent": _token,
    "ReasoningEvent": {"type": "reasoning", "content": "The tower was raised in 2022."},
    "ResetEvent": {"type": "reset"},
    "DoneEvent": {"type": "done", "messageId": _ANSWER, "usage": _usage, "stopReason": "stop"},
    "StoppedEvent": {"type": "stopped", "messageId": None},
    "ErrorEvent": {"type": "error", **_error},
    "CreateAgent": {"name": "Echo", "adapterType": "echo"},
    "UpdateAgent": {"name": "Guide"},
    "Agent": _agent,
    "AgentPage": {"items": [_agent], "hasMore": False, "nextCursor": None},
    "ProviderSummary": _provider,
    "Providers": {"items": [_provider], "default": "main"},
    "SignIn": {"token": "a-token-of-43-letters-digits-and-hyphens-or"},
    "Session": {"mode": "local_trusted", "actor": {"name": "board"}, "companies": [{"id": _COMPANY}]},
    "OpenApiDocument": {"openapi": "3.1.0", "info": {"title": "chatserver", "version": "0.1.0"}, "paths": {}},
}
