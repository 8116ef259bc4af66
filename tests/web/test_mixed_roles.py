"""A reader in one company who is a manager in another: each rule goes by the company of what is asked for."""

from __future__ import annotations

import re
from uuid import uuid4

import pytest

from tests.kit.served_app import serving
from tests.web.test_access_matrix import BODIES, MANAGER, NEEDS, OPERATIONS, READER, ROLES

READS, MANAGES = str(uuid4()), str(uuid4())
MEMBERSHIPS = (
    {"user": "ann", "company": READS, "role": "reader"},
    {"group": "team", "company": MANAGES, "role": "manager"},
    {"user": "root", "admin": True},
)
ANN = {"X-Forwarded-User": "ann", "X-Forwarded-Groups": "other, team"}
ROOT = {"X-Forwarded-User": "root"}


@pytest.mark.parametrize("operation", [name for name in NEEDS if NEEDS[name] != READER])
async def test_role_counts_in_the_company_of_what_is_asked_for(module_database_url: str, operation: str) -> None:
    method, template = OPERATIONS[operation]
    async with serving(
        module_database_url, auth="proxy", trusted_proxies=("127.0.0.1",), memberships=MEMBERSHIPS
    ) as client:
        for company in (READS, MANAGES):
            made = await client.request("POST", f"/api/companies/{company}/conversations", {}, ROOT)
            conversation = made.json["id"]
            said = {"role": "user", "content": "x"}
            message = await client.request("POST", f"/api/conversations/{conversation}/messages", said, ROOT)
            agent = {"name": "a", "adapterType": "echo"}
            registered = await client.request("POST", f"/api/companies/{company}/agents", agent, ROOT)
            ids = {"companyId": company, "messageId": message.json["id"], "id": conversation}
            if template.startswith("/api/agents/"):
                ids["id"] = registered.json["id"]
            if operation == "restoreMessages":
                more = await client.request("POST", f"/api/conversations/{conversation}/messages", said, ROOT)
                path = f"/api/conversations/{conversation}/messages/{message.json['id']}/rewind"
                await client.request("POST", path, None, ROOT)
                ids["messageId"] = more.json["id"]
            body = {"messageId": ids["messageId"]} if operation == "branchConversation" else BODIES.get(operation)
            path = re.sub(r"{(\w+)}", lambda name, ids=ids: ids[name[1]], template)
            response = await client.request(method, path, body, ANN)
            if company == READS:
                assert response.error == (403, f"It takes the role {ROLES[NEEDS[operation]]}")
            else:
                assert response.status in (200, 201, 204), response


async def test_what_needs_more_than_its_operation_goes_by_the_company_too(module_database_url: str) -> None:
    memberships = (
        {"user": "bob", "company": READS, "role": "member"},
        {"user": "bob", "company": MANAGES, "role": "manager"},
        *MEMBERSHIPS,
    )
    bob = {"X-Forwarded-User": "bob"}
    async with serving(
        module_database_url, auth="proxy", trusted_proxies=("127.0.0.1",), memberships=memberships
    ) as client:
        for company, is_manager in ((READS, False), (MANAGES, True)):
            made = await client.request("POST", f"/api/companies/{company}/conversations", {}, bob)
            place = f"/api/conversations/{made.json['id']}"
            others = await client.request("POST", f"{place}/messages", {"role": "user", "content": "x"}, ROOT)
            lacks = (403, f"It takes the role {ROLES[MANAGER]}")
            assistant = await client.request("POST", f"{place}/messages", {"role": "assistant", "content": "x"}, bob)
            assert assistant.status == 201 if is_manager else assistant.error == lacks
            edited = await client.request("PUT", f"{place}/messages/{others.json['id']}", {"content": "y"}, bob)
            assert edited.status == (200 if is_manager else 403)
            erased = await client.request("DELETE", f"{place}?erase=true", None, bob)
            assert erased.status == 204 if is_manager else erased.error == lacks


async def test_reader_of_a_company_is_told_so_only_of_what_exists_for_them(module_database_url: str) -> None:
    async with serving(
        module_database_url, auth="proxy", trusted_proxies=("127.0.0.1",), memberships=MEMBERSHIPS
    ) as client:
        stranger = await client.request("POST", f"/api/companies/{uuid4()}/conversations", {}, ROOT)
        for unknown in (stranger.json["id"], str(uuid4())):
            refused = await client.request("POST", f"/api/conversations/{unknown}/pin", None, ANN)
            assert refused.error == (404, "Conversation not found")
        refused = await client.request("POST", f"/api/companies/{uuid4()}/conversations", {}, ANN)
        assert refused.error == (403, "Not your company")
