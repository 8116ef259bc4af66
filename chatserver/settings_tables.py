"""The tables of the settings' file: providers, memberships, and what is different for one company."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core.core_schema import ValidationInfo

from chatserver.role_names import RoleName
from chatserver.settings_types import CompanyId, CompanyIds, ModelUrl, Number, VariableName, Whole

TABLE = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

Named = Annotated[str, Field(min_length=1, max_length=200)]


class ProviderSettings(BaseModel):
    """A provider of answers: a table `[providers.NAME]` of the file."""

    model_config = TABLE

    kind: Literal["openai", "anthropic", "echo"] = Field(
        description="The wire format: OpenAI's chat completions, Anthropic's messages, or the built-in echo.",
        examples=["openai"],
    )
    base_url: ModelUrl | None = Field(
        default=None,
        description="The base URL of the model's API, version included. Required unless the kind is echo.",
        examples=["http://127.0.0.1:11434/v1"],
    )
    api_key_env: VariableName | None = Field(
        default=None,
        description="The environment variable that holds the API key; none: no key is sent.",
        examples=["OPENAI_API_KEY"],
    )
    model: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        default=None,
        description="The model for agents that name none. Required unless the kind is echo.",
        examples=["llama3.2"],
    )
    pace_ms: Number = Field(default=5, ge=0, le=10_000, description="For the kind echo: the time between two pieces.")
    connect_seconds: Number = Field(default=10, gt=0, le=600, description="How long connecting may take.")
    first_token_seconds: Number = Field(
        default=120, gt=0, le=3_600, description="How long the model may take to begin its answer."
    )
    between_tokens_seconds: Number = Field(
        default=60, gt=0, le=3_600, description="How long the model may be silent within an answer."
    )
    retries: Whole = Field(
        default=2, ge=0, le=10, description="How often a request is sent again if it fails before the first token."
    )
    alternate_roles: bool | None = Field(
        default=None,
        description="Whether neighbouring messages of one role are joined into one; none: if the kind needs it.",
        examples=[True],
    )
    max_tokens: Whole | None = Field(
        default=None,
        ge=1,
        le=10_000_000,
        description="The longest answer to ask for, if the agent names no length; none: as the kind requires.",
        examples=[1024],
    )
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = Field(
        default="max_tokens", description="The name by which an OpenAI-compatible server knows max_tokens."
    )
    ask_for_usage: bool = Field(
        default=True,
        description="Whether an OpenAI-compatible server is asked for token counts (stream_options in the request).",
    )
    max_prompt_chars: Whole = Field(
        default=400_000,
        ge=1,
        le=100_000_000,
        description="How much of a conversation the model is sent: the newest messages that fit, and the question "
        "always.",
    )

    companies: CompanyIds = Field(
        default=(),
        description="The companies that may use it; none: all.",
        examples=[["00000000-0000-4000-8000-000000000001"]],
    )

    @field_validator("base_url", "model")
    @classmethod
    def _model_kinds_need_it(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None and info.data.get("kind") in ("openai", "anthropic"):
            raise ValueError(f'is needed for kind = "{info.data["kind"]}"')
        return value


class MembershipSettings(BaseModel):
    """What a user or a group may do where `auth` is `proxy`: a table `[[memberships]]` of the file."""

    model_config = TABLE

    user: Named | None = Field(
        default=None, description="The user whom the proxy names. Either a user or a group is needed.", examples=["ann"]
    )
    group: Named | None = Field(
        default=None, description="The group that the proxy names among those of a user.", examples=["support"]
    )
    company: CompanyId | None = Field(
        default=None,
        description="The company whose member it is. Needed unless admin is true.",
        examples=["00000000-0000-4000-8000-000000000001"],
    )
    admin: bool = Field(default=False, description="Whether it is an administrator: a manager of all companies.")
    role: RoleName = Field(
        default="member",
        description="reader: reads, and follows answers that others began. member: also writes, asks, stops. manager: "
        "also makes agents, and changes and erases what others wrote.",
    )

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.user is None) == (self.group is None):
            raise ValueError("should name either a user or a group")
        if (self.company is None) != self.admin:
            raise ValueError("should name a company, or have admin = true, but not both")
        return self


class CompanySettings(BaseModel):
    """What is different for one company: a table `[companies.UUID]` of the file."""

    model_config = TABLE

    name: Named | None = Field(
        default=None,
        description="What people call the company; none: the page shows its id.",
        examples=["Example Inc."],
    )
    retention_days: Whole | None = Field(
        default=None, ge=0, le=36_500, description="As the setting of that name, for this company.", examples=[365]
    )
    purge_deleted_days: Whole | None = Field(
        default=None, ge=0, le=36_500, description="As the setting of that name, for this company.", examples=[30]
    )
