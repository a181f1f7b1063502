"""Prompts are Markdown files; their `{names}` are filled in one pass.

Mathematics is full of braces and dollars, so neither `str.format` nor `string.Template` will do:
only the names that the caller passes are replaced, and a value is never searched for names again.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Prompt:
    """A prompt template and the name it is known by."""

    name: str
    text: str

    @property
    def sha256(self) -> str:
        """What the store's keys and a student's card remember of the template."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def fill(self, **values: str) -> str:
        """Replace every `{name}` by its value. Raises KeyError for a name that has no place in the template."""
        if absent := [name for name in values if f"{{{name}}}" not in self.text]:
            raise KeyError(f"prompt {self.name!r} has no place for {', '.join(absent)}")
        names = "|".join(map(re.escape, values))
        return re.sub(rf"\{{({names})\}}", lambda found: values[found[1]], self.text) if values else self.text


@dataclass(frozen=True)
class PromptFamily:
    """What a solver is asked with, by how much is known of a question. Each takes `{question}`."""

    solve: Prompt
    """With all sub-questions at once: `{subquestions}`."""
    single_stage: Prompt
    """Without any: a chain of thought."""
    direct: Prompt
    """Without any, for the answer alone."""
    step: Prompt
    """One sub-question, after those that are answered: `{answered}` and `{subquestion}`."""
    finish: Prompt
    """All sub-questions and their answers: `{answered}`."""
    answer: str = ""
    """A sentence behind any of them that asks for a line with the final answer; empty where they ask for it."""


def family(
    solve: str = "solve", single_stage: str = "cot", direct: str = "direct", step: str = "step", finish: str = "finish"
) -> PromptFamily:
    """A family by the names of its prompts. Raises ValueError for one that is not there."""
    return PromptFamily(load(solve), load(single_stage), load(direct), load(step), load(finish))


def load(name: str) -> Prompt:
    """The prompt shipped as `prompts/NAME.md`, or, where NAME ends in `.md`, the file at that path.

    Raises ValueError when there is none.
    """
    path = Path(name) if name.endswith(".md") else _HERE / f"{name}.md"
    if not path.is_file():
        raise ValueError(f"no prompt {name!r}; there are {', '.join(names())}, or give the path of a .md file")
    return Prompt(name=name, text=path.read_text(encoding="utf-8").rstrip("\n"))


def examples(name: str) -> Path:
    """The file of worked examples shipped as `prompts/examples/NAME.jsonl`, or else the file at that path."""
    shipped = _HERE / "examples" / f"{name}.jsonl"
    return shipped if shipped.is_file() else Path(name)


def names() -> list[str]:
    """The names of the shipped prompts."""
    return sorted(str(path.relative_to(_HERE).with_suffix("")) for path in _HERE.rglob("*.md"))
