"""From YAML to settings, strictly: an unknown key is an error that names the nearest known one."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from . import documents
from .errors import ConfigError

Group = TypeVar("Group", bound=BaseModel)
IsTag = Callable[[Sequence[str], int], bool]
"""Whether the i-th of an error's keys is a union's tag, which pydantic puts into the path, and no key of the file."""


def read(path: Path, overrides: Sequence[str] = ()) -> Any:
    """What a YAML file holds, with dotted overrides (`grid.samples=8`) put over it."""
    values = documents.from_yaml(documents.text(path), str(path))
    for each in overrides:
        override(values, each)
    return values


def override(values: Any, said: str) -> None:
    """Put `key.key=value` over values in place. Raises ConfigError when it is none, or leads nowhere."""
    dotted, equals, text = said.partition("=")
    if not equals or not dotted:
        raise ConfigError(f"--set {said!r} is not of the form key.key=value")
    shown = said if len(said) < 80 else f"{said[:77]}..."
    put(values, dotted, documents.from_yaml(text, f"--set {shown!r}"))


def put(values: Any, dotted: str, value: Any) -> None:
    """Put a value under a dotted key in place. Raises ConfigError when that leads nowhere."""
    *above, last = dotted.split(".")
    for key in above:
        if not isinstance(values, dict):
            break
        values = values.setdefault(key, {})
    if not isinstance(values, dict):
        raise ConfigError(f"{dotted}: {'.'.join(above)} holds no keys")
    values[last] = value


def check(model: type[Group], values: Any, where: str, is_tag: IsTag = lambda keys, i: False) -> Group:
    """The settings that these values describe. Raises ConfigError for the first thing wrong with them."""
    if not isinstance(values, dict):
        raise ConfigError(f"{where} holds no settings")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{where}: {_explain(model, error, is_tag)}") from None


def _explain(model: type[BaseModel], error: ValidationError, is_tag: IsTag) -> str:
    """The first problem in a sentence; for an unknown key, the nearest known one."""
    first = error.errors(include_url=False)[0]
    keys = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        *above, wrong = keys
        near = difflib.get_close_matches(wrong, _fields(model, above), n=1, cutoff=0.0)
        place = f" under {'.'.join(_without_tags(above, is_tag))}" if above else ""
        return f"unknown key {wrong!r}{place}; did you mean {near[0]!r}?" if near else f"unknown key {wrong!r}{place}"
    place = ".".join(_without_tags(keys, is_tag))
    said = str(first["msg"]).removeprefix("Value error, ")
    return f"{place}: {said}" if place else said


def _without_tags(keys: Sequence[str], is_tag: IsTag) -> list[str]:
    return [key for i, key in enumerate(keys) if not is_tag(keys, i)]


def _fields(model: type[BaseModel], above: Sequence[str]) -> list[str]:
    """The keys that may stand below a path of keys and union tags."""
    if not above:
        return list(model.model_fields)
    first, *rest = above
    field = model.model_fields.get(first)
    if field is None:
        return []
    members = _models(field.annotation)
    if _is_mapping(field.annotation):
        rest = rest[1:]  # a key of the file's own
    if rest and any(rest[0] in _tag(member) for member in members):
        members = [member for member in members if rest[0] in _tag(member)]
        rest = rest[1:]
    return sorted({name for member in members for name in _fields(member, rest)})


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _is_mapping(annotation: Any) -> bool:
    return getattr(annotation, "__origin__", None) is dict


def _tag(model: type[BaseModel]) -> tuple[str, ...]:
    return tuple(
        str(value)
        for name in ("source", "engine", "kind")
        if name in model.model_fields
        for value in get_args(model.model_fields[name].annotation)
    )
