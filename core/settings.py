"""The base of every part of a study's config: strict, frozen, documented by the docstrings under its fields."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic.config import JsonDict


class Settings(BaseModel):
    """A group of settings. An unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


OPERATIONAL: JsonDict = {"operational": True}
"""What `json_schema_extra` of a setting holds that decides how models are run, and not what they say."""


def is_marked_operational(group: type[BaseModel], name: str) -> bool:
    """Whether a group has a setting of this name that is marked so."""
    field = group.model_fields.get(name)
    extra = field.json_schema_extra if field else None
    return isinstance(extra, dict) and bool(extra.get("operational"))
