"""From YAML to settings, strictly: an unknown key is an error that names the nearest known one."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from . import documents
from .errors import ConfigError

Group = TypeVar("Group", bound=BaseModel)


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


def check(model: type[Group], values: Any, where: str) -> Group:
    """The settings that these values describe. Raises ConfigError for the first thing wrong with them."""
    if not isinstance(values, dict):
        raise ConfigError(f"{where} holds no settings")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{where}: {_explain(model, error)}") from None


def _explain(model: type[BaseModel], error: ValidationError) -> str:
    """The first problem in a sentence; for an unknown key, the nearest known one."""
    first = error.errors(include_url=False)[0]
    keys = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        *above, wrong = keys
        shown, groups = _followed(model, above)
        known = sorted({name for group in groups for name in group.model_fields})
        near = difflib.get_close_matches(wrong, known, n=1, cutoff=0.0)
        place = f" under {'.'.join(shown)}" if shown else ""
        return f"unknown key {wrong!r}{place}; did you mean {near[0]!r}?" if near else f"unknown key {wrong!r}{place}"
    shown, _ = _followed(model, keys)
    place, said = ".".join(shown), str(first["msg"]).removeprefix("Value error, ")
    return f"{place}: {said}" if place else said


def _followed(model: type[BaseModel], path: Sequence[str]) -> tuple[list[str], list[type[BaseModel]]]:
    """Those of an error's keys that stand in the file, and the groups of settings that the last of them may hold.

    Where a union is told apart by a tag, pydantic puts the tag of the member into the path.
    """
    shown: list[str] = []
    groups, keys = [model], list(path)
    while keys:
        key = keys.pop(0)
        shown.append(key)
        annotation = next((group.model_fields[key].annotation for group in groups if key in group.model_fields), None)
        if _is_mapping(annotation) and keys:
            shown.append(keys.pop(0))  # a key of the file's own, whatever it is called
        groups = _models(annotation)
        if len(groups) > 1 and keys:
            tag = keys.pop(0)
            groups = [group for group in groups if tag in _tag(group)] or groups
    return shown, groups


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
