"""Writes docs/reference.md: every command's help, and every setting with what it is for.

python docs/reference.py > docs/reference.md
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from divcon.cli import main
from divcon.eval.config import Study
from divcon.serve.settings import ServeSettings


def commands(command: click.Command, path: str) -> Iterator[str]:
    """The help of a command and of those below it."""
    context = click.Context(command, info_name=path, terminal_width=96, **main.context_settings)
    yield f"### {path}\n\n```\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            yield from commands(command.commands[name], f"{path} {name}")


def settings(model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[str]:
    """A table of a model's settings, then of the groups of settings inside it."""
    seen.add(model)
    rows = [f"| `{name}` | {_default(field)} | {_one_line(field.description)} |" for name, field in _fields(model)]
    heading = f"### {model.__name__}\n\n{_one_line(model.__doc__)}"
    yield "\n".join([heading, "", "| setting | default | what it is for |", "|---|---|---|", *rows, ""])
    for _, field in _fields(model):
        for inner in _models(field.annotation):
            if inner not in seen:
                yield from settings(inner, seen)


def _fields(model: type[BaseModel]) -> list[tuple[str, FieldInfo]]:
    return list(model.model_fields.items())


def _default(field: FieldInfo) -> str:
    if field.is_required():
        values = get_args(field.annotation)
        return f"`{values[0]}`" if len(values) == 1 and isinstance(values[0], str) else "required"
    default = field.get_default(call_default_factory=True)
    return "see below" if isinstance(default, BaseModel) else f"`{default}`"


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def page() -> str:
    """The whole page."""
    parts = ["# Reference\n\nMade by `docs/reference.py`; a test keeps it current.\n\n## Commands\n"]
    parts += commands(main, "divcon")
    parts += [
        "## Settings\n\nA study's file holds the settings of `Study`; `--set a.b=c` sets one from the command line.\n"
    ]
    parts += settings(Study, set())
    parts += ["## Settings of an endpoint\n\nWhat `divcon serve --config FILE` reads, and `--set a.b=c` sets.\n"]
    parts += settings(ServeSettings, set())
    return "\n".join(parts)


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201  # a script's output
