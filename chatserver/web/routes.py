"""The one route table, as plain data. The router and the OpenAPI document are made from it."""

from __future__ import annotations

from chatserver import schemas
from chatserver.message_schemas import ChatMessage
from chatserver.services.bookmarks import BookmarkPage
from chatserver.services.conversations import ConversationPage, ConversationService
from chatserver.web.agent_routes import AGENT_ROUTES
from chatserver.web.handlers import (
    answer_stream,
    bookmarks,
    conversations,
    export,
    health,
    messages,
    openapi,
    page,
    session,
)
from chatserver.web.http.base_handler import Handler
from chatserver.web.openapi import events, headers, queries
from chatserver.web.openapi.operations import Operation, Route
from chatserver.web.page.bundles import STATIC_PREFIX
from chatserver.web.text_routes import TEXT_ROUTES

OWN_MESSAGES = "Members may do it with user messages of their own, managers with all."

ROUTES: tuple[Route, ...] = (
    Route(
        "/api/companies/{companyId}/conversations",
        conversations.ConversationsHandler,
        {
            "GET": Operation(
                "listConversations",
                "List conversations, pinned first, then newest",
                response=ConversationPage,
                query=queries.ListConversations,
            ),
            "POST": Operation(
                "createConversation",
                "Create a conversation",
                schemas.CreateConversation,
                schemas.Conversation,
                status=201,
            ),
        },
    ),
    Route(
        "/api/conversations/{id}",
        conversations.ConversationHandler,
        {
            "GET": Operation("getConversation", "Get a conversation", response=schemas.Conversation),
            "PATCH": Operation(
                "updateConversation", "Change a conversation", schemas.UpdateConversation, schemas.Conversation
            ),
            "DELETE": Operation(
                "deleteConversation",
                "Delete a conversation; it can be restored, unless it is erased",
                status=204,
                query=queries.DeleteConversation,
                description="Its answer is stopped, and from then on every path below it is 404. Erasing is "
                "for managers.",
            ),
        },
    ),
    Route(
        "/api/conversations/{id}/restore",
        conversations.ActionHandler,
        {
            "POST": Operation(
                "restoreConversation", "Undo the deletion of a conversation", response=schemas.Conversation
            )
        },
        {"action": ConversationService.restore_conversation},
    ),
    Route(
        "/api/conversations/{id}/archive",
        conversations.ActionHandler,
        {"POST": Operation("archiveConversation", "Archive a conversation", response=schemas.Conversation)},
        {"action": ConversationService.archive_conversation},
    ),
    Route(
        "/api/conversations/{id}/unarchive",
        conversations.ActionHandler,
        {
            "POST": Operation(
                "unarchiveConversation", "Take a conversation out of the archive", response=schemas.Conversation
            )
        },
        {"action": ConversationService.unarchive_conversation},
    ),
    Route(
        "/api/conversations/{id}/pin",
        conversations.ActionHandler,
        {"POST": Operation("pinConversation", "Pin a conversation", response=schemas.Conversation)},
        {"action": ConversationService.pin_conversation},
    ),
    Route(
        "/api/conversations/{id}/unpin",
        conversations.ActionHandler,
        {"POST": Operation("unpinConversation", "Unpin a conversation", response=schemas.Conversation)},
        {"action": ConversationService.unpin_conversation},
    ),
    Route(
        "/api/conversations/{id}/branch",
        conversations.BranchHandler,
        {
            "POST": Operation(
                "branchConversation",
                "Copy a conversation up to a message",
                schemas.BranchConversation,
                schemas.Conversation,
                status=201,
                description="The copies keep times, edits and, among themselves, replies; superseded ones stay behind.",
                refusals={422: "There is too much to copy."},
            )
        },
    ),
    Route(
        "/api/conversations/{id}/messages",
        messages.MessagesHandler,
        {
            "GET": Operation(
                "listMessages", "List messages", response=messages.MessageList, query=queries.ListMessages
            ),
            "POST": Operation(
                "addMessage",
                "Add a message",
                schemas.CreateMessage,
                ChatMessage,
                status=201,
                description="It asks for no answer; `GET …/stream` does. Other roles than `user` are for managers.",
                also={200: "The message that was added before under this Idempotency-Key."},
                headers=(headers.IDEMPOTENCY_KEY,),
                refusals={422: headers.KEY_USED_OTHERWISE},
            ),
        },
    ),
    Route(
        "/api/conversations/{id}/messages/{messageId}",
        messages.MessageHandler,
        {
            "PUT": Operation(
                "editMessage",
                "Edit a message; the original is kept",
                schemas.EditMessage,
                ChatMessage,
                description=OWN_MESSAGES,
            ),
            "DELETE": Operation(
                "eraseMessage",
                "Erase a message and the answers to it, for good",
                status=204,
                description="Superseded ones, too. Their texts are nowhere any more; a title that was taken from the "
                "message is taken anew, from the first user message that is left. All else stays as it is. "
                + OWN_MESSAGES,
                refusals={409: "Its answer is being generated."},
            ),
        },
    ),
    Route(
        "/api/conversations/{id}/messages/{messageId}/rewind",
        messages.RewindHandler,
        {
            "POST": Operation(
                "rewindMessages",
                "Supersede all that follows a message",
                response=schemas.Superseded,
                description="What is superseded is kept, out of the list unless it is asked for, and unseen by models.",
                refusals={409: "An answer is being generated in this conversation."},
            )
        },
    ),
    Route(
        "/api/conversations/{id}/messages/{messageId}/restore",
        messages.RestoreHandler,
        {
            "POST": Operation(
                "restoreMessages",
                "Make a superseded message live again, with its continuation",
                response=schemas.Restored,
                description="What stands in its place now, and all that follows, is superseded, and can be restored in "
                "turn. The answer to an edited question brings back the wording that it answered.",
                refusals={409: "An answer is being generated in this conversation."},
            )
        },
    ),
    Route(
        "/api/conversations/{id}/messages/{messageId}/bookmark",
        bookmarks.BookmarkHandler,
        {
            "PUT": Operation(
                "addBookmark",
                "Bookmark a message",
                status=204,
                description="For everyone in the company; once there, its time stays. Superseded messages are 404.",
            ),
            "DELETE": Operation("removeBookmark", "Take a bookmark away, if there is one", status=204),
        },
    ),
    Route(
        "/api/companies/{companyId}/bookmarks",
        bookmarks.BookmarksHandler,
        {
            "GET": Operation(
                "listBookmarks",
                "List bookmarked messages, the newest bookmark first",
                response=BookmarkPage,
                query=queries.ListBookmarks,
                description="Those of superseded messages and of deleted conversations are left out.",
            )
        },
    ),
    *TEXT_ROUTES,
    Route(
        "/api/conversations/{id}/export",
        export.ExportHandler,
        {
            "GET": Operation(
                "exportConversation",
                "Download a conversation",
                query=queries.ExportConversation,
                description="Markdown is for people: what was said, by whom and when. JSON is complete. A response "
                "that is cut off lacks its last chunk.",
                content={"text/markdown": None, "application/json": schemas.ConversationExport},
                response_headers=(headers.CONTENT_DISPOSITION,),
            )
        },
    ),
    Route(
        "/api/conversations/{id}/stream",
        answer_stream.StreamHandler,
        {
            "GET": Operation(
                "streamAnswer",
                "Stream the answer to a message as Server-Sent Events",
                query=answer_stream.StreamQuery,
                description=events.FOLLOWING,
                content=events.STREAM,
                also={204: "The Last-Event-ID is that of a terminal event: there is nothing more to come."},
                headers=(headers.LAST_EVENT_ID,),
                refusals={403: events.ONLY_READS, 409: events.BUSY},
            ),
            "POST": Operation(
                "sendAndStream",
                "Add a user message and stream its answer",
                schemas.StreamMessage,
                query=answer_stream.PostStreamQuery,
                description=events.SENDING,
                content=events.STREAM,
                headers=(headers.IDEMPOTENCY_KEY,),
                response_headers=(headers.TRIGGER_MESSAGE_ID,),
                refusals={409: events.BUSY, 422: headers.KEY_USED_OTHERWISE},
            ),
        },
    ),
    Route(
        "/api/conversations/{id}/stop",
        answer_stream.StopHandler,
        {
            "POST": Operation(
                "stopAnswer",
                "Stop the answer that is being generated",
                schemas.StopAnswer,
                schemas.Stopped,
                description="For all its readers it ends `stopped`. By then the model's connection is closed.",
            )
        },
    ),
    *AGENT_ROUTES,
    Route(
        "/api/session",
        session.SessionHandler,
        {
            "GET": Operation(
                "getSession",
                "Who is asking",
                response=schemas.Session,
                description="Also for those who are not signed in: `actor` is null then.",
            ),
            "POST": Operation(
                "signIn",
                "Sign in",
                schemas.SignIn,
                status=204,
                description="Sets the cookie that an EventSource needs, with a new value each time; the browser's "
                "session until now ends. Only for the server's own page. Where everyone is trusted it does nothing.",
                refusals={401: "There is no such token, or it has expired or was revoked.", 403: "A proxy signs in."},
            ),
            "DELETE": Operation(
                "signOut",
                "Sign out",
                status=204,
                query=session.SignOut,
                description="Also for those who are not signed in. The cookie goes, and what the page has stored.",
            ),
        },
    ),
    Route(
        "/api/openapi.json",
        openapi.OpenApiHandler,
        {"GET": Operation("getOpenApi", "This document", response=openapi.OpenApiDocument)},
    ),
)
"""The routes of the API."""

BESIDE_THE_API: tuple[tuple[str, type[Handler]], ...] = (
    (r"/healthz", health.HealthHandler),
    (r"/readyz", health.ReadyHandler),
    (r"/metrics", health.MetricsHandler),
    (rf"{STATIC_PREFIX}(.+)", page.StaticHandler),
    (r"/help", page.HelpHandler),
    (r"/(?:c/.*)?", page.PageHandler),
)
"""The other routes, by regular expressions of their paths."""
