"""From YAML to settings, strictly: an unknown key is an error that names the nearest known one."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from . import documents
from .errors import ConfigError

Group = TypeVar("Group", bound=BaseModel)
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxlong = 80
"""Quotes what a file holds, however long it is."""


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
    put(values, dotted, documents.from_yaml(text, f"--set {_SHORT.repr(said)}"))


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
    """The first problem in a sentence; for an unknown key, the known one that is nearest in spelling or meaning."""
    first = error.errors(include_url=False)[0]
    keys = [str(part) for part in first["loc"] if part != "[key]"]  # which says that the key itself is wrong
    if first["type"] == "extra_forbidden":
        *above, wrong = keys
        shown, groups = _followed(model, above)
        known = sorted({name for group in groups for name in group.model_fields})
        place = f" under {_dotted(shown)}" if shown else ""
        near = _nearest(wrong, known) or _nearest_anywhere(wrong, model) or next(iter(_close(wrong, known, 0.0)), None)
        return f"unknown key {_SHORT.repr(wrong)}{place}" + (f"; did you mean {near!r}?" if near else "")
    shown, _ = _followed(model, keys)
    place, said = _dotted(shown), _plainly(first)
    return f"{place}: {said}" if place else said


def _dotted(keys: Sequence[str]) -> str:
    """Keys as one name; one that would not fit a line is quoted, for a file may hold any."""
    return ".".join(key if key.isprintable() and len(key) <= _SHORT.maxstring else _SHORT.repr(key) for key in keys)


_SYNONYMS = {
    "lr": "learning_rate", "bs": "batch_size", "batch": "batch_size", "temp": "temperature", "n": "max_questions",
    "limit": "max_questions", "k": "samples", "steps": "max_train_tokens", "budget": "max_train_tokens",
    "model": "path", "model_path": "path", "model_name": "path", "file": "path", "url": "base_url",
    "endpoint": "base_url", "api_key": "api_key_env", "key": "api_key_env", "teacher": "llm", "base": "student",
    "dataset": "source", "data": "train", "test": "tests", "eval": "tests", "max_new_tokens": "max_tokens",
    "lora": "tuning", "r": "rank", "think": "thinking", "threads": "concurrency", "workers": "concurrency",
}  # fmt: skip
"""What people call some settings."""


def _nearest(wrong: str, known: Sequence[str]) -> str | None:
    """The known key that is spelled nearly so, or means it."""
    meant = _SYNONYMS.get(wrong.lower())
    if meant in known:
        return meant
    return next(iter(_close(wrong, known, 0.7)), None)


def _close(wrong: str, known: Sequence[str], cutoff: float) -> list[str]:
    return difflib.get_close_matches(wrong, known, n=1, cutoff=cutoff)


def _nearest_anywhere(wrong: str, model: type[BaseModel]) -> str | None:
    """The dotted key of another group that has this name, or one that means it; the shortest of several."""
    paths = sorted(_paths(model, ()), key=lambda path: (path.count("."), path))
    names = {path.rpartition(".")[2] for path in paths}
    meant = wrong if wrong in names else _SYNONYMS.get(wrong.lower())
    return next((path for path in paths if path.rpartition(".")[2] == meant), None) if meant in names else None


def _paths(model: type[BaseModel], above: tuple[str, ...]) -> list[str]:
    found = []
    for name, field in model.model_fields.items():
        found.append(".".join((*above, name)))
        if len(above) < _DEEPEST and not _is_mapping(field.annotation):
            found += [path for group in _models(field.annotation) for path in _paths(group, (*above, name))]
    return found


_DEEPEST = 3
"""Groups within groups of settings."""


def _plainly(problem: Any) -> str:
    """What is wrong with a value, in words of the file and not of the validator."""
    kind, said, context = problem["type"], problem.get("input"), problem.get("ctx") or {}
    shown = _SHORT.repr(said) if isinstance(said, str | int | float | bool) else "this"
    if kind == "value_error":
        return str(problem["msg"]).removeprefix("Value error, ")
    if kind == "union_tag_not_found":
        return f"it must say its {_unquoted(context['discriminator'])}"
    if kind == "union_tag_invalid":
        expected = context["expected_tags"].replace("'", "")
        return f"{_unquoted(context['discriminator'])} {_SHORT.repr(context['tag'])} is none of {expected}"
    if kind in ("literal_error", "enum"):
        return f"{shown} is none of {context['expected'].replace(chr(39), '')}"
    if kind == "missing":
        return "it is missing"
    if kind.startswith(("greater_than", "less_than")):
        word = {"greater_than": "greater than", "greater_than_equal": "at least", "less_than": "less than"}
        bound = next(context[name] for name in ("gt", "ge", "lt", "le") if name in context)
        return f"{shown} must be {word.get(kind, 'at most')} {bound}"
    if kind == "too_short":
        return f"it must hold at least {context['min_length']}"
    if wanted := next((words for prefix, words in _WANTED if kind.startswith(prefix)), None):
        return f"{shown} must be {wanted}"
    return str(problem["msg"])


_WANTED = (
    ("int_", "a whole number"),
    ("float_", "a number"),
    ("finite_number", "a finite number"),
    ("bool_", "true or false"),
    ("string_type", "text"),
    ("tuple_type", "a list"),
    ("list_type", "a list"),
    ("dict_type", "keys with values"),
    ("model_type", "keys with values"),
    ("model_attributes_type", "keys with values"),
    ("path_type", "a path"),
)


def _unquoted(name: str) -> str:
    return str(name).strip("'")


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
