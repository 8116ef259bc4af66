"""All settings, with their units, bounds, defaults and meanings. `settings_reading.py` reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal
from uuid import UUID

import platformdirs
from pydantic import BaseModel, BeforeValidator, Field, field_validator
from pydantic_core.core_schema import ValidationInfo

from chatserver.settings_tables import TABLE, CompanySettings, MembershipSettings, ProviderSettings
from chatserver.settings_types import (
    CompanyId,
    DatabaseUrl,
    Folder,
    HeaderName,
    HostNames,
    ListeningHost,
    Number,
    Origins,
    ProviderName,
    Proxies,
    Whole,
    decode_list,
    decode_table,
    is_loopback,
    socket_path,
)

ENVIRONMENT_PREFIX = "CHATSERVER_"


class Settings(BaseModel):
    """All settings of one process, validated. `load_settings` in `settings_reading.py` reads them.

    Constructed directly, it reads neither environment nor file.
    """

    model_config = TABLE

    auth: Literal["local_trusted", "authenticated", "proxy"] = Field(
        default="local_trusted",
        description="Who may use the server. local_trusted: it binds to loopback only and trusts everyone there. "
        "authenticated: it asks for tokens, which chatserver token create makes. proxy: a proxy in trusted_proxies "
        "says who it is, and memberships what they may.",
    )
    host: ListeningHost = Field(
        default="127.0.0.1",
        description="The address or name to listen on; or unix:PATH for a Unix socket, which its owner and group may "
        "use.",
    )
    port: Whole = Field(default=8000, ge=0, le=65_535, description="The TCP port to listen on; 0: a free one.")
    data_dir: Folder = Field(
        default_factory=lambda: platformdirs.user_data_path("chatserver", appauthor=False),
        description="The folder of the embedded database.",
        examples=["/var/lib/chatserver"],
    )
    database_url: DatabaseUrl | None = Field(
        default=None,
        repr=False,
        description="The URL of a PostgreSQL database, postgresql://…; none: an embedded database in data_dir.",
        examples=["postgresql://chat@db.example.org/chat"],
    )
    listen_database_url: DatabaseUrl | None = Field(
        default=None,
        repr=False,
        examples=["postgresql://chat@db.example.org:5432/chat"],
        description="A direct URL of the database if database_url leads to a transaction pooler. The pooler then gets "
        "no prepared statements and no session settings. none: database_url is direct.",
    )
    database_connections: Whole = Field(
        default=8,
        ge=1,
        le=200,
        description="Connections to the database. As many threads use them. Three of eight, at least one, serve "
        "only searches, exports, branches and long lists. At least one serves all else, so 1 counts as 2. A process "
        "makes up to nine more: four for new messages and answers, two for readers at other processes, one each for "
        "leases, for NOTIFY and for the question whether the database answers; and with company_max_streams one for "
        "counting.",
    )
    statement_timeout_seconds: Number = Field(
        default=30, gt=0, le=3_600, description="How long one SQL statement may take."
    )
    lease_seconds: Number = Field(
        default=10,
        gt=0,
        le=15,
        description="How long a process owns an answer without renewing its lease. After that, another process may "
        "take it over.",
    )
    default_company_id: CompanyId = Field(
        default=UUID("00000000-0000-4000-8000-000000000001"),
        description="The company that /session names if auth is local_trusted.",
    )
    ping_seconds: Number = Field(
        default=15, gt=0, le=3_600, description="How long a stream is silent before a ping is sent."
    )
    slow_reader_seconds: Number = Field(
        default=30, gt=0, le=3_600, description="How long a reader may take nothing before its connection is cut."
    )
    fast_flush: bool = Field(
        default=True,
        description="Whether requests that arrive whole are read in one step, and responses sent directly. "
        "false: only in Tornado's ordinary way, which takes more of the processor; clients get the same bytes.",
    )
    resume_grace_seconds: Number = Field(
        default=10,
        ge=0,
        le=3_600,
        description="How long an answer without readers waits for one to come back before it is dropped; 0: not at "
        "all.",
    )
    drain_seconds: Number = Field(
        default=20, ge=0, le=3_600, description="How long requests and streams may take to finish after SIGTERM."
    )
    max_body_bytes: Whole = Field(
        default=1_048_576, ge=1_024, le=1_073_741_824, description="The largest request body; a larger one gets 413."
    )
    max_message_chars: Whole = Field(
        default=100_000, ge=1, le=10_000_000, description="The longest message; a longer one gets 400."
    )
    max_answer_chars: Whole = Field(
        default=1_000_000,
        ge=1,
        le=100_000_000,
        description="The longest answer of a model, and its longest thinking; a longer one fails with answer_too_long.",
    )
    max_streams: Whole = Field(
        default=10_000, ge=1, le=1_000_000, description="The most open streams of this process; one more gets 503."
    )
    max_runs: Whole = Field(
        default=1_000,
        ge=1,
        le=1_000_000,
        description="The most answers that this process generates, queues or follows; one more gets 503.",
    )
    company_max_runs: Whole = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="The most answers of one company that are generated at once, by all processes together; one more "
        "gets 429; 0: no limit.",
    )
    company_max_streams: Whole = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="The most open streams of one company, of all processes together; one more gets 429; 0: no limit.",
    )
    requests_per_minute: Whole = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="The most requests under /api of one token, or of one address where there is no token; one more "
        "gets 429; 0: no limit. Preflight requests of allowed_origins do not count.",
    )
    max_connections_per_address: Whole = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="The most open connections of one address, for IPv6 of one network of 64 bits; one more is closed "
        "at once; 0: no limit. Those of this machine and of trusted_proxies are not counted.",
    )
    providers: Annotated[dict[ProviderName, ProviderSettings], BeforeValidator(decode_table)] = Field(
        default={}, description="The providers of answers by name; in the environment one JSON object."
    )
    default_provider: str | None = Field(
        default=None,
        examples=["main"],
        description="The provider for conversations whose agent is not registered; none: the only provider if there is "
        "exactly one, else the built-in echo.",
    )
    allowed_hosts: HostNames = Field(
        default=("localhost", "127.0.0.1", "::1"),
        description="The host names, without port, that a request may have in its Host header.",
    )
    allowed_origins: Origins = Field(default=(), description="The origins of other sites whose pages may call the API.")
    trusted_proxies: Proxies = Field(
        default=(),
        description="Addresses and networks of the proxies whose X-Forwarded-For and X-Forwarded-Proto are believed; "
        "unix: whoever connects to the Unix socket.",
    )
    allow_plain_http: bool = Field(
        default=False,
        description="Whether the server may listen to other machines without trusted_proxies, if auth is not "
        "local_trusted. There is no TLS then: tokens and all that is said cross the network unencrypted.",
    )
    user_header: HeaderName = Field(
        default="X-Forwarded-User",
        description="The header in which a trusted proxy names the user, if auth is proxy.",
    )
    groups_header: HeaderName = Field(
        default="X-Forwarded-Groups",
        description="The header in which a trusted proxy names the user's groups, separated by commas, if auth is "
        "proxy.",
    )
    session_idle_hours: Number = Field(
        default=12, gt=0, le=8_760, description="How long a browser stays signed in without a request."
    )
    session_max_days: Number = Field(
        default=30, gt=0, le=3_650, description="How long a browser stays signed in at most."
    )
    retention_days: Whole = Field(
        default=0,
        ge=0,
        le=36_500,
        description="Conversations that nobody touched for so long are erased, pinned ones spared; 0: never.",
    )
    purge_deleted_days: Whole = Field(
        default=0,
        ge=0,
        le=36_500,
        description="Conversations that were deleted so long ago are erased; 0: never.",
    )
    audit_retention_days: Whole = Field(
        default=365, ge=0, le=36_500, description="How long the audit log keeps an event; 0: for ever."
    )
    memberships: Annotated[tuple[MembershipSettings, ...], BeforeValidator(decode_list)] = Field(
        default=(),
        description="What users and groups may do, if auth is proxy; in the environment one JSON array.",
    )
    companies: Annotated[dict[CompanyId, CompanySettings], BeforeValidator(decode_table)] = Field(
        default={}, description="What is different for some companies, by id; in the environment one JSON object."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The lowest level that is logged."
    )
    log_format: Literal["auto", "json", "text"] = Field(
        default="auto",
        description="json: one JSON object per line. text: for people. auto: text on a terminal, json elsewhere.",
    )

    @field_validator("host")
    @classmethod
    def _local_trust_needs_loopback(cls, host: str, info: ValidationInfo) -> str:
        is_local = is_loopback(host) or socket_path(host) is not None
        if info.data.get("auth") == "local_trusted" and not is_local:
            raise ValueError('should be a loopback address, such as 127.0.0.1, while auth = "local_trusted"')
        return host

    @field_validator("listen_database_url")
    @classmethod
    def _listen_url_needs_database_url(cls, url: str | None, info: ValidationInfo) -> str | None:
        if url is not None and info.data.get("database_url", "") is None:
            raise ValueError("is of no use without database_url")
        return url

    @field_validator("default_provider")
    @classmethod
    def _default_provider_exists(cls, name: str | None, info: ValidationInfo) -> str | None:
        if name is not None and name not in info.data.get("providers", {name}):
            raise ValueError("names no provider")
        return name


def answering(names: Sequence[str], default: str | None) -> str | None:
    """Which of the providers `names` answers where no agent is registered: `default` if it is one of them.

    Else the only one; None: the built-in echo.
    """
    if default in names:
        return default
    return names[0] if len(names) == 1 else None
