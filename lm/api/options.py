"""What servers and models of the OpenAI API want otherwise: parameters left out or added, headers, Azure's query."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import Field, field_validator

from ...core.settings import OPERATIONAL, Settings

Droppable = Literal["temperature", "top_p", "seed", "stop", "logprobs"]
DROPPABLE: tuple[Droppable, ...] = get_args(Droppable)
TokensKey = Literal["max_tokens", "max_completion_tokens"]
FIXED = frozenset(
    {"model", "models", "messages", "n", "best_of", "max_tokens", "max_completion_tokens", "stream", "use_beam_search"}
)
"""Fields of a request that the engine decides on: what a call costs is computed from them."""


class ApiOptions(Settings):
    """Differences from the OpenAI API; docs/reference/providers.md has those of known servers."""

    drop: tuple[Droppable, ...] = ()
    """Parameters that are left out of every request. Models that reason refuse `temperature` and `top_p`; they are then
    sampled as their server does, whatever a study asks for."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Fields that are sent with every request, as they stand here."""
    extra_headers: dict[str, str] = Field(default_factory=dict, json_schema_extra=OPERATIONAL)
    """Headers that are sent with every request. They are written into the run: no key belongs here."""
    api_version: str | None = Field(default=None, json_schema_extra=OPERATIONAL)
    """Azure's `api-version`, in the query of every request. The key is then sent as `api-key`."""

    @field_validator("extra_body")
    @classmethod
    def _leaves_the_cost_alone(cls, extra: dict[str, Any]) -> dict[str, Any]:
        if fixed := sorted(FIXED & extra.keys()):
            raise ValueError(f"{', '.join(fixed)} is decided on by the engine: what a call costs depends on it")
        return extra
