"""Values that schemathesis cannot derive from the document: cursors, messages of a conversation, superseded ones."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

import schemathesis
from schemathesis import Case, HookContext


def ask(case: Case, method: str, path: str, body: object = None) -> Any:
    """The server's resource; None if it refuses."""
    request = urllib.request.Request(
        f"{case.operation.base_url}{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)
    except urllib.error.HTTPError:
        return None


def set_cursor(case: Case) -> None:
    """Ask for the second page of a list, if it has one."""
    query = {**case.query, "limit": 1}
    del query["cursor"]
    page = ask(case, "GET", f"{case.formatted_path}?{urllib.parse.urlencode(query)}")
    cursor = page and page["nextCursor"]
    if cursor:
        case.query["cursor"] = cursor
    else:
        del case.query["cursor"]


def set_message(case: Case) -> None:
    """Branch from a message that is there."""
    path = f"{case.formatted_path.removesuffix('/branch')}/messages"
    message = ask(case, "POST", path, {"role": "user", "content": "x"})
    if message:
        case.body = {**case.body, "messageId": message["id"]}


def set_superseded(case: Case) -> None:
    """Restore a message that was superseded."""
    messages = case.formatted_path.removesuffix("/restore").rpartition("/")[0]
    first, second = (ask(case, "POST", messages, {"role": "user", "content": content}) for content in "xy")
    if first and second and ask(case, "POST", f"{messages}/{first['id']}/rewind"):
        case.path_parameters = {**case.path_parameters, "messageId": second["id"]}


@schemathesis.hook  # type: ignore[untyped-decorator]
def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if "cursor" in case.query:
        set_cursor(case)
    if case.operation.definition.raw["operationId"] == "branchConversation":
        set_message(case)
    if case.operation.definition.raw["operationId"] == "restoreMessages":
        set_superseded(case)
